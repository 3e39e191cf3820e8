"""Every kind of mistake, with the exact place and words that are told. The table is bad-objects.txt."""

from __future__ import annotations

from pathlib import Path

import pytest

from anykube.errors import SpecError
from anykube.spec.endpoint import endpoint_kind
from anykube.spec.load import load, parse
from anykube.spec.validate import validate

GOOD = """\
apiVersion: anykube.dev/v1alpha1
kind: Cluster
metadata:
  name: demo
spec:
  kubernetes:
    version: "1.36.3"
  machines:
    provider:
      lxc: {}
    pools:
      - name: cp
        roles: [control-plane, etcd]
      - name: worker
        roles: [worker]
        count: 2
  network:
    pods: 10.244.0.0/16
    services: 10.96.0.0/16
"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGV4YW1wbGUta2V5LW9mLWNwLTEuLi4uLi4uLi4uLi4u"
TABLE = Path(__file__).with_name("bad-objects.txt").read_text(encoding="utf-8").replace("@KEY@", KEY)


def _cases() -> list[tuple[str, str, list[str]]]:
    cases = []
    for block in TABLE.split("\n\n")[1:]:
        lines = block.strip("\n").split("\n")
        gone = "".join(f"{line[1:]}\n" for line in lines if line.startswith("-"))
        come = "".join(f"{line[1:]}\n" for line in lines if line.startswith("+"))
        cases.append((gone, come, [line for line in lines if line[0] not in "-+"]))
    return cases


@pytest.mark.parametrize(("gone", "come", "expected"), _cases(), ids=lambda value: str(value)[:40].strip())
def test_problems_are_told_at_their_place(gone: str, come: str, expected: list[str]) -> None:
    assert GOOD.count(gone) == 1
    cluster, problems = parse(GOOD.replace(gone, come), "c")
    told = [f"{p.line}:{p.column} {p.code} {p.message}{'; ' if p.hint else ''}{p.hint}" for p in problems]
    assert told == expected
    assert cluster is None


def test_the_table_is_read() -> None:
    assert len(_cases()) > 110
    assert all(gone and expected for gone, _, expected in _cases())


def test_the_good_object_is_good() -> None:
    cluster = load(GOOD, "c")
    assert (cluster.name, cluster.spec.kubernetes.version) == ("demo", "1.36.3")


@pytest.mark.parametrize(
    ("pools", "endpoint", "kind"),
    [
        ("{name: node, roles: [control-plane, etcd, worker]}", "{}", "single"),
        (
            "{name: cp, roles: [control-plane, etcd]}, {name: w, roles: [worker]}",
            "{kind: node-local}",
            "node-local",
        ),
        ("{name: cp, roles: [control-plane, etcd, worker], count: 2}", "{}", "node-local"),
        ("{name: cp, roles: [control-plane, etcd, worker], count: 7}", "{kind: virtual-ip}", "virtual-ip"),
        (
            "{name: cp, roles: [control-plane], count: 2}, {name: etcd, roles: [etcd], count: 3}, "
            "{name: lb, roles: [load-balancer], count: 2}, {name: w, roles: [worker]}",
            "{kind: virtual-ip, address: 192.168.1.10, port: 6443}",
            "virtual-ip",
        ),
        (
            "{name: cp, roles: [control-plane, etcd, worker]}",
            "{kind: external, address: api.test}",
            "external",
        ),
        (
            "{name: node, roles: [worker, etcd]}, {name: cp, roles: [control-plane]}",
            "{kind: single}",
            "single",
        ),
    ],
)
def test_every_topology_is_an_object(pools: str, endpoint: str, kind: str) -> None:
    before, _, after = GOOD.partition("    pools:\n")
    network = "  network:" + after.partition("  network:")[2]
    cluster = load(f"{before}    pools: [{pools}]\n  endpoint: {endpoint}\n{network}", "c")
    assert endpoint_kind(cluster) == kind


def test_one_mistake_does_not_hide_another() -> None:
    text = GOOD.replace('"1.36.3"', "1.30").replace(
        "        count: 2", "        cuont: 2\n        lables: {}"
    )
    text = text.replace("10.96.0.0/16", "10.244.128.0/20").replace("name: demo", "nam: demo")
    with pytest.raises(SpecError) as caught:
        load(text, "cluster.yaml")
    assert str(caught.value).splitlines() == [
        "cluster.yaml has 6 problems; nothing was touched.",
        "  cluster.yaml:3:1    SPEC-005  metadata needs the key 'name'; for example name: demo",
        "  cluster.yaml:4:3    SPEC-003  unknown key 'nam'; did you mean 'name'?",
        '  cluster.yaml:7:14   SPEC-012  kubernetes.version: must be quoted: "1.30" (YAML reads 1.30 as 1.3)'
        '; and it must be three numbers, such as "1.36.3"',
        "  cluster.yaml:16:9   SPEC-003  unknown key 'cuont'; did you mean 'count'?",
        "  cluster.yaml:17:9   SPEC-003  unknown key 'lables'; did you mean 'labels'?",
        "  cluster.yaml:20:15  NET-014   network.services: 10.244.128.0/20 overlaps network.pods "
        "10.244.0.0/16; 10.96.0.0/20 is free",
    ]
    assert caught.value.exit_status == 1


def test_rules_are_checked_beside_unknown_keys_and_missing_quotes() -> None:
    text = GOOD.replace("10.96.0.0/16", "10.244.0.0/16\n    dmain: x").replace("[worker]", "[worker, worker]")
    text = text.replace("count: 2", "labels: {a: 1}\n        cuont: 2")
    assert [(p.line, p.code) for p in parse(text, "c")[1]] == [
        (15, "SPEC-021"),
        (16, "SPEC-012"),
        (17, "SPEC-003"),
        (20, "NET-014"),
        (21, "SPEC-003"),
    ]


@pytest.mark.parametrize(
    ("cluster", "pool", "count", "fits"),
    [("a" * 20, "b" * 29, 1, True), ("a" * 21, "b" * 29, 1, False), ("a" * 20, "b" * 29, 10, False)],
)
def test_node_names_fit_into_certificates(cluster: str, pool: str, count: int, *, fits: bool) -> None:
    text = GOOD.replace("demo", cluster).replace("name: worker", f"name: {pool}")
    found = parse(text.replace("count: 2", f"count: {count}"), "c")[1]
    assert [p.code for p in found] == ([] if fits else ["SPEC-022"])


def test_pools_that_would_share_a_node_name() -> None:
    text = GOOD.replace("metadata:\n  name: demo", "metadata:\n  name: a")
    text = text.replace("name: cp", "name: b").replace("name: worker", "name: b-1")
    assert parse(text, "c")[1] == []
    pools = "      - {name: x, roles: [worker]}\n      - {name: x-1, roles: [worker]}\n  network:"
    assert parse(text.replace("  network:", pools), "c")[1] == []


def test_a_cluster_made_in_python_is_checked_too() -> None:
    cluster = load(GOOD, "c")
    validate(cluster)
    kubernetes = cluster.spec.kubernetes.model_copy(update={"version": "1.2.3"})
    spec = cluster.spec.model_copy(update={"kubernetes": kubernetes})
    with pytest.raises(SpecError, match=r"SPEC-026  kubernetes.version: 1.2.3 is not offered"):
        validate(cluster.model_copy(update={"spec": spec}))


def test_problems_are_bounded() -> None:
    text = GOOD + "".join(f"unknown{number}: 1\n" for number in range(300))
    problems = parse(text, "c")[1]
    assert len(problems) == 101
    assert problems[-1].code == "SPEC-013"

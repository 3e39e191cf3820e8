"""Rules that hold for the content of every node."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anykube.content.certificates import certificate_requests, secret_requests
from anykube.content.context import NodeContext
from anykube.content.kubelet import node_labels, node_taints
from anykube.content.model import ArtifactFile, Component, SecretPart, Text
from anykube.content.node import components, managed_paths, managed_units
from anykube.content.paths import install_path
from anykube.facts.host import SystemFacts
from anykube.spec.catalog import ARTIFACTS
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

ALL_ROLES = ["control-plane", "etcd", "worker"]
ROLES = [["control-plane"], ["etcd"], ["worker"], ["control-plane", "etcd"], ["control-plane", "worker"]]


def systems() -> st.SearchStrategy[SystemFacts]:
    """Hosts of every kind that content depends on."""
    return st.builds(
        SystemFacts,
        hostname=st.sampled_from(["", "other"]),
        os=st.just("debian"),
        os_version=st.just("12"),
        arch=st.just("amd64"),
        kernel=st.just("6.1"),
        machine_id=st.just(""),
        boot_id=st.just(""),
        systemd=st.just(252),
        container=st.booleans(),
        cgroup=st.sampled_from([1, 2]),
        capabilities=st.sampled_from([0, (1 << 41) - 1]),
        cpus=st.just(1),
        memory=st.just(1024),
        swap=st.just(0),
        clock=st.just(0.0),
        mtu=st.just(1500),
        disk_free=st.just({}),
        addresses=st.just(()),
    )


def pools() -> st.SearchStrategy[list[dict[str, object]]]:
    """One node with all roles, and up to three more of any mix."""
    mixes = st.lists(st.sampled_from(ROLES), max_size=3)
    return mixes.map(lambda extra: [_pool(n, roles) for n, roles in enumerate([ALL_ROLES, *extra])])


def _pool(number: int, roles: list[str]) -> dict[str, object]:
    return {"name": f"pool{number}", "roles": roles}


def check(context: NodeContext) -> None:
    parts = components(context)
    assert parts == components(context)
    paths = [file.path for part in parts for file in part.files]
    assert len(paths) == len(set(paths)), "a path belongs to two components"
    assert set(paths) <= set(managed_paths())
    check_order(parts)
    for part in parts:
        check_component(part, set(paths))


def check_order(parts: tuple[Component, ...]) -> None:
    placed: set[str] = set()
    for part in parts:
        assert set(part.after) <= placed, f"{part.name} comes before what it needs"
        placed.add(part.name)


def check_component(part: Component, paths: set[str]) -> None:
    for file in part.files:
        match file.source:
            case SecretPart(_, "key" | "value"):
                assert file.mode == "600", file.path
            case ArtifactFile(artifact):
                assert artifact in ARTIFACTS
                assert file.path == install_path(artifact)
            case Text(text):
                assert "PRIVATE KEY" not in text
    if part.unit:
        assert part.unit.name in managed_units()
        assert part.unit.inputs[0] == f"/etc/systemd/system/{part.unit.name}"
        assert set(part.unit.inputs) <= paths
        configs = {
            file.path
            for file in part.files
            if file.path.endswith((".yaml", ".toml", ".conf", ".crt", ".key"))
        }
        assert configs <= set(part.unit.inputs), "a configuration whose change would restart nothing"


def test_rules_hold_for_the_golden_cases(case: tuple[str, NodeContext]) -> None:
    check(case[1])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_rules_hold_for_every_mix(
    data: st.DataObject,
    clusters: Callable[..., Cluster],
    node_contexts: Callable[..., NodeContext],
) -> None:
    security = {"encryptionAtRest": data.draw(st.booleans()), "audit": data.draw(st.booleans())}
    cluster = clusters(data.draw(pools()), security=security)
    for node in nodes(cluster):
        context = node_contexts(cluster, node.name, data.draw(systems()), birth=data.draw(st.booleans()))
        check(context)
        check_secrets_are_requested(context)


def check_secrets_are_requested(context: NodeContext) -> None:
    """Each secret on a node is one that the plan has made: with a certificate, if that is what is placed."""
    everyone = nodes(context.cluster)
    addresses = {node.name: "10.0.0.1" for node in everyone}
    certificates = {
        request.secret
        for request in certificate_requests(context.cluster, everyone, addresses, context.endpoint)
    }
    others = {request.secret for request in secret_requests(context.cluster)}
    for part in components(context):
        for file in part.files:
            if isinstance(file.source, SecretPart):
                wanted = (
                    others if file.source.part in ("value", "public") else certificates | {"service-account"}
                )
                assert file.source.secret in wanted


def test_no_key_of_an_authority_is_on_a_node(case: tuple[str, NodeContext]) -> None:
    sources = [file.source for part in components(case[1]) for file in part.files]
    assert not any(
        isinstance(source, SecretPart) and source.secret.startswith("ca/") and source.part != "bundle"
        for source in sources
    )


def test_labels_that_a_kubelet_may_not_set_are_left_to_the_api(contexts: Mapping[str, NodeContext]) -> None:
    context = contexts["worker-in-vm"]
    (unit,) = (
        file.source.value
        for part in components(context)
        for file in part.files
        if file.path.endswith("/kubelet.service") and isinstance(file.source, Text)
    )
    assert "--node-labels=disk=fast,topology.kubernetes.io/zone=a\n" in unit
    assert node_labels(context.node) == {
        "node-role.kubernetes.io/worker": "",
        "disk": "fast",
        "topology.kubernetes.io/zone": "a",
        "node-role.kubernetes.io/gpu": "",
    }


def test_only_a_control_plane_that_is_no_worker_is_tainted(contexts: Mapping[str, NodeContext]) -> None:
    taint = {"key": "node-role.kubernetes.io/control-plane", "value": "", "effect": "NoSchedule"}
    assert node_taints(contexts["plain-control-plane"].node) == (taint,)
    assert node_taints(contexts["single-in-container"].node) == ()
    assert node_taints(contexts["worker-in-vm"].node) == (
        {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"},
    )


def test_a_change_of_etcd_members_restarts_no_member_and_no_stacked_api_server(
    contexts: Mapping[str, NodeContext],
) -> None:
    """Neither birth nor membership is among the inputs of a unit."""
    before = contexts["single-in-container"]
    after = replace(before, birth=False, etcd_members=(*before.etcd_members, ("new", "10.0.0.99")))
    changed = differing(before, after)
    assert changed == {"/etc/etcd/members.env", "/var/lib/anykube/etcd/first-start.env"}
    inputs = {path for part in components(after) if part.unit for path in part.unit.inputs}
    assert not changed & inputs


def test_a_member_that_has_served_cannot_found_a_second_cluster(
    contexts: Mapping[str, NodeContext],
) -> None:
    """The file that says so overrides the state of birth, is not where the data is, and asks for data."""
    (etcd,) = (part for part in components(contexts["single-in-container"]) if part.name == "etcd")
    (unit,) = (file.source for file in etcd.files if file.path.endswith("/etcd.service"))
    assert isinstance(unit, Text)
    read = re.findall("^EnvironmentFile=(.*)$", unit.value, re.MULTILINE)
    folder = "/var/lib/anykube/etcd"
    assert read == ["/etc/etcd/members.env", f"-{folder}/first-start.env", f"-{folder}/born.env"]
    assert f"rm -f {folder}/first-start.env" in unit.value
    assert "echo ETCD_INITIAL_CLUSTER_STATE=existing >/var/lib/anykube/etcd/born.env" in unit.value
    assert ("700", "root:root", "/var/lib/anykube/etcd") in etcd.directories


@pytest.mark.parametrize(
    ("data", "born", "starts"),
    [(False, False, True), (True, True, True), (True, False, True), (False, True, False)],
)
def test_a_member_whose_data_is_gone_does_not_start(
    contexts: Mapping[str, NodeContext], tmp_path: Path, data: bool, born: bool, starts: bool
) -> None:
    """The line of the unit, run by a shell over another tree."""
    (etcd,) = (part for part in components(contexts["single-in-container"]) if part.name == "etcd")
    (unit,) = (file.source for file in etcd.files if file.path.endswith("/etcd.service"))
    assert isinstance(unit, Text)
    (line,) = re.findall(r"ExecStartPre=\+/bin/sh \\\n    -c \\\n    \"(.*)\"", unit.value)
    if data:
        (tmp_path / "var/lib/etcd/member/wal").mkdir(parents=True)
    (tmp_path / "var/lib/anykube/etcd").mkdir(parents=True)
    if born:
        (tmp_path / "var/lib/anykube/etcd/born.env").touch()
    script = line.replace(" /var/", f" {tmp_path}/var/")
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == starts
    assert starts or "anykube replace" in done.stderr


def differing(before: NodeContext, after: NodeContext) -> set[str]:
    def files(context: NodeContext) -> dict[str, object]:
        return {file.path: file for part in components(context) for file in part.files}

    one, other = files(before), files(after)
    return {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}

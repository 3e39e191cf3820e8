"""`anykube init`: answers become an object that loads and says what was answered, or a clear error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from anykube.errors import SpecError
from anykube.spec.catalog import VERSIONS
from anykube.spec.endpoint import endpoint_kind
from anykube.spec.load import load
from anykube.spec.nodes import nodes
from anykube.spec.questions import QUESTIONS, Question, read_host
from anykube.spec.template import Answers, Host, Size, render

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGV4YW1wbGUta2V5LW9mLWNwLTEuLi4uLi4uLi4uLi4u"
HOSTILE = [
    "; id",
    "$(id)",
    "a\nkind: Pod",
    "a # b",
    "'",
    '"',
    "\x00",
    "\x1b[31m",
    "../x",
    "x" * 300,
    "\u202e",
    "{a: b}",
]

SHARED = "203.0.113.9"


def addressed(answers: Answers) -> Answers:
    """With the address that a shared endpoint needs, and none that another must not have."""
    shared = answers.several and answers.endpoint != "node-local"
    return replace(answers, address=SHARED if shared else None)


names = st.from_regex(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", fullmatch=True)
sizes = st.builds(
    Size,
    cpus=st.none() | st.floats(0.01, 1024) | st.integers(1, 1024),
    memory=st.none() | st.integers(512, 1_000_000),
)
on_lxc = st.builds(
    Answers,
    name=names,
    topology=st.sampled_from(["single", "one-control-plane", "high-availability", "separate-etcd"]),
    control_planes=st.integers(1, 7),
    etcds=st.integers(1, 7),
    endpoint=st.sampled_from(["node-local", "virtual-ip", "external"]),
    workers=st.integers(1, 200),
    version=st.sampled_from(VERSIONS),
    control_plane=sizes,
    worker=sizes,
    backend=st.sampled_from(["vxlan", "host-gw"]),
    pods=st.sampled_from(["10.244.0.0/16", "172.16.0.0/15", "100.64.0.0/10"]),
    services=st.sampled_from(["10.96.0.0/16", "192.168.0.0/24"]),
    subnet=st.none() | st.just("10.81.0.0/16"),
    dns=st.booleans(),
    metrics=st.booleans(),
).map(addressed)
host_names = st.lists(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?", fullmatch=True),
    min_size=15,
    max_size=18,
    unique=True,
)


@st.composite
def on_machines(draw: st.DrawFn) -> Answers:
    """Answers for listed hosts, with a number of them that fits the topology."""
    answers = draw(on_lxc)
    hosts = [
        Host(
            name=name,
            address=f"192.0.2.{number + 1}",
            host_key=KEY,
            user=draw(st.sampled_from(["root", "admin", "no"])),
            port=draw(st.integers(1, 65535)),
        )
        for number, name in enumerate(draw(host_names))
    ]
    chosen = hosts[:1] if answers.topology == "single" else hosts
    return replace(answers, provider="machines", hosts=tuple(chosen))


@settings(max_examples=200, deadline=None)
@given(on_lxc | on_machines())
def test_every_right_answer_makes_an_object_that_says_it(answers: Answers) -> None:
    text = render(answers)
    cluster = load(text, "c")
    assert cluster.name == answers.name
    assert cluster.spec.kubernetes.version == answers.version
    assert cluster.spec.network.pods == answers.pods
    assert cluster.spec.network.services == answers.services
    assert cluster.spec.machines.provider.kind == answers.provider
    assert (cluster.spec.addons.dns is not None) == answers.dns
    assert (cluster.spec.addons.metrics is not None) == answers.metrics
    first = nodes(cluster)[0]
    assert first.control_plane
    made = nodes(cluster)
    planes = answers.control_planes if answers.several else 1
    separate = answers.topology == "separate-etcd"
    assert sum(node.control_plane for node in made) == planes
    assert sum(node.etcd for node in made) == (answers.etcds if separate else planes)
    assert any(node.etcd and node.control_plane for node in made) != separate
    if answers.several:
        assert cluster.spec.endpoint.kind == answers.endpoint
        assert cluster.spec.endpoint.address == answers.address
    assert (first.cpus, first.memory) == (answers.control_plane.cpus, answers.control_plane.memory)
    if answers.provider == "machines":
        assert [node.name for node in nodes(cluster)] == [host.name for host in answers.hosts]
    elif answers.topology == "single":
        assert len(nodes(cluster)) == 1
    else:
        assert len(made) == planes + (answers.etcds if separate else 0) + answers.workers
        assert made[-1].cpus == answers.worker.cpus


@settings(max_examples=50, deadline=None)
@given(on_lxc | on_machines())
def test_other_yaml_readers_read_the_same(answers: Answers) -> None:
    text = render(answers)
    assert yaml.safe_load(text)["metadata"]["name"] == answers.name
    assert max(len(line) for line in text.splitlines()) <= 120


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["name", "version", "pods", "services", "subnet", "backend"])
def test_hostile_answers_are_refused(field: str, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        render(replace(Answers(), **cast(Any, {field: text})))
    assert all(str(problem).isprintable() for problem in caught.value.problems)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["name", "address", "host_key", "user", "pool"])
def test_hostile_hosts_are_refused(field: str, text: str) -> None:
    host = replace(Host(name="a", address="192.0.2.1", host_key=KEY), **cast(Any, {field: text}))
    with pytest.raises(SpecError):
        render(Answers(provider="machines", hosts=(host,), topology="single"))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(QUESTIONS), st.text(max_size=40) | st.sampled_from(HOSTILE))
def test_any_text_as_an_answer_is_taken_or_refused_with_a_sentence(question: Question, text: str) -> None:
    problem = question.check(text)
    assert problem.isprintable()
    if not problem:
        after = question.answer(Answers(), text)
        if question.applies(Answers()) and question.name not in ("provider", "hosts"):
            assert render(after)


def test_empty_answers_lead_to_the_demo() -> None:
    answers = answered()
    assert answers == Answers()
    made = load(render(answers), "c")
    demo = load((Path(__file__).parents[3] / "examples" / "demo.yaml").read_text(), "c")
    assert made.model_dump() == demo.model_dump()


def test_answers_lead_to_machines() -> None:
    answers = answered(
        provider="machines",
        key="/root/key",
        hosts=f"one 192.0.2.1 {KEY}\ntwo admin@two.example.com:2222 {KEY} a comment\n",
        dns="no",
        metrics="y",
    )
    cluster = load(render(answers), "c")
    machines = cluster.spec.machines.provider.machines
    assert machines is not None
    assert [(host.name, host.user, host.port, host.pool) for host in machines.hosts] == [
        ("one", "root", 22, "cp"),
        ("two", "admin", 2222, "worker"),
    ]
    assert cluster.spec.addons.dns is None
    assert cluster.spec.addons.metrics is not None


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("topology", "ha", "is none of single"),
        ("workers", "many", "whole number"),
        ("workers", "-1", "whole number"),
        ("workers", "0", "no machine accepts ordinary pods"),
        ("workers", "5000", "at most 1000"),
        ("worker-memory", "1", "at least 512"),
        ("worker-cpus", "1,5", "must be a number"),
        ("pods", "10.244.0.0", "a prefix length"),
        ("services", "10.244.0.0/20", "overlaps network.pods"),
        ("pods", "10.244.0.0/24", "too small"),
        ("subnet", "10.244.1.0/24", "overlaps network.pods"),
        ("name", "Demo", "lower-case"),
        ("provider", "aws", "is none of lxc, machines"),
        ("version", "1.30", "is none of"),
        ("metrics", "maybe", "yes or no"),
        ("hosts", "", "at least one machine"),
        ("hosts", "a b", "is not NAME"),
    ],
)
def test_wrong_answers_are_told_at_once(name: str, text: str, part: str) -> None:
    question = next(question for question in QUESTIONS if question.name == name)
    assert part in question.check(text)


@pytest.mark.parametrize(
    ("texts", "part"),
    [
        ({"control-planes": "0"}, "no machine has the role control-plane"),
        ({"control-planes": "8"}, "at most 7"),
        ({"endpoint": "single"}, "is none of node-local"),
        ({"endpoint": "external"}, "needs the address of your load balancer"),
        ({"endpoint": "external", "address": "https://x"}, "must be an IPv4 address or a DNS name"),
        ({"endpoint": "virtual-ip", "address": "api.example.com"}, "cannot be a virtual address"),
        ({"provider": "machines", "endpoint": "virtual-ip"}, "needs an address that no machine has"),
        ({"topology": "separate-etcd", "etcds": "9"}, "at most 7"),
    ],
)
def test_wrong_answers_about_several_control_planes(texts: dict[str, str], part: str) -> None:
    hosts = "\n".join(f"node-{number} 192.0.2.{number} {KEY}" for number in range(1, 5))
    given = {"topology": "high-availability", **texts}
    with pytest.raises(ValueError, match=part):
        answered(**given, **({"hosts": hosts} if "provider" in texts else {}))


def test_answers_lead_to_the_examples() -> None:
    for example, texts in {
        "ha": {"topology": "high-availability", "workers": "2"},
        "separate-etcd": {"topology": "separate-etcd", "control-planes": "2", "workers": "2"},
    }.items():
        made = load(render(answered(name=example, **texts)), "c")
        wanted = load((Path(__file__).parents[3] / "examples" / f"{example}.yaml").read_text(), "c")
        assert made.spec.machines == wanted.spec.machines
        assert endpoint_kind(made) == endpoint_kind(wanted)


def answered(**texts: str) -> Answers:
    """The answers to all questions in order, the others with their defaults."""
    answers = Answers()
    for question in QUESTIONS:
        if question.applies(answers):
            answers = question.answer(answers, texts.get(question.name, ""))
    return answers


def test_an_answer_may_need_a_later_one() -> None:
    assert render(answered(pods="10.96.0.0/16", services="10.112.0.0/16"))
    assert render(answered(workers="300", pods="10.0.0.0/12"))
    hosts = f"a 10.244.0.1 {KEY}\nb 10.96.0.1 {KEY}"
    assert render(answered(provider="machines", hosts=hosts, pods="172.16.0.0/16", services="172.17.0.0/16"))


def test_a_later_answer_that_solves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"overlaps network\.pods"):
        answered(pods="10.96.0.0/16")
    with pytest.raises(ValueError, match="too small for 301 nodes"):
        answered(workers="300")
    with pytest.raises(ValueError, match=r"inside network\.services"):
        answered(provider="machines", hosts=f"a 192.0.2.1 {KEY}\nb 10.96.0.1 {KEY}")


@pytest.mark.parametrize("line", ["", "a", f"a b:x {KEY}", f"a b:123456 {KEY}", "a b ssh-ed25519"])
def test_hosts_that_are_not_of_the_form(line: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        read_host(line)


def test_flags_and_names_are_unique() -> None:
    assert len({question.flag for question in QUESTIONS}) == len(QUESTIONS)
    assert len({question.name for question in QUESTIONS}) == len(QUESTIONS)
    assert all(question.default in question.choices for question in QUESTIONS if question.kind == "choice")

"""The proof of an operation: writers run through it, and afterwards everything is looked at and judged.

    with proving(story) as proof:
        with proof.operation("one to three control planes"):
            story.apply()

C1 nothing acknowledged is lost; C2 nothing is invented; C3 revisions follow real time; C5 all members hold
the same; C6 cluster and nodes are the ones they were; C7 the longest gap without an acknowledged write is
within its budget; C8 another apply changes nothing. The numbers are those of the design's fault plan.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from tests.e2e.checker import SHOWN, check, disorder
from tests.e2e.history import Write, longest_gap
from tests.e2e.members import Census, Members
from tests.e2e.story import REPOSITORY, Object, Story, eventually
from tests.e2e.wire import API_PORT, ask
from tests.e2e.writers import API, ENDPOINT, ETCD, KINDS, SHARED, Writers, present

from anykube.spec.endpoint import endpoint_kind
from anykube.spec.load import load
from anykube.spec.model import Cluster, EndpointKind
from anykube.spec.nodes import Node, nodes

RESULTS = REPOSITORY / "bench" / "results" / "availability.jsonl"
RECENT_SECONDS = 15.0
"""Who was served so long before an operation counts as served when it began."""
BUDGET_SECONDS = 15.0
"""Longest time without an acknowledged write in any operation on three control planes."""


@dataclass(frozen=True)
class Identity:
    """What must outlive every operation."""

    etcd: str
    system: str
    authority: str
    nodes: Mapping[str, str]


@dataclass(frozen=True)
class Measured:
    """What an operation cost those who write. A gap is missing where nobody could write before, or where the
    object wants no such endpoint any more."""

    operation: str
    seconds: float
    gaps: Mapping[str, float]
    outcomes: Mapping[str, int]


class Proof:
    """A story with its writers."""

    def __init__(self, story: Story, writers: Writers) -> None:
        self.story = story
        self.writers = writers
        self.keys = writers.keys
        self.members = Members(story, writers.keys)

    @contextmanager
    def operation(
        self,
        name: str,
        budget: float = BUDGET_SECONDS,
        renewed: Set[str] = frozenset(),
        *,
        rotates: bool = False,
    ) -> Iterator[None]:
        """Prove all that happens inside. `renewed`: nodes that become others under their name; `rotates`: the
        cluster's CA may become another."""
        before = self.identity()
        begun = time.monotonic()
        with Census(self.members) as census:
            yield
        ended = time.monotonic()
        measured = self.measure(name, begun, ended)
        assert not census.findings, f"C5: {name}: {census.findings}"
        self.hold(before, renewed, rotates=rotates)
        self.settled()
        late = {kind: gap for kind, gap in measured.gaps.items() if gap > budget}
        assert not late, f"C7: {name}: nobody could write for {late} s, at most {budget:g} s are allowed"

    def hold(self, before: Identity, renewed: Set[str] = frozenset(), *, rotates: bool = False) -> None:
        """C1 to C6, as soon as every way to write works again."""
        self._all_write()
        self.kept()
        eventually(self._amiss, 60)
        now = self.identity()
        stayed = now.nodes.keys() & before.nodes.keys() - renewed
        assert (now.etcd, now.system) == (before.etcd, before.system), "C6"
        assert rotates or now.authority == before.authority, "C6: the CA"
        assert {n: now.nodes[n] for n in stayed} == {n: before.nodes[n] for n in stayed}, "C6: Nodes"
        for node in renewed & now.nodes.keys() & before.nodes.keys():
            assert now.nodes[node] != before.nodes[node], f"{node} is the old one"

    def kept(self) -> None:
        """C1 to C3, read through every API server and every member."""
        for kind, machines in ((ETCD, self.etcd_nodes()), (API, self._servers())):
            for machine in machines:
                before = self._writes(kind)
                there = present(self.story, self.keys, kind, machine)
                found = check(before, there, self._writes(kind))
                assert not found, f"read from {machine}: " + "; ".join(found)
        found = list(disorder(self.writers.writes()))
        assert not found, "; ".join(found[:SHOWN])

    def _amiss(self) -> str:
        """C5, for those who wait until nothing is."""
        try:
            return "; ".join(self.members.amiss(self.etcd_nodes()))
        except (OSError, AssertionError, LookupError) as error:
            return f"a member does not answer: {error!r}"

    def settled(self) -> None:
        """C8: a second apply finds nothing to do and restarts nothing; every node is ready for pods."""
        started = self.story.starts()
        self.story.must_be_settled()
        assert self.story.restarted_since(started) == set()
        found = self._nodes_of_kubernetes()
        assert found.keys() == {node.name for node in self._nodes() if node.kubelet}
        assert {name for name, node in found.items() if not _ready(node)} == set(), "not ready"
        assert self.cordoned() == set()

    def cordoned(self) -> set[str]:
        """Nodes on which no pod may be placed."""
        found = self._nodes_of_kubernetes()
        return {name for name, node in found.items() if node["spec"].get("unschedulable")}

    def identity(self) -> Identity:
        """Who the cluster and its nodes are now."""
        facts = self.story.secrets.facts()["ca/cluster"]
        assert facts.certificate is not None
        system = self._get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
        uids = {name: node["metadata"]["uid"] for name, node in self._nodes_of_kubernetes().items()}
        return Identity(self._cluster_id(), system, facts.certificate.fingerprint, uids)

    def _nodes_of_kubernetes(self) -> dict[str, Object]:
        return {node["metadata"]["name"]: node for node in self._get("/api/v1/nodes")["items"]}

    def _get(self, path: str) -> Any:
        """An object, from the first API server that has it."""
        for machine in self.story.nodes:
            with suppress(OSError, AssertionError):
                return ask(self.story.address(machine), API_PORT, self.keys.api, path)
        raise AssertionError(f"no API server gives {path}")

    def _cluster_id(self) -> str:
        (found,) = self.members.clusters()
        return found

    def _all_write(self) -> None:
        """Every API server, every member and every endpoint takes writes."""
        since = time.monotonic()
        wanted = {f"etcd-{machine}" for machine in self.etcd_nodes()}
        wanted |= {f"api-{machine}" for machine in self._servers()} | self._endpoints()

        def missing() -> str:
            working = {w.client for w in self.writers.writes() if w.acknowledged and w.begun > since}
            return ", ".join(sorted(wanted - working))

        eventually(missing, 60)

    def measure(self, name: str, begun: float, ended: float) -> Measured:
        """What writers met between two moments; printed, and kept in RESULTS."""
        done = self.writers.writes()
        recent = [w for w in done if w.acknowledged and w.ended and begun - RECENT_SECONDS < w.ended < begun]
        served = {w.kind for w in recent} - (set() if self._endpoints() else {ENDPOINT})
        gaps = {kind: round(longest_gap(done, kind, begun, ended), 2) for kind in KINDS if kind in served}
        outcomes: Counter[str] = Counter(w.outcome for w in done if begun < w.begun < ended)
        measured = Measured(name, round(ended - begun, 1), gaps, dict(outcomes))
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        with RESULTS.open("a") as file:
            file.write(json.dumps({"cluster": self.story.name, **asdict(measured)}) + "\n")
        print(f"{name}: {measured.seconds} s, longest gaps {gaps} s, writes {dict(outcomes)}", flush=True)
        return measured

    def _writes(self, kind: str) -> list[Write]:
        """The writes of etcd, or those of the API by either way."""
        return [w for w in self.writers.writes() if (w.kind == ETCD) == (kind == ETCD)]

    def _cluster(self) -> Cluster:
        return load(self.story.file.read_text())

    def _nodes(self) -> tuple[Node, ...]:
        return nodes(self._cluster())

    def _endpoints(self) -> set[str]:
        """The writers that the endpoint of the object should serve."""
        match endpoint_kind(self._cluster()):
            case EndpointKind.NODE_LOCAL:
                return self.writers.local({n.name for n in self._nodes() if not n.control_plane})
            case EndpointKind.SINGLE:
                return set()
            case _:
                return {SHARED}

    def etcd_nodes(self) -> list[str]:
        """The nodes that should have a member."""
        return [node.name for node in self._nodes() if node.etcd]

    def _servers(self) -> list[str]:
        return [node.name for node in self._nodes() if node.control_plane]


def _ready(node: Object) -> bool:
    conditions = node["status"]["conditions"]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@contextmanager
def proving(story: Story, shared: tuple[str, int] | None = None) -> Iterator[Proof]:
    """Writers run from here to the end; at the end, nothing that any of them was promised is lost."""
    with Writers(story, shared=shared) as writers:
        proof = Proof(story, writers)
        yield proof
        proof.kept()

"""The renew phase: certificates made anew and put in place with nothing but SSH. Pure.

What `certs renew` does when asked, and `apply` by itself before anything else when certificates have ended:
then neither etcd nor the API may answer, so nothing here depends on what they say. All nodes get their files
first; only then do processes take them over, those that must be restarted one API server after another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from anykube.content.apiserver import NAME as API_SERVER
from anykube.content.certificates import certificate_requests
from anykube.content.context import NodeContext
from anykube.content.etcd import NAME as ETCD
from anykube.content.model import CertificateRequest, Component, File, SecretPart, expected_sha256
from anykube.content.node import components
from anykube.errors import PlanError, UsageError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, etcd_of
from anykube.facts.record import Record
from anykube.facts.secrets import SecretFacts
from anykube.plan.blueprint import Blueprint
from anykube.plan.bootstrap import API_READY, API_SECONDS, DISRUPTIONS, STATES
from anykube.plan.certificates import SIGN, refuse_unsigned
from anykube.plan.contexts import Hosts, contexts, endpoint
from anykube.plan.effects import IssueCertificates, PutFiles, SetUnit, WaitFor
from anykube.plan.inventory import ports
from anykube.plan.model import CLUSTER, LOCAL, Change, Phase, PhasePlan, Step
from anykube.plan.order import checked
from anykube.plan.rolling import READY_SECONDS
from anykube.plan.rotation import signed
from anykube.plan.rules import obstacles, own_clock_is_doubtful
from anykube.spec.endpoint import API_PORT, url
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

ISSUE = f"{LOCAL}/renewal"
SERVED_SECONDS = 90.0
"""An API server that missed the change of its files looks again after a minute."""
SHOWN = 12


def selected(
    requests: Sequence[CertificateRequest],
    secrets: Mapping[str, SecretFacts],
    now: datetime,
    names: Collection[str],
    *,
    everything: bool,
) -> frozenset[str]:
    """The leaf certificates that were asked for: by node, by name, or all; without any, those that are due.

    UsageError for a name that is neither a node nor a certificate.
    """
    leaves = [request.secret for request in requests if not request.is_authority]
    if everything:
        return frozenset(leaves)
    if not names:
        known = {name: secrets[name].certificate for name in leaves if name in secrets}
        return frozenset(name for name, found in known.items() if found and now >= found.due)
    chosen: set[str] = set()
    for name in names:
        found = [leaf for leaf in leaves if leaf == name or leaf.startswith(f"nodes/{name}/")]
        if not found:
            listed = ", ".join(leaves[:SHOWN]) + (" …" if len(leaves) > SHOWN else "")
            raise UsageError(
                f"{name[:80]!r} is no node and no certificate of this cluster.",
                remedy=f"name a node, or one of: {listed}",
            )
        chosen.update(found)
    return frozenset(chosen)


def overdue(requests: Sequence[CertificateRequest], facts: Facts, hosts: Hosts) -> frozenset[str]:
    """Certificates that have ended, of users and of nodes that answer: what keeps apply from seeing and
    mending anything else."""
    if own_clock_is_doubtful(facts):
        return frozenset()
    found: set[str] = set()
    for request in requests:
        folder, name = request.secret.split("/")[:2]
        secret = facts.secrets.get(request.secret)
        there = folder == "users" or isinstance(hosts.get(name), HostFacts)
        certificate = secret.certificate if secret and there and not request.is_authority else None
        if certificate and facts.now >= certificate.not_after:
            found.add(request.secret)
    return frozenset(found)


def plan_overdue(
    cluster: Cluster, facts: Facts, record: Record, blueprint: Blueprint, hosts: Hosts
) -> PhasePlan:
    """The renew phase of apply: nothing, unless certificates have ended, or are made anew and not in place
    while etcd does not answer (a run that was killed in between). PlanError while others have to sign."""
    requests = certificate_requests(
        cluster, nodes(cluster), blueprint.addresses, endpoint(cluster, blueprint)
    )
    if cluster.spec.security.external_authorities:
        refuse_unsigned(requests, facts.secrets, facts.now)
    renewed = overdue(requests, facts, hosts)
    if renewed or (record.born and not etcd_of(facts.hosts).quorate):
        return plan_renewal(cluster, facts, record, blueprint, hosts, renewed)
    return PhasePlan(Phase.RENEW, ())


def plan_renewal(
    cluster: Cluster,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    hosts: Hosts,
    renewed: frozenset[str],
) -> PhasePlan:
    """Issue these certificates, and bring every node that answers to use what is kept. PlanError if this
    machine's clock cannot be trusted."""
    if renewed and cluster.spec.security.external_authorities:
        raise PlanError("The authorities of this cluster are not anykube's: it cannot sign.", remedy=SIGN)
    if renewed and own_clock_is_doubtful(facts):
        raise PlanError(
            "No node agrees with the clock of this machine; certificates would get wrong dates.",
            evidence=[f"here it is {facts.now:%Y-%m-%d %H:%M:%S} UTC"],
            remedy="set the clock of this machine (timedatectl set-ntp true), or those of the nodes",
        )
    wanted = nodes(cluster)
    api = endpoint(cluster, blueprint)
    requests = signed(certificate_requests(cluster, wanted, blueprint.addresses, api), record)
    issued = tuple(request for request in requests if request.secret in renewed)
    blocked = obstacles(wanted, hosts, record, facts)
    names = {obstacle.target for obstacle in blocked}
    there = {name: host for name, host in facts.hosts.items() if name not in names}
    made = contexts(cluster, blueprint.addresses, blueprint, there)
    planners = [
        _Node(context, host, facts, renewed)
        for context in made
        if isinstance(host := there[context.node.name], HostFacts)
    ]
    steps = (_issue(issued, facts), *_on_nodes(planners, cluster, blueprint))
    concerned = {name.split("/")[1] for name in renewed if name.startswith("nodes/")}
    off = sorted(concerned - facts.hosts.keys())
    return PhasePlan(
        Phase.RENEW,
        checked((*steps, _api_ready(steps, facts))),
        obstacles=tuple(obstacle for obstacle in blocked if obstacle.target in concerned),
        notes=(f"{', '.join(off)} does not run; apply places its certificates once it does",) if off else (),
    )


def _issue(issued: Sequence[CertificateRequest], facts: Facts) -> Step:
    if not issued:
        return Step(ISSUE, Phase.RENEW, LOCAL, "certificates", "none to be made")
    changes = tuple(
        Change("update", "certificate", request.secret, _why(request.secret, facts)) for request in issued
    )
    effects = (IssueCertificates(tuple(issued)),)
    return Step(ISSUE, Phase.RENEW, LOCAL, "certificates", f"{len(issued)} to be made anew", changes, effects)


def _why(secret: str, facts: Facts) -> str:
    found = facts.secrets[secret].certificate if secret in facts.secrets else None
    if found is None:
        return "missing"
    return f"{'ended' if facts.now >= found.not_after else 'ends'} on {found.not_after:%Y-%m-%d}"


def _on_nodes(planners: Sequence[_Node], cluster: Cluster, blueprint: Blueprint) -> Iterator[Step]:
    """Files everywhere, then etcd, then API servers, then all others, then a look at what is served."""
    places = [planner.place() for planner in planners if planner.placed]
    yield from places
    placed = tuple(step.id for step in places)
    turns = {step.id: step for planner in planners for step in planner.turns(placed)}
    several = sum(node.control_plane for node in nodes(cluster)) > 1
    before: tuple[str, ...] = ()
    for planner in planners:
        step = turns.get(f"{planner.name}/{API_SERVER}")
        if step is None:
            continue
        restarts = any(change.action == "restart" for change in step.changes)
        if several and restarts and planner.runs(API_SERVER):
            ready = WaitFor("server-ready", url(blueprint.addresses[planner.name], API_PORT), READY_SECONDS)
            turns[step.id] = replace(step, effects=(*step.effects, ready), needs=(*step.needs, *before))
            before = (step.id,)
    yield from turns.values()
    wire = list(ports(nodes(cluster), blueprint.addresses, endpoint(cluster, blueprint)))
    for planner in planners:
        asked = [
            f"{port.secrets[0]} at {port.address}:{port.port}"
            for port in wire
            if port.node == planner.name and len(port.secrets) == 1 and port.secrets[0] in planner.placed
        ]
        if asked:
            yield planner.look(asked, tuple(turns))


def _api_ready(steps: Sequence[Step], facts: Facts) -> Step:
    servers = tuple(step.id for step in steps if step.title == API_SERVER)
    if not servers or facts.kubernetes.ready:
        return Step(API_READY, Phase.RENEW, CLUSTER, "API", "no server is restarted because it is down")
    change = Change("wait", "condition", "API ready", "does not answer")
    effects = (WaitFor("api-ready", "", API_SECONDS),)
    return Step(API_READY, Phase.RENEW, CLUSTER, "API", change.reason, (change,), effects, needs_any=servers)


@dataclass(frozen=True)
class _Node:
    """The renewal of one node that answers."""

    context: NodeContext
    host: HostFacts
    facts: Facts
    renewed: frozenset[str]

    @property
    def name(self) -> str:
        return self.context.node.name

    @property
    def placed(self) -> frozenset[str]:
        """The certificates of which files are placed here."""
        return frozenset(
            file.source.secret
            for files in self._files.values()
            for file in files
            if isinstance(file.source, SecretPart)
        )

    @property
    def _files(self) -> Mapping[str, tuple[File, ...]]:
        """By component: certificates and keys that are there and not as they are kept, or will be."""
        found: dict[str, tuple[File, ...]] = {}
        for component in components(self.context):
            if files := tuple(file for file in component.files if self._differs(file)):
                found[component.name] = files
        return found

    def _differs(self, file: File) -> bool:
        if not isinstance(file.source, SecretPart) or not file.source.secret.startswith("nodes/"):
            return False
        if file.path not in self.host.files:
            return False  # Not installed yet: that is the bootstrap phase's.
        expected = expected_sha256(file, self.facts.secrets, self.facts.lock)
        return file.source.secret in self.renewed or (
            expected is not None and self.host.files[file.path].sha256 != expected
        )

    def runs(self, component: str) -> bool:
        """Whether the unit of a component is active."""
        unit = self.host.units.get(f"{component}.service")
        return unit is not None and unit.running

    def place(self) -> Step:
        """All files of the node in one go."""
        files = tuple(file for group in self._files.values() for file in group)
        reason = "its certificate is made anew"
        return Step(
            f"{self.name}/certificates",
            Phase.RENEW,
            self.name,
            "certificates",
            reason,
            tuple(Change("update", "file", file.path, reason) for file in files),
            (PutFiles(self.name, files),),
            (ISSUE,),
        )

    def turns(self, placed: tuple[str, ...]) -> Iterator[Step]:
        """What has the processes take over what was placed; etcd and the API server before the others."""
        done: dict[str, str] = {}
        for component in components(self.context):
            action, reason = self._action(component)
            if component.unit is None or not action:
                continue
            unit = component.unit.name
            found = self.host.units[unit]
            # One that is about to serve, such as etcd after a boot, is waited for and not held up.
            states = ("started",) if action == "reload" and not found.running else ()
            first = [done[name] for name in (ETCD, API_SERVER) if name in done]
            step = Step(
                f"{self.name}/{component.name}",
                Phase.RENEW,
                self.name,
                component.name,
                reason,
                (Change(action, "unit", unit, reason),),
                tuple(SetUnit(self.name, unit, state) for state in (*states, STATES[action])),
                (*placed, *first),
                DISRUPTIONS.get(component.name, "") if action == "restart" and found.running else "",
            )
            done[component.name] = step.id
            yield step

    def _action(self, component: Component) -> tuple[str, str]:
        """What is done with a unit. etcd that runs reads its certificates for each handshake, whatever
        became of the old ones; others that lost theirs may have given up for minutes."""
        files = self._files.get(component.name, ())
        if component.unit is None or not files:
            return "", ""
        found = self.host.units.get(component.unit.name)
        if found is None or found.load != "loaded":
            return "", ""
        live = component.unit.reloadable.issuperset(file.path for file in files)
        starting = found.active == "activating"
        if not found.running and not (starting and live):
            return "restart", f"is {found.active}"
        if not live:
            return "restart", f"{files[0].path} changes"
        if component.name != ETCD and not starting and self._lost(files):
            return "restart", "its certificates had ended"
        return "reload", "it takes its new certificates over by itself"

    def _lost(self, files: Sequence[File]) -> bool:
        secrets = {file.source.secret for file in files if isinstance(file.source, SecretPart)}
        known = [self.facts.secrets[name].certificate for name in secrets if name in self.facts.secrets]
        return any(found is not None and self.facts.now >= found.not_after for found in known)

    def look(self, asked: Sequence[str], turns: tuple[str, ...]) -> Step:
        """Wait until the processes of the node are seen to serve the new certificates."""
        reason = "proven on the wire"
        return Step(
            f"{self.name}/served",
            Phase.RENEW,
            self.name,
            "served",
            reason,
            tuple(Change("wait", "served", one.partition(" at ")[2], reason) for one in asked),
            tuple(WaitFor("served", one, SERVED_SECONDS) for one in asked),
            tuple(turn for turn in turns if turn.startswith(f"{self.name}/")),
        )

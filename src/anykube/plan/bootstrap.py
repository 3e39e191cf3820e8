"""Phase three: from machines to running components, the same for containers, VMs and bare metal.

Per node and component one step: place the files that differ, then bring the unit to run with them.
A restart, or a reload where that is enough, is planned exactly when a process runs with inputs that are
not the wanted ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from anykube.content.apiserver import NAME as API_SERVER
from anykube.content.context import NodeContext
from anykube.content.haproxy import KEEPALIVED_SERVICE, SHARED_SERVICE
from anykube.content.model import ArtifactFile, Component, File, LocalFile, SecretPart, Text, expected_sha256
from anykube.content.node import components, managed_programs
from anykube.content.paths import SOFTWARE, install_path
from anykube.facts.cluster import Facts
from anykube.facts.etcd import quorum
from anykube.facts.host import FileFacts, HostFacts, Unreachable, etcd_of
from anykube.plan.certificates import STEP as CERTIFICATES
from anykube.plan.effects import Effect, PutFiles, RemovePaths, SetUnit, WaitFor
from anykube.plan.endpoint import ENDPOINT, plan_endpoint
from anykube.plan.model import CLUSTER, Change, Phase, Step

API_READY = f"{CLUSTER}/api-ready"
API_SECONDS = 180.0
"""Until the API server says it is ready; kubeadm waits four minutes for its control plane."""
UNREACHABLE_API_SECONDS = 5.0
AFTER_SERVERS = frozenset({"kubelet"})
"""Starts as soon as the servers listen, and registers its node while they still get ready: it tries again
after a fraction of a second, and needs no role that an API server makes at its first start."""
AFTER_API = frozenset({"kube-controller-manager", "kube-scheduler", "kube-proxy"})
"""Components that are refused until the API is ready, and then wait for seconds before they try again."""
STATES = {"start": "started", "restart": "restarted", "reload": "reloaded"}
"""What is done with a unit, and the state that it is brought to."""
FOLLOWERS = ("kubelet", "kube-proxy")
"""Components that use the endpoint where the node has no API server."""
CARRIERS = frozenset({SHARED_SERVICE, KEEPALIVED_SERVICE})
DISRUPTIONS = {
    "etcd": "the API answers no writes while its etcd restarts",
    "kube-apiserver": "the API server of this node restarts",
    "containerd": "pods keep running",
    "kubelet": "pods keep running",
}


def fresh_host(name: str, facts: Facts, baked: Sequence[str]) -> HostFacts | None:
    """A machine that does not exist yet, as it will look: what provisional steps are planned on."""
    if facts.fresh is None:
        return None
    locked = facts.lock.artifacts if facts.lock else {}
    files = {
        install_path(artifact): FileFacts(
            locked[artifact].sha256 if artifact in locked else "", mode, "root:root"
        )
        for artifact in baked
        for mode in ("644" if artifact.startswith("image-") else "755",)
    }
    system = replace(facts.fresh, hostname=name, machine_id="", clock=facts.now.timestamp())
    # Providers that make machines make them with all that a node needs.
    return HostFacts(name, system, files, tools=frozenset(managed_programs()))


def plan_nodes(
    contexts: Sequence[NodeContext],
    hosts: Mapping[str, HostFacts | Unreachable],
    facts: Facts,
    changing: frozenset[SecretPart],
    previous: Mapping[str, Mapping[str, str]],
) -> tuple[Step, ...]:
    """Steps of all nodes that answer. `changing` are parts of secrets that are made anew before;
    `previous` maps node and path to the sha256 of the object applied last, to tell a hand edit."""
    steps: list[Step] = []
    usable = [
        (context, host) for context in contexts if isinstance(host := hosts[context.node.name], HostFacts)
    ]
    servers = tuple(
        f"{context.node.name}/{API_SERVER}" for context, _ in usable if context.node.control_plane
    )
    followers = tuple(
        f"{context.node.name}/{name}"
        for context, _ in usable
        if context.node.kubelet and not context.node.control_plane
        for name in FOLLOWERS
    )
    for context, host in usable:
        earlier = previous.get(context.node.name, {})
        steps.extend(_NodePlanner(context, host, facts, changing, earlier, servers, followers).steps())
    shared = plan_endpoint(contexts[0].endpoint, steps, servers, facts) if contexts else None
    return (*steps, *((shared,) if shared else ()), _api_ready(steps, servers, facts))


def _api_ready(steps: Sequence[Step], servers: tuple[str, ...], facts: Facts) -> Step:
    restarts = any(step.id in servers and not step.skipped for step in steps)
    if facts.kubernetes.ready and not restarts:
        return Step(API_READY, Phase.BOOTSTRAP, CLUSTER, "API", "answers and is ready", needs=servers)
    reason = "servers are started" if restarts else "does not answer"
    change = Change("wait", "condition", "API ready", reason)
    # Where no server can be reached nothing is started that would be worth waiting for; nor without an etcd.
    worth = bool(servers) and not _quorum_is_lost(facts)
    wait = WaitFor("api-ready", "", API_SECONDS if worth else UNREACHABLE_API_SECONDS)
    return Step(
        API_READY,
        Phase.BOOTSTRAP,
        CLUSTER,
        "API",
        reason,
        (change,),
        (wait,),
        (CERTIFICATES,),
        needs_any=servers,
    )


def _quorum_is_lost(facts: Facts) -> bool:
    """Whether etcd has no quorum, and too few machines have the data of a member to become one."""
    hosts = [host for host in facts.hosts.values() if isinstance(host, HostFacts)]
    etcd = etcd_of(facts.hosts)
    with_data = sum(host.etcd_data for host in hosts)
    return etcd.exists and not etcd.quorate and with_data < quorum(len(etcd.voters))


class _NodePlanner:
    """The steps of one node."""

    def __init__(
        self,
        context: NodeContext,
        host: HostFacts,
        facts: Facts,
        changing: frozenset[SecretPart],
        previous: Mapping[str, str],
        servers: tuple[str, ...],
        followers: tuple[str, ...],
    ) -> None:
        self._servers = servers
        self._followers = followers
        self._context = context
        self._name = context.node.name
        self._host = host
        self._facts = facts
        self._changing = changing
        self._previous = previous

    def steps(self) -> Iterator[Step]:
        """One step per component, in install order."""
        wanted = components(self._context)
        locked = self._facts.lock.artifacts.values() if self._facts.lock else ()
        self._staged = {f"{SOFTWARE}/{item.sha256}" for item in locked}
        self._files = {file.path: file for component in wanted for file in component.files}
        units = {component.unit.name for component in wanted if component.unit}
        traces = [trace for component in wanted for trace in component.traces]
        # What units make while they run goes with the node, not before.
        self._traces = {trace.removeprefix("file ") for trace in traces if trace.startswith("file ")}
        for component in wanted:
            yield self._step(component)
        yield self._leftovers(units, tuple(f"{self._name}/{component.name}" for component in wanted))

    def _leftovers(self, wanted_units: set[str], needs: tuple[str, ...]) -> Step:
        """What anykube put here earlier and the object does not ask for any more."""
        ledger = self._host.ledger
        units = sorted(ledger.units - wanted_units)
        paths = sorted(
            path
            for path in ledger.paths & self._host.files.keys()
            if path not in self._files and path not in self._staged and path not in self._traces
        )
        reason = "put here earlier, not wanted any more" if units or paths else "nothing left over"
        changes = (
            *(Change("delete", "unit", unit, reason) for unit in units),
            *(Change("delete", "file", path, reason) for path in paths),
        )
        if CARRIERS.intersection(units):
            # Others may be using the address that this node carries, until they have the new one.
            needs = tuple(dict.fromkeys((*needs, *self._followers)))
        effects: list[Effect] = [SetUnit(self._name, unit, "absent") for unit in units]
        if paths:
            effects.append(RemovePaths(self._name, tuple(paths)))
        return Step(
            f"{self._name}/leftovers",
            Phase.BOOTSTRAP,
            self._name,
            "leftovers",
            reason,
            changes,
            tuple(effects),
            needs,
        )

    def _step(self, component: Component) -> Step:
        differing = {file.path: reason for file in component.files if (reason := self._file_reason(file))}
        files = tuple(file for file in component.files if file.path in differing)
        changes = [
            Change("update" if path in self._host.files else "create", "file", path, reason)
            for path, reason in differing.items()
        ]
        effects: list[Effect] = []
        if files:
            effects.append(PutFiles(self._name, files, component.directories))
        action, reason = self._unit_action(component)
        if component.unit and action:
            effects.append(SetUnit(self._name, component.unit.name, STATES[action]))
            changes.append(Change(action, "unit", component.unit.name, reason))
        return Step(
            id=f"{self._name}/{component.name}",
            phase=Phase.BOOTSTRAP,
            target=self._name,
            title=component.name,
            reason=changes[0].reason if changes else "as it should be",
            changes=tuple(changes),
            effects=tuple(effects),
            needs=self._needs(component),
            needs_any=self._needs_any(component),
            disruption=DISRUPTIONS.get(component.name, "") if action == "restart" else "",
        )

    def _needs(self, component: Component) -> tuple[str, ...]:
        needs = [CERTIFICATES, *(f"{self._name}/{other}" for other in component.after)]
        if component.name in AFTER_SERVERS and self._own_server in self._servers:
            needs.append(self._own_server)
        if component.name in AFTER_API:
            needs.append(API_READY)
        if component.name in FOLLOWERS and self._follows(component):
            needs.append(ENDPOINT)
        return tuple(dict.fromkeys(needs))

    def _needs_any(self, component: Component) -> tuple[str, ...]:
        """A node without an API server of its own may begin with any."""
        anywhere = component.name in AFTER_SERVERS and self._own_server not in self._servers
        return self._servers if anywhere else ()

    @property
    def _own_server(self) -> str:
        return f"{self._name}/{API_SERVER}"

    def _follows(self, component: Component) -> bool:
        """Whether the component works now, and will use a shared address: not before that serves. One that
        is new tries by itself until it does."""
        unit = self._host.units.get(component.unit.name) if component.unit else None
        elsewhere = self._context.endpoint.shared and not self._context.node.control_plane
        return elsewhere and unit is not None and unit.running

    def _file_reason(self, file: File) -> str:
        actual = self._host.files.get(file.path)
        if actual is None:
            return "missing"
        if self._will_change(file):
            return "its certificate is issued anew"
        expected = expected_sha256(file, self._facts.secrets, self._facts.lock)
        if expected is not None and actual.sha256 != expected:
            return self._difference(file, actual)
        if expected is None and actual.sha256 and isinstance(file.source, ArtifactFile) and self._facts.lock:
            return "another version is wanted"
        if actual.mode != file.mode:
            return f"mode is {actual.mode}, should be {file.mode}"
        if actual.owner != file.owner:
            return f"owner is {actual.owner}, should be {file.owner}"
        return ""

    def _difference(self, file: File, actual: FileFacts) -> str:
        match file.source:
            case SecretPart():
                return "is not the certificate or key that was issued"
            case ArtifactFile(artifact):
                return f"is not the locked {artifact}"
            case Text() | LocalFile():
                if actual.sha256 == self._previous.get(file.path):
                    return "the object asks for other content"
                return "edited on the node"

    def _will_change(self, file: File) -> bool:
        return file.source in self._changing

    def _unit_action(self, component: Component) -> tuple[str, str]:
        if component.unit is None:
            return "", ""
        found = self._host.units.get(component.unit.name)
        if found is None or (found.load == "not-found" and not found.running):
            return "start", "not installed yet"
        started_with = found.inputs if component.unit.recorded else self._present(component.unit.inputs)
        stale = self._stale_inputs(component.unit.inputs, started_with)
        if not found.running:
            # One that is about to serve, such as etcd after a boot, is waited for and not held up.
            starting = found.active == "activating" and found.load == "loaded"
            again = stale or found.needs_reload or not starting
            return "restart" if again else "start", f"is {found.active}"
        if found.load != "loaded":
            return "restart", f"runs, but its unit file is {found.load}"
        if stale or found.needs_reload:
            enough = component.unit.reloadable.issuperset(stale) and not found.needs_reload
            reason = next(iter(stale.values()), "its unit file changed on the node")
            return "reload" if enough else "restart", reason
        if not found.enabled:
            return "start", "would not start at boot"
        return "", ""

    def _present(self, paths: Sequence[str]) -> Mapping[str, str]:
        files = self._host.files
        return {path: files[path].sha256 for path in paths if path in files}

    def _stale_inputs(self, paths: Sequence[str], started_with: Mapping[str, str]) -> Mapping[str, str]:
        """The inputs that the process did not start with, and how they differ."""
        stale: dict[str, str] = {}
        for path in paths:
            file = self._files[path]
            expected = expected_sha256(file, self._facts.secrets, self._facts.lock)
            if expected is None or self._will_change(file):
                stale[path] = f"{path} changes"
            elif started_with.get(path) != expected:
                stale[path] = f"runs with another {path}"
        return stale

"""Keys are replaced in the planner's world: after every effect, nobody meets a key that is not trusted there.

A process trusts what its bundle held when it started, and shows what it started with or what lies on its disk
by now. Users hold a kubeconfig of before, which trusts the old authority only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.plan.test_convergence import Killed, cluster, run
from tests.unit.plan.world import World, digest

from anykube.content.authorities import CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA, SERVICE_ACCOUNT_PUBLIC
from anykube.content.etcd import PKI as ETCD_PKI
from anykube.content.model import CertificateRequest
from anykube.content.node import components
from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.kubernetes import KubernetesFacts
from anykube.facts.record import Record, Rotation, Stage
from anykube.facts.secrets import SecretFacts
from anykube.plan import effects
from anykube.plan.contexts import contexts
from anykube.plan.distrust import REQUEST_CAS, plan_distrust, trusted_by_pods
from anykube.plan.effects import DeleteObjects, RewriteSecrets, WaitFor
from anykube.plan.render import summary
from anykube.plan.rotation import AUTHORITIES, KEYS
from anykube.plan.stages import TOKEN_LIFE, backwards, further, settled, tokens_end

ALL = tuple(AUTHORITIES.values())
ENCRYPTION, TOKENS = KEYS["encryption"], KEYS["service-account"]
BUNDLES = {
    CLUSTER_CA: "ca/cluster",
    ETCD_CA: "ca/etcd",
    f"{ETCD_PKI}/ca.crt": "ca/etcd",
    FRONT_PROXY_CA: "ca/front-proxy",
}
NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)


@dataclass
class Rotating(World):
    """A world whose digests mean something. `issuers`: of a leaf certificate, its authority and the key that
    signed it; `trusted`: the keys in a bundle; `at_rest`: Secrets in etcd by the key they are under."""

    issuers: dict[str, tuple[str, str]] = field(default_factory=dict)
    trusted: dict[str, frozenset[str]] = field(default_factory=dict)
    at_rest: Counter[str] = field(default_factory=Counter)
    reads: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    made: int = 0

    def facts(self) -> Facts:
        at_rest = dict(self.at_rest) if ENCRYPTION in self.record.rotations else None
        return replace(super().facts(), at_rest=at_rest)

    def perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.AddKey(request):
                self.made += 1
                known = self.secrets[request.secret]
                self._turn(request.secret, (*known.keys, digest(request.secret, "key", self.made)))
            case effects.UseKey(secret, key):
                others = [other for other in self.secrets[secret].keys if other != key]
                self._turn(secret, (key, *others))
            case effects.DropKeys(secret, keep):
                assert self.secrets[secret].keys[0] == keep
                self._turn(secret, (keep,))
            case effects.RewriteSecrets():
                self._rewrite()
            case _:
                super().perform(effect)
                self._learn(effect)
        self.check()

    def _turn(self, name: str, keys: tuple[str, ...]) -> None:
        known = self.secrets[name]
        certificate = known.certificate and replace(known.certificate, fingerprint=keys[0])
        bundle = digest(name, "bundle", sorted(keys))
        self.trusted[bundle] = frozenset(keys)
        used = {part: digest(name, part, keys[0]) for part in ("certificate", "key", "public")}
        parts = {**used, "bundle": bundle, "value": digest(name, keys)}
        self.secrets[name] = SecretFacts(name, parts, certificate, keys)

    def _learn(self, effect: effects.Effect) -> None:
        if not isinstance(effect, effects.IssueCertificates | effects.GenerateSecrets):
            return
        for request in effect.requests:
            known = self.secrets[request.secret]
            if known.keys:
                self._turn(request.secret, known.keys)
            elif isinstance(request, CertificateRequest) and known.certificate:
                issuer = request.issuer or known.certificate.issuer
                self.secrets[request.secret] = replace(
                    known, certificate=replace(known.certificate, issuer=issuer)
                )
                self.issuers[known.parts["certificate"]] = (request.authority, issuer)

    def _rewrite(self) -> None:
        wanted = self.secrets[ENCRYPTION].parts["value"]
        for server in self.servers():
            assert server["/etc/kubernetes/encryption.yaml"] == wanted, "a server writes with another key"
        self.at_rest = Counter({self.secrets[ENCRYPTION].keys[0]: self.at_rest.total()})

    def servers(self) -> Iterator[dict[str, str]]:
        """What API servers that run started with."""
        for host in self.hosts.values():
            if unit := host.units.get("kube-apiserver.service"):
                yield dict(unit.inputs)

    def check(self) -> None:
        """Whoever is shown a certificate trusts the key that signed it."""
        shown: set[tuple[str, str]] = set()
        trust: dict[str, set[str]] = {
            name: set(self.secrets[name].keys) for name in ALL if name in self.secrets
        }
        for host in self.hosts.values():
            on_disk = [file.sha256 for file in host.files.values()]
            shown.update(self.issuers[one] for one in on_disk if one in self.issuers)
            for name, paths in self._reads(host.name).items():
                if name not in host.units:
                    continue
                for path in paths & host.units[name].inputs.keys():
                    started_with = host.units[name].inputs[path]
                    if path in BUNDLES:
                        trust[BUNDLES[path]] &= self.trusted[started_with]
                    elif started_with in self.issuers:
                        shown.add(self.issuers[started_with])
        for authority, key in shown:
            assert key in trust[authority], f"{key} of {authority} is shown, and not trusted everywhere"

    def _reads(self, node: str) -> dict[str, set[str]]:
        """Which files each unit reads at its start; in the planner's world it starts with all of its node."""
        if node not in self.reads:
            (context,) = contexts(
                self.cluster, self.blueprint().addresses, self.blueprint(), {node: self.hosts[node]}
            )
            units = [component.unit for component in components(context) if component.unit]
            self.reads[node] = {unit.name: set(unit.inputs) for unit in units}
        return self.reads[node]

    def shown_by_servers(self) -> set[str]:
        """The keys that signed what API servers show."""
        path = "/etc/kubernetes/pki/apiserver.crt"
        return {
            self.issuers[host.files[path].sha256][1] for host in self.hosts.values() if path in host.files
        }

    def token_keys(self) -> list[frozenset[str]]:
        """The keys whose tokens each API server accepts."""
        return [self.trusted[server[SERVICE_ACCOUNT_PUBLIC]] for server in self.servers()]


@pytest.fixture
def world() -> Rotating:
    made = Rotating(cluster())
    run(made)
    made.at_rest[made.secrets[ENCRYPTION].keys[0]] = 40
    return made


def go(world: Rotating, names: Sequence[str]) -> None:
    """One stage, to its end."""
    world.record = further(world.record, world.secrets, names)
    run(world)
    assert world.plan().empty
    world.record = settled(world.record, NOW)


def stages(world: Rotating, names: Sequence[str]) -> Iterator[str]:
    """Stage by stage, until the old key is gone."""
    while True:
        go(world, names)
        yield world.record.rotations[names[0]].stage if world.record.rotations else "over"
        if not world.record.rotations:
            return


def test_authorities_are_replaced_and_old_kubeconfigs_work_until_the_last_stage(world: Rotating) -> None:
    old = {name: world.secrets[name].keys[0] for name in ALL}
    seen = [(stage, world.shown_by_servers() == {old["ca/cluster"]}) for stage in stages(world, ALL)]
    assert seen == [("trust", True), ("use", True), ("show", False), ("over", False)]
    for name in ALL:
        (key,) = world.secrets[name].keys
        assert key != old[name]
    issuers = {
        issuer
        for host in world.hosts.values()
        for file in host.files.values()
        if (issuer := world.issuers.get(file.sha256))
    }
    assert issuers == {(name, world.secrets[name].keys[0]) for name in ALL}


def test_several_control_planes_never_meet_a_stranger() -> None:
    """The checks run after every effect."""
    machines = cluster().spec.machines
    planes, workers = machines.pools
    three = machines.model_copy(update={"pools": (planes.model_copy(update={"count": 3}), workers)})
    spec = cluster().spec.model_copy(update={"machines": three})
    world = Rotating(cluster().model_copy(update={"spec": spec}))
    run(world)
    assert list(stages(world, ALL))[-1] == "over"
    assert len(list(world.servers())) == 3


@pytest.mark.parametrize(
    "names", [ALL, (ENCRYPTION,), (TOKENS,)], ids=["authorities", "encryption", "tokens"]
)
def test_killed_in_any_stage_the_next_run_finishes_it(world: Rotating, names: Sequence[str]) -> None:
    """And goes no further: the stage is kept by whatever comes next."""
    number = 0
    while True:
        world.record = further(world.record, world.secrets, names)
        stage = world.record.rotations[names[0]].stage
        cut = 0
        while True:
            number += 1
            try:
                run(world, kill_after=cut)
                break
            except Killed:
                cut = 1 + number % 7
        run(world)
        assert world.plan().empty, f"{stage} is not finished after a kill"
        assert world.record.rotations[names[0]].stage is stage
        world.record = settled(world.record, NOW)
        if stage is Stage.DISTRUST:
            break
    assert all(len(world.secrets[name].keys) == 1 for name in names)


@pytest.mark.parametrize("reached", [1, 2, 3])
def test_the_way_back_from_each_stage(world: Rotating, reached: int) -> None:
    before = {name: world.secrets[name].keys for name in ALL}
    for _ in range(reached):
        go(world, ALL)
    while world.record.rotations:
        world.record = backwards(world.record, ALL)
        run(world)
        assert world.plan().empty
    assert {name: world.secrets[name].keys for name in ALL} == before
    assert world.shown_by_servers() == set(before["ca/cluster"])


def test_the_last_stage_has_no_way_back(world: Rotating) -> None:
    record = replace(world.record, rotations={"ca/etcd": Rotation(Stage.DISTRUST, "old")})
    with pytest.raises(PlanError, match="no way back"):
        backwards(record, ["ca/etcd"])


def test_secrets_are_stored_anew_before_the_old_key_goes(world: Rotating) -> None:
    (old,) = world.secrets[ENCRYPTION].keys
    seen: dict[str, set[str]] = {}
    for stage in stages(world, [ENCRYPTION]):
        seen[stage] = set(world.at_rest)
        stored_under = world.secrets[ENCRYPTION].keys
        assert set(world.at_rest) <= set(stored_under), "a Secret cannot be read any more"
    (new,) = world.secrets[ENCRYPTION].keys
    assert seen == {"trust": {old}, "use": {new}, "over": {new}}


def test_tokens_of_the_old_key_are_valid_until_it_goes(world: Rotating) -> None:
    (old,) = world.secrets[TOKENS].keys
    accepted = {stage: [old in keys for keys in world.token_keys()] for stage in stages(world, [TOKENS])}
    assert accepted == {"trust": [True], "use": [True], "over": [False]}


def test_when_the_last_token_ends() -> None:
    record = Record("demo", "x", rotations={TOKENS: Rotation(Stage.USE, "old")})
    assert tokens_end(record) is None, "nobody knows yet whether the stage is complete"
    known = settled(record, NOW)
    assert tokens_end(known) == NOW + TOKEN_LIFE
    assert settled(known, NOW + timedelta(hours=9)) == known, "since when it is complete does not change"
    assert tokens_end(replace(record, rotations={TOKENS: Rotation(Stage.TRUST, "old", "x")})) is None


@pytest.mark.parametrize("reached", [1, 2, 3])
def test_nodes_that_come_in_the_middle_trust_and_show_what_the_stage_says(
    world: Rotating, reached: int
) -> None:
    for _ in range(reached):
        go(world, ALL)
    world.cluster = cluster(workers=3)
    run(world)
    assert world.plan().empty
    trusted = {world.trusted[host.files[CLUSTER_CA].sha256] for host in world.hosts.values()}
    assert trusted == {frozenset(world.secrets["ca/cluster"].keys)}


def test_a_server_certificate_made_anew_in_the_middle_is_one_that_old_kubeconfigs_trust(
    world: Rotating,
) -> None:
    (old,) = world.secrets["ca/cluster"].keys
    go(world, ALL)
    go(world, ALL)
    del world.secrets["nodes/demo-cp-1/apiserver"]
    run(world)
    assert world.plan().empty
    assert world.shown_by_servers() == {old}


def test_authorities_at_different_stages_do_not_go_on_together(world: Rotating) -> None:
    go(world, ["ca/etcd"])
    with pytest.raises(PlanError, match="first: anykube certs rotate-ca etcd"):
        further(world.record, world.secrets, ALL)


def test_apply_in_the_middle_keeps_the_stage_and_says_so(world: Rotating) -> None:
    go(world, ["ca/etcd"])
    made = world.plan()
    assert made.empty
    (note,) = made.under_way
    assert note in summary(made)
    assert "anykube certs rotate-ca etcd" in note


def test_a_record_and_secrets_that_do_not_belong_together_are_refused(world: Rotating) -> None:
    world.record = replace(world.record, rotations={"ca/etcd": Rotation(Stage.TRUST, "lost")})
    with pytest.raises(PlanError, match="that key is not here"):
        world.plan()
    (old,) = world.secrets["ca/etcd"].keys
    world.record = replace(world.record, rotations={"ca/etcd": Rotation(Stage.USE, old)})
    with pytest.raises(PlanError, match="it is not here"):
        world.plan()


def test_no_upgrade_begins_while_keys_are_being_replaced(world: Rotating) -> None:
    go(world, [ENCRYPTION])
    world.record = replace(world.record, born=True)
    before = world.cluster
    world.cluster = cluster(kubernetes={"version": "1.36.1"})
    with pytest.raises(PlanError, match="No upgrade begins while keys are being replaced"):
        world.plan(before)


def test_what_is_not_there_cannot_be_replaced(world: Rotating) -> None:
    with pytest.raises(PlanError, match="no encryption-config"):
        further(world.record, {}, [ENCRYPTION])


def steps(world: Rotating, **seen: frozenset[str]) -> dict[str, effects.Effect]:
    kubernetes = KubernetesFacts(ready=True, **seen)  # type: ignore[arg-type]
    facts = replace(world.facts(), kubernetes=kubernetes)
    return {step.title: step.effects[0] for step in plan_distrust(facts, world.record) if step.effects}


def test_what_namespaces_and_aggregated_servers_trust_follows(world: Rotating) -> None:
    bundle = world.secrets["ca/cluster"].parts["bundle"]
    keys = frozenset(key for name in ALL for key in world.secrets[name].keys)
    assert steps(world, root_cas=frozenset([bundle]), request_cas=keys) == {}
    found = steps(world, root_cas=frozenset([bundle, "other"]), request_cas=keys | {"gone"})
    assert isinstance(found["CA for pods"], WaitFor)
    assert found["CAs of requests"] == DeleteObjects((REQUEST_CAS,))


def test_secrets_that_cannot_be_looked_at_are_stored_anew(world: Rotating) -> None:
    go(world, [ENCRYPTION])
    facts = replace(world.facts(), at_rest=None)
    found = [step.effects for step in plan_distrust(facts, world.record) if step.effects]
    assert found == [(RewriteSecrets(),)]


def test_pods_are_replaced_when_they_must_trust_others_and_only_then(world: Rotating) -> None:
    before = trusted_by_pods(world.secrets)
    trust, use, show, over = (trusted_by_pods(world.secrets) for _ in stages(world, ALL))
    assert before != trust == use == show != over
    assert trusted_by_pods({}) == ""

"""Replacing an authority or a key in stages, so that nobody ever meets a key that is not trusted there. Pure.

The record says which stage is wanted, and the ring of keys (pki/kinds.py) is brought there by whatever run
comes next; certificates, nodes and pods follow as they do for any other change:

  trust     the new key is in every bundle, the old one is used
  use       certificates and signatures come from the new one, the old one is still in every bundle
  show      the same for what API servers show, which kubeconfigs of before trust by the old one only
  distrust  the old one leaves the bundles

The workflow rotation.py goes from one stage to the next only when nothing is left to do. To go back is to ask
for the stage before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from anykube.content.model import CertificateRequest, SecretPart, SecretRequest
from anykube.errors import PlanError
from anykube.facts.record import Record, Rotation, Stage
from anykube.facts.secrets import SecretFacts
from anykube.plan.effects import AddKey, DropKeys, KeyEffect, UseKey
from anykube.plan.model import LOCAL, Change, Phase, Step

STEP = f"{LOCAL}/rotation"
AUTHORITIES = {"cluster": "ca/cluster", "etcd": "ca/etcd", "front-proxy": "ca/front-proxy"}
KEYS = {"service-account": "service-account", "encryption": "encryption-config"}
"""What a person calls them, and the secrets."""
SHOWN = "/apiserver"
"""How the names of the certificates end that API servers show."""
TRUSTED = ("bundle", "value")
"""Parts of a secret that change with the keys that it has."""
USED = ("certificate", "key", "public", "value")
"""Parts that change with the one in use."""
STAGES = {
    Stage.TRUST: "the new key is trusted, the old one is used",
    Stage.USE: "the new key is used, the old one is trusted",
    Stage.SHOW: "the new key is used everywhere, the old one is trusted",
    Stage.DISTRUST: "the old key goes",
}

OLD_KUBECONFIGS = "kubeconfigs handed out before stop working now; fetch new ones with: anykube kubeconfig"
OLD_PODS = "restart your own pods that read the CA at their start only, before the last stage"

Request = CertificateRequest | SecretRequest


@dataclass(frozen=True, slots=True)
class Turning:
    """How rings turn in a run. secrets: all secrets as they will be, as far as that is known; changing: parts
    whose content is not known yet."""

    step: Step
    secrets: Mapping[str, SecretFacts]
    changing: frozenset[SecretPart] = field(default_factory=frozenset)


def plan_rotation(secrets: Mapping[str, SecretFacts], record: Record, requests: Sequence[Request]) -> Turning:
    """One step that turns every ring which is not as the record wants it."""
    wanted = {request.secret: request for request in requests}
    effects: list[KeyEffect] = []
    changes: list[Change] = []
    changing: set[SecretPart] = set()
    for name, request in wanted.items():
        known = secrets.get(name)
        if known is None or not known.keys or not (turn := _turn(known, request, record.rotations.get(name))):
            continue
        effect, change, parts = turn
        effects.append(effect)
        changes.append(change)
        changing.update(SecretPart(name, part) for part in parts)
    after = turned(secrets, record)
    if not effects:
        reason = "; ".join(_standing(record)) or "no key is being replaced"
        return Turning(Step(STEP, Phase.BOOTSTRAP, LOCAL, "keys", reason), after)
    step = Step(STEP, Phase.BOOTSTRAP, LOCAL, "keys", changes[0].reason, tuple(changes), tuple(effects))
    return Turning(step, after, frozenset(changing))


def signed(requests: Sequence[CertificateRequest], record: Record) -> tuple[CertificateRequest, ...]:
    """The requests with the issuer that the stage asks for: what API servers show changes after all else."""
    rotation = record.rotations.get(AUTHORITIES["cluster"])
    if rotation is None or rotation.stage is not Stage.USE:
        return tuple(requests)
    return tuple(
        replace(request, issuer=rotation.old) if request.secret.endswith(SHOWN) else request
        for request in requests
    )


def turned(secrets: Mapping[str, SecretFacts], record: Record) -> Mapping[str, SecretFacts]:
    """The secrets once every ring is as the record wants it; of a key yet to be made nothing is known."""
    after = dict(secrets)
    for name, known in secrets.items():
        # How one more key is made does not matter here: nothing of it is known before.
        anything = SecretRequest(name, "")
        if known.keys and (turn := _turn(known, anything, record.rotations.get(name))):
            after[name] = _turned(known, turn[0])
    return after


def _turn(
    known: SecretFacts, request: Request, rotation: Rotation | None
) -> tuple[KeyEffect, Change, tuple[str, ...]] | None:
    name, (first, *others) = known.name, known.keys
    if rotation is None or (rotation.stage is Stage.DISTRUST and first != rotation.old):
        if not others:
            return None
        change = Change("delete", "key", name, "the one that is not in use is trusted no more")
        return DropKeys(name, first), change, TRUSTED
    if rotation.old not in known.keys:
        raise PlanError(
            f"The record says that a key of {name} is being replaced, and that key is not here.",
            evidence=[f"record: {rotation.old}", f"here: {', '.join(known.keys)}"],
            remedy="restore the state folder from one backup; its record and its secrets belong together",
        )
    if rotation.stage is Stage.TRUST:
        if not others:
            return AddKey(request), Change("create", "key", name, "is trusted, and not used yet"), TRUSTED
        if first != rotation.old:
            return (
                UseKey(name, rotation.old),
                Change("update", "key", name, "the old one is used again"),
                USED,
            )
        return None
    if first != rotation.old:
        return None
    if not others:
        raise PlanError(
            f"The new key of {name} is to be used, and it is not here.",
            remedy=f"anykube certs {command(name)} --abort, or restore the state folder from a backup",
        )
    return UseKey(name, others[0]), Change("update", "key", name, "the new one is used"), USED


def _turned(known: SecretFacts, effect: KeyEffect) -> SecretFacts:
    """The secret after the turn. A certificate that comes first is known by its fingerprint only."""
    match effect:
        case AddKey():
            return known
        case DropKeys(_, keep):
            return replace(known, keys=(keep,))
        case UseKey(_, key):
            certificate = known.certificate and replace(known.certificate, fingerprint=key)
            others = tuple(other for other in known.keys if other != key)
            return replace(known, keys=(key, *others), certificate=certificate)


def _standing(record: Record) -> Iterator[str]:
    for name, rotation in record.rotations.items():
        yield f"{name}: {STAGES[rotation.stage]}"


def refuse_while_rotating(record: Record) -> None:
    """PlanError while a key is being replaced: a snapshot that an upgrade goes back to must find its keys."""
    if record.rotations:
        names = ", ".join(record.rotations)
        raise PlanError(
            f"No upgrade begins while keys are being replaced: {names}.",
            remedy=f"first: anykube certs {command(next(iter(record.rotations)))} -c {record.name}",
        )


def rotation_notes(record: Record) -> tuple[str, ...]:
    """What a person should know of a rotation that is under way: apply keeps its stage."""
    lines = [
        f"{name} is being replaced: {STAGES[rotation.stage]}; go on with: anykube certs {command(name)}"
        for name, rotation in record.rotations.items()
    ]
    cluster_ca = record.rotations.get(AUTHORITIES["cluster"])
    if cluster_ca is not None:
        now = cluster_ca.stage in (Stage.SHOW, Stage.DISTRUST)
        lines.append(OLD_KUBECONFIGS if now else OLD_PODS)
    return tuple(lines)


def command(secret: str) -> str:
    """The command that rotates this secret."""
    verbs = {"rotate-ca": AUTHORITIES, "rotate-key": KEYS}
    return next(
        f"{verb} {word}" for verb, words in verbs.items() for word, name in words.items() if name == secret
    )

"""Replacing an authority or a key in stages, so that nobody ever meets a key that is not trusted there. Pure.

The record says which stage is wanted, and the ring of keys (pki/kinds.py) is brought there by whatever run
comes next; certificates, nodes and pods follow as they do for any other change:

  trust   the new key is in every bundle, the old one is used
  use     certificates and signatures come from the new one, the old one is still in every bundle
  (none)  the old one is gone

The workflow rotation.py goes from one stage to the next only when nothing is left to do. To go back is to ask
for the stage before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

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
TRUSTED = ("bundle", "value")
"""Parts of a secret that change with the keys that it has."""
USED = ("certificate", "key", "public", "value")
"""Parts that change with the one in use."""
TOKEN_LIFE = timedelta(minutes=65)
"""Pods get tokens of an hour, and another one long before (kubelet, projected volumes); clocks may differ."""
STAGES = {Stage.TRUST: "the new key is trusted, the old one is used", Stage.USE: "the new key is used"}

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
    after = dict(secrets)
    changing: set[SecretPart] = set()
    for name, request in wanted.items():
        known = secrets.get(name)
        if known is None or not known.keys or not (turn := _turn(known, request, record.rotations.get(name))):
            continue
        effect, change, parts = turn
        effects.append(effect)
        changes.append(change)
        changing.update(SecretPart(name, part) for part in parts)
        after[name] = _turned(known, effect)
    if not effects:
        reason = "; ".join(_standing(record)) or "no key is being replaced"
        return Turning(Step(STEP, Phase.BOOTSTRAP, LOCAL, "keys", reason), after)
    step = Step(STEP, Phase.BOOTSTRAP, LOCAL, "keys", changes[0].reason, tuple(changes), tuple(effects))
    return Turning(step, after, frozenset(changing))


def _turn(
    known: SecretFacts, request: Request, rotation: Rotation | None
) -> tuple[KeyEffect, Change, tuple[str, ...]] | None:
    name, (first, *others) = known.name, known.keys
    if rotation is None:
        if not others:
            return None
        change = Change("delete", "key", name, "is trusted no more")
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
            remedy="go back: anykube certs rotate-... --abort, or restore the state folder from a backup",
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


def rotation_notes(record: Record) -> tuple[str, ...]:
    """What a person should know of a rotation that is under way: apply keeps its stage."""
    return tuple(
        f"{name} is being replaced: {STAGES[rotation.stage]}; go on with: anykube certs {command(name)}"
        for name, rotation in record.rotations.items()
    )


def command(secret: str) -> str:
    """The command that rotates this secret."""
    verbs = {"rotate-ca": AUTHORITIES, "rotate-key": KEYS}
    return next(
        f"{verb} {word}" for verb, words in verbs.items() for word, name in words.items() if name == secret
    )


def further(record: Record, secrets: Mapping[str, SecretFacts], names: Sequence[str]) -> Record:
    """The record that asks for the next stage of these secrets; after the last one nothing is asked for."""
    _refuse_apart(record, names)
    rotations = dict(record.rotations)
    for name in names:
        match rotations.pop(name, None):
            case None:
                rotations[name] = Rotation(Stage.TRUST, _in_use(secrets, name))
            case Rotation(Stage.TRUST, old):
                rotations[name] = Rotation(Stage.USE, old)
    return replace(record, rotations=rotations)


def backwards(record: Record, names: Sequence[str]) -> Record:
    """The record that asks for the stage before. Nothing changes for a secret that is not being replaced."""
    rotations = dict(record.rotations)
    for name in names:
        match rotations.pop(name, None):
            case Rotation(Stage.USE, old):
                rotations[name] = Rotation(Stage.TRUST, old)
    return replace(record, rotations=rotations)


def reached(record: Record, moment: datetime) -> Record:
    """The record that says of every stage that it is complete, since now if not since earlier."""
    stamp = moment.isoformat(timespec="seconds")
    complete = {name: replace(one, reached=one.reached or stamp) for name, one in record.rotations.items()}
    return replace(record, rotations=complete)


def tokens_end(record: Record) -> datetime | None:
    """When the last token signed with the old service-account key ends; None if that key signs, or is gone."""
    rotation = record.rotations.get(KEYS["service-account"])
    if rotation is None or rotation.stage is not Stage.USE or not rotation.reached:
        return None
    return datetime.fromisoformat(rotation.reached) + TOKEN_LIFE


def _in_use(secrets: Mapping[str, SecretFacts], name: str) -> str:
    known = secrets.get(name)
    if known is None or not known.keys:
        raise PlanError(
            f"This cluster has no {name} that could be replaced.",
            remedy="look at what it has: anykube certs",
        )
    return known.keys[0]


def _refuse_apart(record: Record, names: Sequence[str]) -> None:
    """Authorities that are at different stages cannot go on in one step."""
    stages = {record.rotations[name].stage if name in record.rotations else None for name in names}
    if len(stages) > 1:
        begun = [name for name in names if name in record.rotations]
        raise PlanError(
            f"{', '.join(begun)}: being replaced already; the others are not as far.",
            remedy=f"first: anykube certs {command(begun[0])}",
        )

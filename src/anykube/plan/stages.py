"""The stages of replacing keys, in the record: the next one, the one before, and when one is over. Pure.

The workflow rotation.py asks; plan/rotation.py says what a stage means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from anykube.errors import PlanError
from anykube.facts.record import Record, Rotation, Stage
from anykube.facts.secrets import SecretFacts
from anykube.plan.rotation import AUTHORITIES, KEYS, command

TOKEN_LIFE = timedelta(minutes=65)
"""Pods get tokens of an hour, and another one long before (kubelet, projected volumes); clocks may differ."""


def settled(record: Record, moment: datetime) -> Record:
    """The record once nothing is left to do: the last stage is over, the others are complete since now, or
    since earlier."""
    stamp = moment.isoformat(timespec="seconds")
    under_way = {
        name: replace(rotation, reached=rotation.reached or stamp)
        for name, rotation in record.rotations.items()
        if rotation.stage is not Stage.DISTRUST
    }
    return replace(record, rotations=under_way)


def further(record: Record, secrets: Mapping[str, SecretFacts], names: Sequence[str]) -> Record:
    """The record that asks for the next stage of these secrets."""
    _refuse_apart(record, names)
    rotations = dict(record.rotations)
    for name in names:
        match rotations.pop(name, None):
            case None:
                rotations[name] = Rotation(Stage.TRUST, _in_use(secrets, name))
            case Rotation(Stage.TRUST, old):
                rotations[name] = Rotation(Stage.USE, old)
            case Rotation(Stage.USE, old) if name in AUTHORITIES.values():
                rotations[name] = Rotation(Stage.SHOW, old)
            case Rotation(_, old):
                rotations[name] = Rotation(Stage.DISTRUST, old)
    return replace(record, rotations=rotations)


def backwards(record: Record, names: Sequence[str]) -> Record:
    """The record that asks for the stage before. Nothing changes for a secret that is not being replaced."""
    rotations = dict(record.rotations)
    for name in names:
        match rotations.pop(name, None):
            case Rotation(Stage.DISTRUST):
                raise PlanError(
                    f"The old key of {name} is leaving already; there is no way back.",
                    remedy=f"finish it: anykube certs {command(name)}; then replace the new one",
                )
            case Rotation(Stage.SHOW, old):
                rotations[name] = Rotation(Stage.USE, old)
            case Rotation(Stage.USE, old):
                rotations[name] = Rotation(Stage.TRUST, old)
    return replace(record, rotations=rotations)


def tokens_end(record: Record) -> datetime | None:
    """When the last token of the old service-account key ends; None if that key signs, or is gone."""
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

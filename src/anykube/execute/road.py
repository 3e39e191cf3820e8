"""Our hand on a node that changes while others serve: handlers.py calls it for plan/road.py."""

from __future__ import annotations

from dataclasses import replace

from anykube.content.paths import SOFTWARE
from anykube.execute import road_scripts
from anykube.execute.archive import require_plain
from anykube.execute.node import NodeHand, Resolve
from anykube.plan import effects
from anykube.plan.effects import RoadEffect

FILE_SECONDS = 300.0
"""To copy, hash and sync all software of a node on a slow disk."""
RETURN_SECONDS = 900.0
"""Several units that take their time to start."""


async def perform(hand: NodeHand, effect: RoadEffect, resolve: Resolve) -> None:
    """One effect."""
    match effect:
        case effects.StageFiles(_, files):
            staged = (replace(file, path=f"{SOFTWARE}/{resolve(file.source)[1]}") for file in files)
            await hand.put(tuple(staged), (("700", "root:root", SOFTWARE),))
        case effects.PlaceFiles(_, files):
            lines = [f"{resolve(file.source)[1]} {file.mode} {file.owner} {file.path}" for file in files]
            await hand.listed(f"placing {len(files)} files", road_scripts.PLACE, (), lines, FILE_SECONDS)
        case effects.KeepFiles(_, label, paths):
            for path in paths:
                require_plain(path)
            await hand.listed("keeping what is there", road_scripts.KEEP, (label,), paths, FILE_SECONDS)
        case effects.ReturnFiles(_, label, units):
            await hand.script("going back", road_scripts.RETURN, (label, *units), RETURN_SECONDS)
        case effects.ForgetKept(_, label):
            await hand.script("forgetting what was before", road_scripts.FORGET, (label,))

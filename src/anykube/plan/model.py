"""The plan as a value: steps with their reason, also when there is nothing to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from anykube.facts.record import Upgrade
from anykube.plan.effects import Effect

LOCAL = "local"
"""Target of steps that run on this machine."""
CLUSTER = "cluster"
"""Target of steps that go through the Kubernetes API."""


class Phase(StrEnum):
    """The horizon of a plan: facts are observed again after each."""

    RECOVER = "recover"
    """An etcd without a quorum begins anew; only when asked for by name."""
    RENEW = "renew"
    """Certificates that have ended are made anew, so that the other phases can see and reach anything."""
    REPLACE = "replace"
    """Nodes that are to be made anew leave, before the other phases see them as missing."""
    ARTIFACTS = "artifacts"
    PROVISION = "provision"
    BOOTSTRAP = "bootstrap"
    ADDONS = "addons"
    RETIRE = "retire"
    """Nodes that are not in the object any more leave, after their successors serve."""
    BACKUP = "backup"
    """What nodes put into their backups follows what the other phases changed."""
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the plan. action: create, update, delete, start, restart, reload, apply,
    drain, join, promote, leave, move, wait."""

    action: str
    kind: str
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """What is done on one target in one go.

    id: '<target>/<name>', unique in the plan.  needs: ids that must be done before.  needs_any: ids of which
    one must be done before, such as the API servers of which any will do.
    reason: why, also for a step that is skipped.  changes: what a person reads.
    effects: what the engine does; none means skipped.
    disruption: what users of the cluster will notice, '' for nothing.
    undo: what returns the target to what it ran before, if the step fails.
    """

    id: str
    phase: Phase
    target: str
    title: str
    reason: str
    changes: tuple[Change, ...] = ()
    effects: tuple[Effect, ...] = ()
    needs: tuple[str, ...] = ()
    disruption: str = ""
    needs_any: tuple[str, ...] = ()
    undo: tuple[Effect, ...] = ()

    @property
    def skipped(self) -> bool:
        """Whether there is nothing to do."""
        return not self.effects


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why nothing can be planned for a target. The other targets go on; the run ends as partly done."""

    target: str
    brief: str
    remedy: str


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """The steps of a phase. provisional: planned on facts that an earlier phase will change."""

    phase: Phase
    steps: tuple[Step, ...]
    provisional: bool = False
    obstacles: tuple[Obstacle, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def pending(self) -> tuple[Step, ...]:
        """The steps that do something."""
        return tuple(step for step in self.steps if not step.skipped)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that would be done, in order. Two plans are the same if they are equal. `upgrade`: the one that it
    begins or goes on with. `under_way`: what was begun and is to be gone on with, also if nothing is to be
    done."""

    cluster: str
    phases: tuple[PhasePlan, ...]
    upgrade: Upgrade | None = None
    under_way: tuple[str, ...] = ()

    @property
    def pending(self) -> tuple[Step, ...]:
        """The steps that do something, over all phases."""
        return tuple(step for phase in self.phases for step in phase.pending)

    @property
    def obstacles(self) -> tuple[Obstacle, ...]:
        """What stands in the way, over all phases."""
        return tuple(obstacle for phase in self.phases for obstacle in phase.obstacles)

    @property
    def empty(self) -> bool:
        """Whether the world is as the object says."""
        return not self.pending and not self.obstacles

    def phase(self, phase: Phase) -> PhasePlan:
        """The plan of one phase. KeyError if the plan has no such phase."""
        for candidate in self.phases:
            if candidate.phase is phase:
                return candidate
        raise KeyError(phase)

"""Every error that anykube raises on purpose: what happened, the evidence, what to do.

    AnykubeError
    ├── UsageError          the command line was used wrongly                    exit 64
    ├── SpecError           the cluster object has problems, all listed          exit 1
    ├── StateError          record, secrets or journal cannot be read or written exit 1
    ├── LockedError         another run holds the cluster                        exit 4
    ├── FencedError         a newer run has taken over from this one             exit 4
    ├── PlanError           the plan is refused (a rule forbids it)              exit 1
    ├── StalePlanError      the world moved since the plan was saved             exit 1
    ├── TransportError      a host cannot be reached; worth another try          exit 1
    ├── AnswerError         a host's answer makes no sense; not worth a retry    exit 1
    ├── CommandError        a command on a host failed                           exit 1
    ├── WaitError           a condition did not hold before its deadline         exit 1
    ├── ArtifactError       software cannot be had, or is not what it claims     exit 1
    ├── KubeError           the Kubernetes API refuses something                  exit 1
    │   └── KubeBusyError   it cannot do it at the moment; worth another try     exit 1
    ├── BackupError         an archive cannot be made, read or trusted            exit 1
    ├── ProviderError       machines cannot be made, found or removed            exit 1
    ├── DefectError         anykube itself is wrong                              exit 1
    ├── PartialError        some steps failed, the others are done               exit 3
    └── InterruptedRun      stopped on request at a safe point                   exit 130

Sentences are built here or by the caller from typed values; `cli/report.py` prints them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

STDERR_LIMIT = 2000


class AnykubeError(Exception):
    """Base of all deliberate errors.

    brief: one sentence, what happened.  evidence: lines that prove it (command, host, stderr).
    remedy: what to do about it.  code: stable, documented in docs/errors.md.
    """

    code: ClassVar[str] = "ANY-000"
    exit_status: int = 1
    retryable: ClassVar[bool] = False

    def __init__(self, brief: str, *, evidence: Sequence[str] = (), remedy: str | None = None) -> None:
        super().__init__(brief)
        self.brief = brief
        self.evidence = tuple(evidence)
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.brief, *(f"  evidence  {line}" for line in self.evidence)]
        if self.remedy:
            lines.append(f"  do        {self.remedy}")
        return "\n".join(lines)


class UsageError(AnykubeError):
    """The command line was used wrongly."""

    code = "USE-001"
    exit_status = 64


class SpecError(AnykubeError):
    """The cluster object has problems; `problems` holds all of them, in the order of the file."""

    code = "SPEC-000"

    def __init__(self, source: str, problems: Sequence[object]) -> None:
        noun = "problem" if len(problems) == 1 else "problems"
        super().__init__(f"{source} has {len(problems)} {noun}; nothing was touched.")
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([self.brief, *(f"  {problem}" for problem in self.problems)])


class StateError(AnykubeError):
    """The record, the secrets or the journal cannot be read or written."""

    code = "STATE-001"


class LockedError(AnykubeError):
    """Another run holds the lock of this cluster."""

    code = "LOCK-001"
    exit_status = 4


class FencedError(AnykubeError):
    """A newer run has taken over: a node has seen it, or our lock was taken away. Ours changes no more."""

    code = "LOCK-002"
    exit_status = 4


class PlanError(AnykubeError):
    """A rule forbids what was asked for."""

    code = "PLAN-001"


class StalePlanError(AnykubeError):
    """The world moved since the plan was saved."""

    code = "PLAN-002"


class TransportError(AnykubeError):
    """A host cannot be reached, or the connection broke; another try may succeed."""

    code = "NET-001"
    retryable = True


class HostKeyError(AnykubeError):
    """A host does not show the key that is pinned for it. Never retried."""

    code = "NET-002"


class AnswerError(AnykubeError):
    """A host answered, but too much or not in the form that was asked for."""

    code = "NET-003"


class CommandError(AnykubeError):
    """A command on a host ended with a status other than zero."""

    code = "RUN-001"

    def __init__(self, host: str, what: str, status: int, stderr: str, *, remedy: str | None = None) -> None:
        tail = stderr.strip()[-STDERR_LIMIT:]
        super().__init__(
            f"{host}: {what} failed with status {status}.",
            evidence=tail.splitlines() or ("no output on stderr",),
            remedy=remedy,
        )
        self.host = host
        self.status = status
        self.stderr = stderr


class WaitError(AnykubeError):
    """A named condition did not hold before its deadline."""

    code = "WAIT-001"


class ArtifactError(AnykubeError):
    """Software cannot be had from any source, or it is not what it claims to be."""

    code = "ART-001"


class KubeError(AnykubeError):
    """The Kubernetes API answers, and refuses what was asked; the same request would be refused again."""

    code = "KUBE-001"


class KubeBusyError(KubeError):
    """The Kubernetes API answers, and cannot do it at the moment; another try may succeed."""

    code = "KUBE-002"
    retryable = True


class EtcdError(AnykubeError):
    """etcd refuses a change of its members, or its members are not what they should be."""

    code = "ETCD-001"


class QuorumError(EtcdError):
    """A change of members would leave too few healthy voters; nothing was changed."""

    code = "ETCD-002"


class BackupError(AnykubeError):
    """An archive cannot be made, is damaged, or is not what it is taken for."""

    code = "BACKUP-001"


class ProviderError(AnykubeError):
    """Machines cannot be made, found or removed."""

    code = "PROV-001"


class DefectError(AnykubeError):
    """anykube itself is wrong; the evidence is the end of the traceback."""

    code = "BUG-001"

    def __init__(self, brief: str, *, evidence: Sequence[str] = ()) -> None:
        super().__init__(brief, evidence=evidence, remedy="report this, with the run's journal")


class PartialError(AnykubeError):
    """Some steps failed; the others are done. `failures` maps the step's id to its error.

    The exit status is that of a FencedError when there is one: then a newer run has the cluster.
    """

    code = "RUN-002"
    exit_status = 3

    def __init__(self, brief: str, failures: dict[str, AnykubeError], *, remedy: str | None = None) -> None:
        super().__init__(brief, remedy=remedy)
        self.failures = failures
        if any(isinstance(error, FencedError) for error in failures.values()):
            self.exit_status = FencedError.exit_status

    def __str__(self) -> str:
        lines: list[str] = []
        for names in self._groups().values():
            others = f"\n  also      {', '.join(names[1:])}" if len(names) > 1 else ""
            lines.append(f"{names[0]}: {self.failures[names[0]]}{others}\n")
        return "\n".join([*lines, super().__str__()])

    def _groups(self) -> dict[tuple[str, ...], list[str]]:
        """Failures that say the same but for the name of their target are told once."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for name, error in self.failures.items():
            target = name.partition("/")[0]
            same = tuple(line.replace(target, "…") for line in (error.code, error.brief, *error.evidence))
            groups.setdefault(same, []).append(name)
        return groups


class InterruptedRun(AnykubeError):
    """The run was stopped on request; what had begun was finished, nothing is half-written."""

    code = "RUN-130"
    exit_status = 130

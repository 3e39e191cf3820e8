"""What every source of software offers, and the values that pass between service.py and the sources.

A request names one component, because a release archive or a build makes several binaries at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from anykube.errors import ArtifactError
from anykube.spec import catalog

Report = Callable[[str, str, float | None, float | None, str], None]
"""item, message, done, total, unit: the fields of events.StepProgress."""


class TransferError(ArtifactError):
    """A transfer broke or a server is in trouble; another try may succeed."""

    code: ClassVar[str] = "ART-002"
    retryable: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Request:
    """Some artifacts of one component, all binaries."""

    component: str
    version: str
    kubernetes: str
    arch: str
    names: tuple[str, ...]

    @property
    def title(self) -> str:
        """How progress and errors call it: 'etcd 3.7.3'."""
        return f"{self.component} {self.version}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file in the work folder. `version` is what the source really has, which for `distro` may differ."""

    path: Path
    version: str


class Source(Protocol):
    """A place where software comes from."""

    name: str

    async def available(self, request: Request) -> bool:
        """Whether this source can be asked for the request now. Fast (under 2 s); never raises."""

    async def fingerprint(self, request: Request) -> str | None:
        """A digest of everything that decides what `fetch` would bring, found without the network.

        None when this source does not have the request at all.
        """

    async def fetch(self, request: Request, workdir: Path, report: Report) -> Mapping[str, Fetched]:
        """Bring every artifact of the request into `workdir`, or raise ArtifactError."""


def requests(kubernetes: str, arch: str, names: tuple[str, ...]) -> tuple[Request, ...]:
    """One request for each component among `names`, in the catalog's order (the longest builds first)."""
    release = catalog.release(kubernetes)
    wanted = {name: catalog.component_of(name) for name in names}
    return tuple(
        Request(component, release.version_of(component), kubernetes, arch, chosen)
        for component, all_names in catalog.COMPONENTS.items()
        if (chosen := tuple(name for name in all_names if wanted.get(name) == component))
    )

"""Import images once, on this machine, so that a new node finds them imported.

The locked containerd runs privately for a second: own root, own socket, no CRI. Its root folder is the seed
of /var/lib/containerd; a node gets it by hard links, its two databases by copy.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from anykube.errors import ProviderError
from anykube.providers.base import Report
from anykube.providers.lxc.commands import attempt, run

NAMESPACE = "k8s.io"
MARKERS = "anykube-imported"
"""<tar name>.<first 16 hex digits of its sha256>: content/ imports a tar only if its marker is missing."""
PINNED = "io.cri-containerd.pinned=pinned"
"""The kubelet never removes these, because it could not get them back."""
START_SECONDS, IMPORT_SECONDS, STOP_SECONDS = 20.0, 120.0, 10.0
POLL = 0.02
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""A containerd must not outlive an anykube that was killed."""
CONFIG = """version = 3
root = "{root}"
state = "{state}"
disabled_plugins = [
  "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri",
  "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.native",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
"""


async def seed(tools: Path, tars: Mapping[Path, str], target: Path, report: Report) -> None:
    """Import `tars` (path: sha256) into the containerd root `target`, with the binaries in `tools`."""
    async with _containerd(tools, target) as socket:
        ctr = (str(tools / "ctr"), "--address", str(socket), "--namespace", NAMESPACE)
        for done, tar in enumerate(tars):
            report("software", f"importing {tar.stem}", float(done), float(len(tars)), "images")
            await run(*ctr, "images", "import", "--label", PINNED, str(tar), seconds=IMPORT_SECONDS)
    markers = target / MARKERS
    markers.mkdir()
    for tar, digest in tars.items():
        (markers / f"{tar.name}.{digest[:16]}").touch()


async def plant(source: Path, target: Path, keep: Sequence[int]) -> None:
    """Give a node its own image store: contents shared by hard links, databases its own."""
    paths = (f"{source}/.", str(target))
    status, _, _ = await attempt("cp", "--archive", "--link", *paths, keep=keep)
    if status != 0:
        await run("cp", "--archive", "--reflink=auto", *paths, keep=keep, seconds=300)
        return
    await asyncio.to_thread(_own_databases, source, target)


def _own_databases(source: Path, target: Path) -> None:
    for database in source.glob("*/*.db"):
        own = target / database.relative_to(source)
        own.unlink()
        shutil.copy2(database, own)


@asynccontextmanager
async def _containerd(tools: Path, root: Path) -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="anykube-") as folder:
        private = Path(folder)
        socket = private / "socket"
        config = private / "config.toml"
        config.write_text(CONFIG.format(root=root, state=private / "state", socket=socket))
        with (private / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *DIES_WITH_US,
                str(tools / "containerd"),
                *("--config", str(config)),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            await _answering(process, tools, socket, private / "log")
            yield socket
        finally:
            await _stop(process)


async def _answering(process: asyncio.subprocess.Process, tools: Path, socket: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.returncode is None and time.monotonic() < deadline:
        status, _, _ = await attempt(
            str(tools / "ctr"), "--address", str(socket), "--connect-timeout", "1s", "version"
        )
        if status == 0:
            return
        await asyncio.sleep(POLL)
    text = await asyncio.to_thread(log.read_text, errors="replace")
    raise ProviderError(
        "containerd did not start on this machine to import the images.", evidence=text.splitlines()[-8:]
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

"""Takes named programs out of a release archive. Nothing else in it is unpacked."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from anykube.artifacts.inspection import describe_start
from anykube.errors import ArtifactError


def extract(archive: Path, members: Mapping[str, str], folder: Path, *, limit: int) -> dict[str, Path]:
    """Write each wanted member (artifact -> exact member name) into `folder`, under the artifact's name.

    'name' and './name' are the same member: projects change how they call tar.
    """
    wanted = {member.removeprefix("./"): artifact for artifact, member in members.items()}
    found: dict[str, Path] = {}
    try:
        with tarfile.open(archive, "r:gz") as opened:
            for entry in opened:
                artifact = wanted.get(entry.name.removeprefix("./"))
                if artifact is None:
                    continue
                found[artifact] = _take(opened, entry, folder / artifact, limit)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ArtifactError(
            f"{archive.name} is not a whole archive: {error}.", evidence=[describe_start(archive)]
        ) from error
    missing = members.keys() - found.keys()
    if missing:
        raise ArtifactError(f"{archive.name} lacks {', '.join(sorted(members[name] for name in missing))}.")
    return found


def _take(archive: tarfile.TarFile, entry: tarfile.TarInfo, target: Path, limit: int) -> Path:
    if not entry.isreg():
        raise ArtifactError(f"{entry.name} in the archive is not a regular file.")
    if entry.size > limit:
        raise ArtifactError(f"{entry.name} in the archive is larger than {limit} bytes.")
    stream = archive.extractfile(entry)
    if stream is None:
        raise ArtifactError(f"{entry.name} in the archive cannot be read.")
    with stream, target.open("wb") as output:
        shutil.copyfileobj(stream, output)
    return target

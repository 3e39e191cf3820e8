"""Writes src/anykube/spec/removed_apis.py: the APIs that a Kubernetes minor version serves no more.

    .venv/bin/python scripts/removed_apis.py 0.34.4 0.35.4 0.36.3

Arguments: a version of the Go module k8s.io/api for each minor version of the catalog. Taken from the code
that its generator writes (zz_generated.prerelease-lifecycle.go): an API is gone from the version that
APILifecycleRemoved names on, or once its type is not there. Needs Go and a module proxy.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src" / "anykube" / "spec" / "removed_apis.py"
GENERATED = "zz_generated.prerelease-lifecycle.go"
GROUP = re.compile(r'^const GroupName = "([^"]*)"', re.MULTILINE)
TYPE = re.compile(r"func \(in \*(\w+)\) APILifecycleIntroduced\(\)")
REMOVED = re.compile(r"func \(in \*(\w+)\) APILifecycleRemoved\(\) \(major, minor int\) \{\s*return 1, (\d+)")
HEAD = '''"""APIs that a Kubernetes minor version does not serve and the one before did, with kinds.

Written by scripts/removed_apis.py; read by observe/removed_apis.py.
"""

from __future__ import annotations

from collections.abc import Mapping

REMOVED: Mapping[str, Mapping[str, tuple[str, ...]]] = '''

Apis = set[tuple[str, str]]


def main(versions: list[str]) -> None:
    """Compare each version with the one before, the first with none."""
    served = {version: apis(module(version), minor(version)) for version in sorted(versions, key=minor)}
    table = {f"1.{minor(new)}": grouped(served[old] - served[new]) for old, new in pairwise(served)}
    TARGET.write_text(HEAD + repr(table) + "\n")
    subprocess.run([Path(sys.executable).with_name("ruff"), "format", "-q", TARGET], check=True)


def module(version: str) -> Path:
    """The folder of the module, fetched if need be."""
    command = ["go", "mod", "download", "-json", f"k8s.io/api@v{version}"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/")
    return Path(json.loads(answer.stdout)["Dir"])


def apis(folder: Path, now: int) -> Apis:
    """What is served by default or can be turned on: ('group/version', kind)."""
    found: Apis = set()
    for file in folder.rglob(GENERATED):
        group = GROUP.search((file.parent / "register.go").read_text())
        if group is None:
            raise SystemExit(f"{file.parent}: no name of a group")
        text = file.read_text()
        removed = {kind: int(number) for kind, number in REMOVED.findall(text)}
        name = f"{group.group(1)}/{file.parent.name}"
        found |= {(name, kind) for kind in TYPE.findall(text) if removed.get(kind, now + 1) > now}
    return found


def minor(version: str) -> int:
    """0.36.3 is of Kubernetes 1.36."""
    return int(version.split(".")[1])


def grouped(found: Apis) -> dict[str, tuple[str, ...]]:
    """By group and version; lists go with what they list."""
    names = sorted({name for name, _ in found})
    kinds = {name: sorted(kind for other, kind in found if other == name) for name in names}
    return {
        name: tuple(one for one in own if one.removesuffix("List") not in {*own} - {one})
        for name, own in kinds.items()
    }


if __name__ == "__main__":
    main(sys.argv[1:])

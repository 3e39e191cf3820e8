"""Every flag that units use exists in the real programs, of all versions that this machine has built."""

from __future__ import annotations

import mmap
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from anykube.artifacts.store import Store
from anykube.content.context import NodeContext
from anykube.content.model import Text
from anykube.content.node import components

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


@pytest.fixture(scope="session")
def programs() -> Mapping[str, list[Path]]:
    """The stored binaries of each program. The store knows contents only, so their own names are read from
    the Go build information that they hold."""
    store = Store()
    found: dict[str, list[Path]] = {name: [] for name in PROGRAMS}
    for path in sorted(map(store.path, store.contents())):
        name = program_in(path)
        if name in found:
            found[name].append(path)
    return found


def program_in(path: Path) -> str:
    if not path.stat().st_mode & 0o100:
        return ""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        main = re.search(
            rb"path\t(?:k8s\.io/kubernetes/cmd/|go\.etcd\.io/)([a-z/-]+)[^\n]*\n(?:mod|dep)\t", content
        )
        name = main.group(1).decode() if main else ""
    return "etcd" if name in ("etcd/v", "etcd/server/v") else name


@pytest.mark.parametrize("name", PROGRAMS)
def test_flags_exist(
    programs: Mapping[str, list[Path]], contexts: Mapping[str, NodeContext], name: str
) -> None:
    if not programs[name]:
        pytest.skip(f"no {name} in the artifact store yet: anykube artifacts get")
    used = used_flags(contexts, name)
    assert used
    for path in programs[name]:
        known = known_flags(path)
        assert used <= known, f"{name} in {path} lacks {sorted(used - known)}"


def used_flags(contexts: Mapping[str, NodeContext], program: str) -> set[str]:
    units = [
        file.source.value.partition("\nExecStart=")[2]
        for context in contexts.values()
        for part in components(context)
        for file in part.files
        if file.path.endswith(f"/{program}.service") and isinstance(file.source, Text)
    ]
    return {flag for unit in units for flag in re.findall(r"^    --([a-z-]+)=", unit, re.MULTILINE)}


def known_flags(program: Path) -> set[str]:
    answer = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60)
    return set(re.findall(r"^\s+(?:-\w, )?--([a-z-]+)", answer.stdout + answer.stderr, re.MULTILINE))

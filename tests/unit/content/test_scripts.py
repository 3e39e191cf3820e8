"""The scripts on nodes, run by a real shell, with their folders moved into a temporary one."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from anykube.content.context import NodeContext
from anykube.content.model import Text
from anykube.content.node import components

SHELLS = [shell for shell in ("/bin/dash", "/bin/bash", "/bin/busybox") if Path(shell).exists()]


class Node:
    """A folder that stands for the root of a node."""

    def __init__(self, root: Path, context: NodeContext, shell: str) -> None:
        self.root = root
        self.shell = [shell, "sh"] if shell.endswith("busybox") else [shell]
        self.files = {
            file.path: file.source.value
            for part in components(context)
            for file in part.files
            if isinstance(file.source, Text)
        }
        for folder in ("run", "var/lib/anykube/stamps", "var/lib/containerd", "etc", "proc/sys"):
            (root / folder).mkdir(parents=True)

    def place(self, path: str, content: str, *, executable: bool = False) -> Path:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(0o755 if executable else 0o600)
        return target

    def run(self, path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        text = self.files[path]
        for folder in ("/run/", "/var/", "/etc/", "/proc/sys", "/usr/local/bin/"):
            text = text.replace(folder, f"{self.root}{folder}")
        script = self.place("script", text)
        return subprocess.run(
            [*self.shell, str(script), *arguments], capture_output=True, text=True, timeout=30
        )

    def listed(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.root / folder).iterdir())

    def recorded(self, unit: str) -> dict[str, str]:
        lines = (self.root / "run/anykube/inputs" / unit).read_text().splitlines()
        return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}

    def stamp(self, path: Path, digest: str, *, size: int | None = None) -> None:
        """As facts/probe_script.py writes it."""
        shown = subprocess.run(
            ["stat", "-c", "%s %y %z", path],
            capture_output=True,
            text=True,
            check=True,
            env={"TZ": "UTC", "PATH": os.environ["PATH"]},
        ).stdout.split()
        identity = f"{size or shown[0]}:{shown[1]}T{shown[2]}:{shown[4]}T{shown[5]}"
        name = str(path).replace("/", "%")
        self.place(f"var/lib/anykube/stamps/{name}", f"{identity} {digest}\n")


@pytest.fixture(params=SHELLS)
def node(request: pytest.FixtureRequest, tmp_path: Path, contexts: Mapping[str, NodeContext]) -> Node:
    return Node(tmp_path, contexts["single-in-container"], request.param)


RECORD = "/usr/local/lib/anykube/record-inputs"
IMPORT = "/usr/local/lib/anykube/import-images"
PREPARE = "/usr/local/lib/anykube/prepare-system"


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def test_inputs_are_recorded_with_their_hashes(node: Node) -> None:
    one, two = node.place("one", "1"), node.place("two", "2")
    result = node.run(RECORD, "a.service", str(one), str(two))
    assert (result.returncode, result.stderr) == (0, "")
    assert node.recorded("a.service") == {str(one): digest("1"), str(two): digest("2")}
    assert node.listed("run/anykube/inputs") == ["a.service"]


def test_a_large_file_is_not_read_again(node: Node) -> None:
    large, small = node.place("usr/bin/large", "L"), node.place("small", "s")
    node.stamp(large, "f" * 64)
    node.run(RECORD, "a.service", str(large), str(small))
    assert node.recorded("a.service") == {str(large): "f" * 64, str(small): digest("s")}


def test_a_stamp_of_another_file_is_not_believed(node: Node) -> None:
    large = node.place("usr/bin/large", "L")
    node.stamp(large, "f" * 64, size=99)
    node.run(RECORD, "a.service", str(large))
    assert node.recorded("a.service") == {str(large): digest("L")}


@pytest.mark.parametrize("content", ["", "\n", "garbage", "1:2:3 short\n"])
def test_a_damaged_stamp_is_not_believed(node: Node, content: str) -> None:
    large = node.place("large", "L")
    node.place("var/lib/anykube/stamps/" + str(large).replace("/", "%"), content)
    node.run(RECORD, "a.service", str(large))
    assert node.recorded("a.service") == {str(large): digest("L")}


def test_a_stamp_without_a_whole_hash_is_not_believed(node: Node) -> None:
    large = node.place("large", "L")
    node.stamp(large, "f" * 63)
    node.run(RECORD, "a.service", str(large))
    assert node.recorded("a.service") == {str(large): digest("L")}


def test_a_missing_input_is_left_out(node: Node) -> None:
    """So that the planner sees that the unit does not run with it."""
    one = node.place("one", "1")
    assert node.run(RECORD, "a.service", str(one), "/nowhere").returncode == 0
    assert node.recorded("a.service") == {str(one): digest("1")}


def test_an_older_record_is_replaced(node: Node) -> None:
    one = node.place("one", "1")
    node.run(RECORD, "a.service", str(one))
    one.write_text("changed")
    node.run(RECORD, "a.service", str(one))
    assert node.recorded("a.service") == {str(one): digest("changed")}


CTR = """#!/bin/sh
echo "$*" >>{log}
case "$*" in *broken*) exit 1 ;; esac
"""


def test_each_image_is_imported_once_and_pinned(node: Node) -> None:
    log = node.root / "log"
    node.place("/usr/local/bin/ctr", CTR.format(log=log), executable=True)
    tars = [node.place(f"images/{name}.tar", name) for name in ("pause", "flannel")]
    assert node.run(IMPORT, *map(str, tars)).returncode == 0
    expected = [
        f"-n k8s.io images import --label io.cri-containerd.pinned=pinned {tar}" for tar in sorted(tars)
    ]
    assert sorted(log.read_text().splitlines()) == expected
    log.unlink()
    assert node.run(IMPORT, *map(str, tars)).returncode == 0
    assert not log.exists()


def test_a_changed_image_is_imported_again(node: Node) -> None:
    log = node.root / "log"
    node.place("/usr/local/bin/ctr", CTR.format(log=log), executable=True)
    tar = node.place("images/pause.tar", "old")
    node.run(IMPORT, str(tar))
    tar.write_text("new")
    node.run(IMPORT, str(tar))
    assert len(log.read_text().splitlines()) == 2


def test_a_failed_import_is_reported_and_tried_again(node: Node) -> None:
    log = node.root / "log"
    node.place("/usr/local/bin/ctr", CTR.format(log=log), executable=True)
    good, bad = node.place("images/good.tar", "g"), node.place("images/broken.tar", "b")
    assert node.run(IMPORT, str(bad), str(good)).returncode == 1
    assert node.run(IMPORT, str(bad), str(good)).returncode == 1
    assert len(log.read_text().splitlines()) == 3


def test_an_image_whose_file_is_not_wanted_any_more_goes(node: Node) -> None:
    log = node.root / "log"
    listed = 'case "$*" in *" ls "*) echo registry.k8s.io/metrics-server/metrics-server:v1 ;; esac\n'
    node.place("/usr/local/bin/ctr", CTR.format(log=log) + listed, executable=True)
    kept, gone = node.place("images/pause.tar", "p"), node.place("images/metrics-server.tar", "m")
    node.run(IMPORT, str(kept), str(gone))
    log.unlink()
    for _ in range(2):
        assert node.run(IMPORT, str(kept)).returncode == 0
    assert log.read_text().splitlines() == [
        '-n k8s.io images ls -q name~="/metrics-server:",labels."io.cri-containerd.pinned"==pinned',
        "-n k8s.io images rm registry.k8s.io/metrics-server/metrics-server:v1",
    ]
    assert [name.partition(".")[0] for name in node.listed("var/lib/containerd/anykube-imported")] == [
        "pause"
    ]


def test_the_hash_of_an_image_comes_from_the_record_of_the_unit(node: Node) -> None:
    node.place("/usr/local/bin/ctr", CTR.format(log=node.root / "log"), executable=True)
    tar = node.place("images/pause.tar", "content")
    node.place("run/anykube/inputs/anykube-images.service", f"{'e' * 64}  {tar}\n")
    node.run(IMPORT, str(tar))
    assert node.listed("var/lib/containerd/anykube-imported") == [f"pause.tar.{'e' * 16}"]


def test_sysctls_are_set_where_they_exist(node: Node) -> None:
    node.place("/etc/sysctl.d/90-anykube.conf", "# comment\n\n" + node.files["/etc/sysctl.d/90-anykube.conf"])
    forward = node.place("/proc/sys/net/ipv4/ip_forward", "0\n")
    result = node.run(PREPARE)
    assert (result.returncode, result.stderr) == (0, "")
    assert forward.read_text() == "1\n"
    assert not (node.root / "proc/sys/net/bridge").exists()


@pytest.mark.parametrize(
    ("servers", "target"),
    [("127.0.0.53", "/run/systemd/resolve/resolv.conf"), ("192.0.2.1", "/etc/resolv.conf")],
)
def test_pods_get_the_real_name_servers(node: Node, servers: str, target: str) -> None:
    node.place("/etc/sysctl.d/90-anykube.conf", "")
    node.place("/etc/resolv.conf", f"# stub\nnameserver {servers}\n")
    node.place("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.2\n")
    node.run(PREPARE)
    node.run(PREPARE)
    assert str((node.root / "run/anykube/resolv.conf").readlink()) == f"{node.root}{target}"

"""The script that publishes the CNI configuration, run by a real shell on a folder tree."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from anykube.addons import flannel

BUSYBOX = shutil.which("busybox")


def script(root: Path) -> str:
    """The hook, with its paths and its tools moved under `root`."""
    text = flannel.PUBLISH
    for path in ("/run/flannel", "/etc/kube-flannel", "/etc/cni/net.d"):
        (root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        text = text.replace(path, f"{root}{path}")
    return text.replace("/bin/busybox ", f"{BUSYBOX} " if BUSYBOX else "")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc/kube-flannel").mkdir(parents=True)
    (tmp_path / "etc/kube-flannel/cni-conf.json").write_text('{"name": "cbr0"}\n')
    return tmp_path


def test_it_publishes_only_after_the_network_stands(root: Path) -> None:
    published = root / "etc/cni/net.d/10-flannel.conflist"
    process = subprocess.Popen(["sh", "-c", script(root)])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    assert not published.exists()
    (root / "run/flannel/subnet.env").write_text("FLANNEL_SUBNET=10.244.0.1/24\n")
    assert process.wait(5) == 0
    assert published.read_text() == '{"name": "cbr0"}\n'
    assert stat.S_IMODE(published.stat().st_mode) == 0o600
    assert [path.name for path in published.parent.iterdir()] == [published.name]


def test_it_replaces_an_older_configuration(root: Path) -> None:
    command = ["sh", "-c", script(root)]
    (root / "run/flannel/subnet.env").write_text("FLANNEL_SUBNET=10.244.0.1/24\n")
    published = root / "etc/cni/net.d/10-flannel.conflist"
    published.write_text("old")
    assert subprocess.run(command, check=True, timeout=5).returncode == 0
    assert published.read_text() == '{"name": "cbr0"}\n'


def test_it_fails_when_the_configuration_cannot_be_read(root: Path) -> None:
    command = ["sh", "-c", script(root)]
    (root / "run/flannel/subnet.env").write_text("x")
    (root / "etc/kube-flannel/cni-conf.json").unlink()
    (root / "etc/cni/net.d/.10-flannel.draft").write_text("the rest of an earlier try")
    assert subprocess.run(command, timeout=5, stderr=subprocess.DEVNULL).returncode != 0
    assert not (root / "etc/cni/net.d/10-flannel.conflist").exists()


def test_it_gives_up_in_the_end(root: Path) -> None:
    """The kubelet then starts the container anew, and says so, instead of waiting for ever."""
    text = script(root).replace("600", "3")
    assert "-le 3 " in text
    assert subprocess.run(["sh", "-c", text], timeout=5).returncode == 1


def test_flanneld_finds_an_iptables_that_does_nothing(tmp_path: Path) -> None:
    program = tmp_path / "iptables"
    program.write_text(flannel.NO_IPTABLES.replace("/bin/busybox sh", "/bin/sh"))
    program.chmod(flannel.EXECUTABLE)
    result = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=True)
    assert result.stdout.startswith("iptables v1.8.")

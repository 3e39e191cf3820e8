"""A stranger follows docs/tutorial.md, command by command, as it stands there.

The blocks to run are marked in the document: `<!-- e2e: expects "text" ... -->`. They share a folder, a state
folder and the environment that earlier blocks exported.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.documents import REPOSITORY, Block, blocks

from anykube.artifacts.store import Store
from anykube.paths import cache_dir
from anykube.state.lockfile import LockFile

pytestmark = pytest.mark.e2e

SECONDS = 1200.0
"""For one block: the first to run may have to build all software."""
TUTORIAL = REPOSITORY / "docs/tutorial.md"
STEPS = [block for block in blocks(TUTORIAL) if block.note.startswith("e2e")]
MACHINES = Path("/var/lib/anykube/lxc/tutorial")


class Shell:
    """One person's terminal: the same folder and variables from block to block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self._variables = folder / "variables"
        programs = Path(sys.executable).parent
        self._environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{programs}:{os.environ['PATH']}",
            "ANYKUBE_STATE_DIR": str(self.state),
            "KUBECACHEDIR": str(folder / "kube"),
            "NO_COLOR": "1",
        }

    def run(self, script: str) -> str:
        """What the script printed, on both channels; its failure fails the test."""
        self._offer_kubectl()
        keep = f'{script}\nexport -p > "{self._variables}"\n'
        known = f'. "{self._variables}"\n' if self._variables.exists() else ""
        done = subprocess.run(
            ["sh", "-e", "-c", known + keep],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def _offer_kubectl(self) -> None:
        """A person brings kubectl; here it is the one of the cluster's own software."""
        lock = LockFile(self.state / "tutorial").load()
        program = self.folder / "bin/kubectl"
        if lock is None or program.exists():
            return
        program.parent.mkdir()
        program.write_bytes(
            Store(cache_dir() / "artifacts").path(lock.artifacts["kubectl"].sha256).read_bytes()
        )
        program.chmod(0o755)


@pytest.fixture(scope="module")
def shell(alone: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A terminal in an empty folder; whatever the tutorial leaves is removed."""
    made = Shell(tmp_path_factory.mktemp("tutorial"))
    remove = "anykube init --yes --name tutorial | anykube destroy -f - --yes"
    made.run(remove)
    yield made
    made.run(remove)


def test_the_tutorial(shell: Shell) -> None:
    assert len(STEPS) > 5
    for block in STEPS:
        output = shell.run(block.text)
        assert missing(block, output) == [], f"{block}\n{output}"
    assert not MACHINES.exists()


def missing(block: Block, output: str) -> list[str]:
    """What the document promises and the output lacks."""
    return [text for text in re.findall(r'"([^"]+)"', block.note) if text not in output]

"""Runs the command line: in this process, as a program, or as a program on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

from anykube.cli.main import run

ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
ROWS, COLUMNS = 50, 200
PROGRAM = Path(sys.prefix) / "bin" / "anykube"


@dataclass(frozen=True)
class Answer:
    """How a command line ended."""

    status: int
    out: str
    err: str


def anykube(*arguments: str, stdin: bytes = b"") -> Answer:
    """Run in this process."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(list(arguments))
    finally:
        sys.stdin = before
    return Answer(status, out.getvalue(), err.getvalue())


def program(*arguments: str, stdin: str = "") -> Answer:
    """Run the installed program."""
    result = subprocess.run(
        [PROGRAM, *arguments], input=stdin, capture_output=True, text=True, timeout=30, check=False
    )
    return Answer(result.returncode, result.stdout, result.stderr)


class Terminal:
    """The installed program on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.text = ""
        self._seen = 0
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.environ["TERM"] = "xterm"
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.execv(PROGRAM, [str(PROGRAM), *arguments])

    def expect(self, pattern: str, seconds: float = 20) -> str:
        """Wait until the pattern appears after what was expected before."""
        deadline = time.monotonic() + seconds
        while not (found := re.compile(pattern).search(self.text, self._seen)):
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{pattern!r} did not come; the terminal shows:\n{self.text[-2000:]}")
        self._seen = found.end()
        return found[0]

    def _read(self, seconds: float) -> bool:
        if seconds <= 0 or not select.select([self._fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        # The program asks where the cursor is; a terminal answers.
        for _ in range(data.count(b"\x1b[6n")):
            os.write(self._fd, b"\x1b[1;1R")
        self.text += data.decode("utf-8", "replace")
        return bool(data)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def status(self) -> int:
        """Wait for the end; one that does not come is made."""
        while self._read(20):
            pass
        with contextlib.suppress(ProcessLookupError):
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and not os.waitid(os.P_PID, self._pid, ENDED):
                time.sleep(0.02)
            os.kill(self._pid, signal.SIGKILL)
        _, code = os.waitpid(self._pid, 0)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(code)

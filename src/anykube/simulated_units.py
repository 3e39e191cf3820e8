"""Units of a simulated host (testing.py) that really run: what systemd does for them, outside the tree.

The stand-in for systemctl (simulated_tools.py) leaves a file `/run/simulated/jobs/<id>.<verb>.<unit>` and
waits for its `.done`. A unit runs with its own flags, environment files, user and commands before and after;
a start ends when the program says that it serves (sd_notify), and one that dies is started again, as
Restart=always says. Reads units as content/unit.py writes them, not all of systemd's syntax.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from anykube import simulated_launch

RUN = "run/simulated"
POLL_SECONDS = 0.02
START_SECONDS = 30.0
"""Instead of the unit's TimeoutStartSec, which is made for slow machines."""
STOP_SECONDS = 10.0
RESTART_SECONDS = 0.5
LAUNCHER = (sys.executable, "-I", "-S", simulated_launch.__file__)
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Supervisor:
    """The systemd of one host, for the units that really run."""

    def __init__(self, root: Path, prefix: Sequence[str], namespace: str) -> None:
        self._root = root
        self._run = root / RUN
        self._prefix = tuple(prefix)
        self._namespace = namespace
        self._units: dict[str, _Unit] = {}
        self._listener: asyncio.Task[None] | None = None
        self._jobs: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Take jobs, and run what the tree says was running."""
        if self._listener is not None:
            return
        self._listener = asyncio.ensure_future(self._listen())
        for state in ("active", "activating"):
            for mark in sorted((self._run / state).glob("*")):
                if self._is_real(mark.name):
                    self._unit(mark.name).begin()

    async def power_off(self) -> None:
        """Everything is killed at once; what the tree says was running stays noted there."""
        tasks = [*self._jobs, *([self._listener] if self._listener else [])]
        self._listener = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(unit.kill() for unit in self._units.values()))
        self._units.clear()

    def pid(self, unit: str) -> int | None:
        """The main process of a unit, if it has one."""
        found = self._units.get(unit)
        return found.pid if found else None

    def serves(self, unit: str) -> bool:
        """Whether a unit has said that it serves, and still runs."""
        return self.pid(unit) is not None and (self._run / "active" / unit).exists()

    def signal(self, unit: str, number: int) -> bool:
        """Send a signal to a unit's main process; False if it has none."""
        pid = self.pid(unit)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    def _is_real(self, unit: str) -> bool:
        return (self._root / "etc/simulated/real" / unit).exists()

    def _unit(self, name: str) -> _Unit:
        if name not in self._units:
            self._units[name] = _Unit(name, self._root, self._prefix, self._namespace)
        return self._units[name]

    async def _listen(self) -> None:
        jobs = self._run / "jobs"
        while True:
            if jobs.is_dir():
                for name in sorted(os.listdir(jobs)):  # noqa: PTH208  every few milliseconds
                    if not name.endswith((".taken", ".done")):
                        (jobs / name).rename(jobs / f"{name}.taken")
                        task = asyncio.ensure_future(self._do(jobs / name))
                        self._jobs.add(task)
                        task.add_done_callback(self._jobs.discard)
            await asyncio.sleep(POLL_SECONDS)

    async def _do(self, job: Path) -> None:
        _, verb, unit = job.name.split(".", 2)
        answer = ""
        match verb:
            case "start":
                answer = await self._unit(unit).start()
            case "stop":
                await self._unit(unit).stop()
            case "reload":
                self.signal(unit, signal.SIGHUP)
        taken = job.parent / f"{job.name}.taken"
        taken.write_text(f"{answer}\n")
        taken.rename(job.parent / f"{job.name}.done")


class _Unit:
    """One unit: its settings as loaded, its process, its marks in /run."""

    def __init__(self, name: str, root: Path, prefix: Sequence[str], namespace: str) -> None:
        self._name = name
        self._root = root
        self._run = root / RUN
        self._prefix = prefix
        self._namespace = namespace
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._outcome: asyncio.Future[str] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    def begin(self) -> None:
        """Run from now on."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._keep_running())

    async def start(self) -> str:
        """Run from now on; '' once it serves, else why the first attempt failed."""
        if self._outcome is None or self._outcome.done():
            self._outcome = asyncio.get_running_loop().create_future()
        self.begin()
        return await asyncio.shield(self._outcome)

    async def stop(self) -> None:
        """End it, with force if it does not listen."""
        await self._end(signal.SIGTERM)
        self._mark("")

    async def kill(self) -> None:
        """Power is gone."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: int) -> None:
        task, self._task = self._task, None
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        process, self._process = self._process, None
        if process and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._tell("it was stopped.")

    async def _keep_running(self) -> None:
        while True:
            self._mark("activating")
            why = await self._serving()
            if not why:
                self._mark("active")
                self._tell("")
                await self._ended()
            else:
                self._note(why)
            self._mark("activating")
            self._tell(why)
            await asyncio.sleep(RESTART_SECONDS)

    async def _serving(self) -> str:
        """Start it; '' when it serves, else why not."""
        if (self._root / "etc/simulated/fail" / self._name).exists():
            return "the simulation was told so."
        settings = _settings((self._run / "loaded" / self._name).read_text())
        environment = {"PATH": PATH}
        for file in settings.get("EnvironmentFile", ()):
            path = self._root / file.lstrip("-/")
            if path.exists():
                environment |= _environment(path.read_text())
            elif not file.startswith("-"):
                return f"its environment file {file} is not there."
        for line in settings.get("ExecStartPre", ()):
            if not await self._command(line):
                return "a command before it failed."
        if why := await self._main_process(settings, environment):
            return why
        for line in settings.get("ExecStartPost", ()):
            if not await self._command(line):
                return "a command after it failed."
        return ""

    async def _main_process(self, settings: Mapping[str, Sequence[str]], environment: dict[str, str]) -> str:
        user, group = self._ids(settings.get("User", ("root",))[0])
        command = _words(settings["ExecStart"][0])
        if not (self._root / command[0].lstrip("/")).exists():
            return f"its program {command[0]} is not there (203/EXEC)."
        with _listening(self._run, f"notify-{self._name}") as ready:
            if settings.get("Type", ("exec",))[0] == "notify":
                environment["NOTIFY_SOCKET"] = f"/{RUN}/notify-{self._name}"
            with self._log().open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(*LAUNCHER, self._namespace, str(self._root), user, group, *command),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            if "NOTIFY_SOCKET" not in environment:
                return ""
            return await self._until_ready(ready)

    async def _until_ready(self, ready: socket.socket) -> str:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        while loop.time() < deadline:
            with contextlib.suppress(BlockingIOError):
                if b"READY=1" in ready.recv(4096):
                    return ""
            if self._process is None or self._process.returncode is not None:
                return "the control process exited with error code."
            await asyncio.sleep(POLL_SECONDS)
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        return "a timeout was exceeded."

    async def _ended(self) -> None:
        if self._process:
            await self._process.wait()
            self._note(f"main process exited, status {self._process.returncode}")

    async def _command(self, line: str) -> bool:
        """A command before or after the main one. '-' means that it may fail; '+' is as root, which it is."""
        words = _words(line.lstrip("-+!@:"))
        with self._log().open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(*self._prefix, "chroot", str(self._root), *words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": PATH},
            )
            return await process.wait() == 0 or line.startswith("-")

    def _ids(self, user: str) -> tuple[str, str]:
        for line in (self._root / "etc/passwd").read_text().splitlines():
            fields = line.split(":")
            if fields[0] == user:
                return fields[2], fields[3]
        raise ValueError(f"there is no user {user}")

    def _mark(self, state: str) -> None:
        for name in ("active", "activating"):
            folder = self._run / name
            folder.mkdir(parents=True, exist_ok=True)
            if name == state:
                (folder / self._name).touch()
            else:
                (folder / self._name).unlink(missing_ok=True)

    def _tell(self, outcome: str) -> None:
        if self._outcome and not self._outcome.done():
            self._outcome.set_result(outcome)

    def _note(self, text: str) -> None:
        with self._log().open("a") as log:
            log.write(f"systemd: {self._name}: {text}\n")

    def _log(self) -> Path:
        return self._root / "var/log/simulated" / self._name


@contextlib.contextmanager
def _listening(folder: Path, name: str) -> Iterator[socket.socket]:
    """A datagram socket in a folder of the tree, which any user of the host may send to."""
    (folder / name).unlink(missing_ok=True)
    # The tree was perhaps made under a strict umask, and the program is not root.
    for part in (folder.parent, folder):
        part.chmod(0o755)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    # Paths of sockets are short: this one is given relative to an open folder.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        listening.setblocking(False)
        listening.bind(f"/proc/self/fd/{descriptor}/{name}")
        (folder / name).chmod(0o777)
        yield listening
    finally:
        os.close(descriptor)
        listening.close()


def _settings(text: str) -> Mapping[str, Sequence[str]]:
    """Every value of every key of a unit, sections aside."""
    found: dict[str, list[str]] = {}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("["):
            found.setdefault(key.strip(), []).append(value.strip())
    return found


def _words(line: str) -> list[str]:
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]


def _environment(text: str) -> dict[str, str]:
    pairs = (shlex.split(line) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return dict(word.split("=", 1) for pair in pairs for word in pair)

"""A cluster on simulated hosts: hosts that serve in a thread, anykube in processes that may be killed.

site.apply().check()
site.apply(kill_at=("StepStarted", "node-1/etcd"))
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.simulated.trees import tree
from tests.simulated.zygote import Job

from anykube.facts.artifacts import ArtifactLock, LockedArtifact
from anykube.plan.artifacts import needed
from anykube.spec.load import load
from anykube.state.lockfile import LockFile
from anykube.testing import Faults, SimulatedHost

NAME = "demo"
VERSION = "1.36.3"
ROOT = Path(__file__).parents[2]
LARGE = 1_100_000
"""Bytes of an artifact whose hash is kept as a stamp."""
RUN_SECONDS = 120

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: exit status (negative for a signal), and what it said before."""

    status: int
    error: str = ""
    events: tuple[tuple[str, str], ...] = ()
    plan: tuple[str, ...] = ()
    pending: Mapping[str, Sequence[str]] = field(default_factory=dict)
    obstacles: Mapping[str, str] = field(default_factory=dict)
    empty: bool = False

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def check(self, status: int = 0) -> Ended:
        assert self.status == status, f"status {self.status}\n{self.error}\n" + "\n".join(self.plan)
        return self

    @property
    def changes(self) -> list[str]:
        """Every change of the plan, with its step's target."""
        return [f"{step.split('/')[0]} {line}" for step, lines in self.pending.items() for line in lines]


@dataclass(frozen=True, slots=True)
class DryRun:
    """A run that nothing disturbed: its events, and how many commands each host got."""

    events: tuple[tuple[str, str], ...]
    commands: Mapping[str, int]


class Zygote:
    """The process that the runs are forked from."""

    def __init__(self, log: Path, prefix: Sequence[str] = ()) -> None:
        self._log = log.open("a")
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.simulated.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
        )
        self.running: int | None = None
        """The id of the process that runs now, for whoever wants to kill it."""

    def run(self, job: Job) -> Ended:
        assert self._process.stdin and self._process.stdout
        answer = Path(job.answer)
        answer.unlink(missing_ok=True)
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        self.running = json.loads(self._process.stdout.readline())["pid"]
        line = self._process.stdout.readline()
        self.running = None
        status = json.loads(line)["status"]
        if not answer.exists():
            return Ended(status)
        said = json.loads(answer.read_text())
        return Ended(
            status,
            said["error"],
            tuple((kind, step) for kind, step in said["events"]),
            tuple(said["plan"]),
            said["pending"],
            said.get("obstacles", {}),
            said.get("empty", False),
        )

    def kill_running(self) -> None:
        """SIGKILL to the run, if it is still there."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.running, signal.SIGKILL)

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=RUN_SECONDS)
        self._process.stdout.close()
        self._log.close()


class Site:
    """Hosts node-1 (control plane) to node-<count>, and a state folder. Not for two threads."""

    control_plane = "node-1"

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.cache = folder / "cache"
        self.commands = 0
        self.bring_up: DryRun | None = None
        self.fresh_trees: dict[str, dict[str, tuple[str, str]]] = {}
        """What trees.tree says of each host as it was before anykube."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.hosts = {name: self.new_host(name) for name in (f"node-{n}" for n in range(1, count + 1))}
        for host in self.hosts.values():
            self.do(host.start())
            host.path("/etc/simulated/addresses").write_text(f"{address_of(host.name)}\n")
            host.on_command = self._commanded
        (folder / "key").write_bytes(self._one_key())
        self.text = self.object_text()
        self._seed_store()
        self.zygote = self.new_zygote()
        self._kill: tuple[int, float] | None = None
        self._runs = 0
        """Even while no process runs, odd while one does."""

    def new_host(self, name: str) -> SimulatedHost:
        return SimulatedHost(name, self.folder / "hosts" / name)

    def new_zygote(self) -> Zygote:
        return Zygote(self.folder / "zygote.log")

    # -- running anykube

    def apply(self, **options: Any) -> Ended:
        return self.run("apply", **options)

    def plan(self, **options: Any) -> Ended:
        return self.run("plan", **options)

    def replace(self, node: str, **options: Any) -> Ended:
        return self.run("replace", node=node, **options)

    def rotate(self, *secrets: str, goal: str = "finish", **options: Any) -> Ended:
        return self.run("rotate", secrets=secrets, goal=goal, **options)

    def destroy(self, **options: Any) -> Ended:
        return self.run("destroy", **options)

    def run(
        self,
        command: str,
        *,
        kill_at: tuple[str, str] | None = None,
        kill_after: tuple[int, float] | None = None,
        state: Path | None = None,
        text: str = "",
        probe_seconds: float = 30,
        node: str = "",
        archive: Path | None = None,
        identity: Path | None = None,
        secrets: tuple[str, ...] = (),
        goal: str = "",
    ) -> Ended:
        """Run a command in a process. kill_after: SIGKILL so many seconds after the n-th command of this run
        has reached a host."""
        self.commands, self._kill = 0, kill_after
        job = Job(
            command,
            text or self.text,
            str(state or self.state),
            str(self.cache),
            {name: host.endpoint.port for name, host in self.hosts.items()},
            {name: str(host.root) for name, host in self.hosts.items()},
            self.control_plane,
            str(self.folder / "answer.json"),
            kill_at,
            probe_seconds,
            node,
            str(archive or ""),
            str(identity or ""),
            secrets,
            goal,
        )
        self._runs += 1
        try:
            return self.zygote.run(job)
        finally:
            # A kill that is due after this run has ended must not hit the next one.
            self._runs += 1

    def _commanded(self) -> None:
        self.commands += 1
        if self._kill and self._kill[0] == self.commands:
            self._loop.call_later(self._kill[1], self._kill_run, self._runs)

    def _kill_run(self, run: int) -> None:
        if run == self._runs:
            self.zygote.kill_running()

    # -- the hosts

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine where the hosts are served."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(RUN_SECONDS)

    def quiet(self) -> None:
        """Wait until nothing runs on the hosts that a killed process has left there."""
        for host in self.hosts.values():
            self.do(host.quiet())

    def save(self, name: str) -> None:
        """Keep the hosts and the state under a name."""
        self.quiet()
        kept = self.folder / "kept" / name
        kept.mkdir(parents=True)
        for host in self.hosts.values():
            _copy(host.root, kept / host.name)
        if self.state.exists():
            _copy(self.state, kept / "state")

    def restore(self, name: str) -> None:
        """Put back what was kept, and heal the hosts."""
        self.quiet()
        kept = self.folder / "kept" / name
        for host in self.hosts.values():
            host.faults = Faults()
            host.commands.clear()
            self.put_back(name, host.name)
        shutil.rmtree(self.state, ignore_errors=True)
        if (kept / "state").exists():
            _copy(kept / "state", self.state)

    def put_back(self, name: str, host: str) -> None:
        """Put back the tree of one host."""
        shutil.rmtree(self.hosts[host].root)
        _copy(self.folder / "kept" / name / host, self.hosts[host].root)

    def close(self) -> None:
        self.zygote.close()
        for host in self.hosts.values():
            self.do(host.power_off())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- what the cluster is made from

    def object_text(self, **spec: Any) -> str:
        """The cluster object, as JSON."""
        hosts = [
            {
                "name": host.name,
                "address": address_of(host.name),
                "hostKey": host.endpoint.host_key.strip(),
                "pool": "cp" if host.name == "node-1" else "worker",
            }
            for host in self.hosts.values()
        ]
        pools = [{"name": "cp", "roles": ["control-plane", "etcd"]}]
        if len(hosts) > 1:
            pools.append({"name": "worker", "roles": ["worker"]})
        machines = {
            "provider": {"machines": {"key": str(self.folder / "key"), "hosts": hosts}},
            "pools": pools,
        }
        return json.dumps(
            {
                "apiVersion": "anykube.dev/v1alpha1",
                "kind": "Cluster",
                "metadata": {"name": NAME},
                "spec": {"kubernetes": {"version": VERSION}, "machines": machines, **spec},
            }
        )

    def seed_lock(self, state: Path | None = None) -> None:
        """The artifact lock of the cluster, as if `anykube artifacts get` had run."""
        lock = json.loads((self.folder / "lock.json").read_text())
        artifacts = {name: LockedArtifact(**item) for name, item in lock.items()}
        LockFile((state or self.state) / NAME).save(ArtifactLock(VERSION, "amd64", artifacts))

    def _one_key(self) -> bytes:
        """All hosts let in the key of the first."""
        first = self.hosts["node-1"]
        public = (first.folder / "user_key.pub").read_text()
        for host in self.hosts.values():
            (host.folder / "user_key.pub").write_text(public)
        return first.key.reveal()

    def content(self, artifact: str) -> bytes:
        """What is in an artifact."""
        text = f"#!/bin/sh\n# {artifact}\n".encode()
        return text + b"#" * LARGE if artifact == "kubelet" else text

    def _seed_store(self) -> None:
        """Small files in the store under their sha256, and the lock that names them."""
        folder = self.cache / "artifacts" / "sha256"
        folder.mkdir(parents=True)
        lock = {}
        for name in needed(load(self.text, "test")):
            content = self.content(name)
            sha256 = hashlib.sha256(content).hexdigest()
            (folder / sha256).write_bytes(content)
            image = name.startswith("image-")
            lock[name] = asdict(
                LockedArtifact(
                    name,
                    "1.0.0",
                    "amd64",
                    "image" if image else "binary",
                    "upstream",
                    sha256,
                    len(content),
                    f"anykube.local/{name}:1.0.0" if image else None,
                )
            )
        (self.folder / "lock.json").write_text(json.dumps(lock))


def dry_run(site: Site) -> DryRun:
    """Apply undisturbed."""
    events = site.apply().check().events
    return DryRun(events, {name: len(host.commands) for name, host in site.hosts.items()})


AnySite = TypeVar("AnySite", bound=Site)


def opened(count: int) -> contextlib.AbstractContextManager[Site]:
    """A site whose fresh hosts are kept as 'fresh'."""
    return opened_as(Site, count)


@contextlib.contextmanager
def opened_as(make: Callable[[Path, int], AnySite], count: int) -> Iterator[AnySite]:
    """A site whose fresh hosts are kept as 'fresh'."""
    with tempfile.TemporaryDirectory(prefix="anykube-site-", dir=_fast_folder()) as folder:
        site = make(Path(folder), count)
        try:
            site.seed_lock()
            site.save("fresh")
            site.fresh_trees = {name: tree(host) for name, host in site.hosts.items()}
            yield site
        finally:
            site.close()


def _fast_folder() -> Path | None:
    """Memory, where programs and devices may be in it: these tests write and sync thousands of files."""
    memory = Path("/dev/shm")
    if memory.is_dir() and not os.statvfs(memory).f_flag & (os.ST_NOEXEC | os.ST_NODEV | os.ST_RDONLY):
        return memory
    return None


def address_of(name: str) -> str:
    return f"192.0.2.{name.removeprefix('node-')}"


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)

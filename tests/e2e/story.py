"""What the stories share: anykube as a subprocess, and looks at the cluster that do not go through anykube.

Nodes are looked at by lxc-attach, the API by the kubectl of the cluster's own artifacts.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from anykube.artifacts.store import Store
from anykube.content.node import managed_units
from anykube.paths import cache_dir
from anykube.pki.store import SecretStore
from anykube.state.clusters import SECRETS
from anykube.state.lockfile import LockFile

REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("anykube")
MACHINES = Path("/var/lib/anykube/lxc")
VERSION = "1.36.3"
SECONDS = 420.0
"""More than any command here takes on a busy machine."""
PHASES = ("replace", "artifacts", "provision", "bootstrap", "addons", "retire", "backup")
CONTROL_PLANE = {"name": "cp", "roles": ["control-plane", "etcd"]}
UNITS = tuple(managed_units())
ACTIVE_SINCE = "ActiveEnterTimestampMonotonic"

Object = dict[str, Any]


def worker(count: int = 1, **settings: Any) -> Object:
    """A pool of workers."""
    return {"name": "worker", "roles": ["worker"], "count": count, **settings}


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> Any:
        """Its standard output as JSON."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Story:
    """A cluster of its own, with a state folder of its own. Nothing exists until something is applied."""

    name: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The cluster object."""
        return self.folder / "cluster.yaml"

    @property
    def state(self) -> Path:
        """ANYKUBE_STATE_DIR."""
        return self.folder / "state"

    @property
    def record(self) -> Path:
        """What anykube keeps of this cluster."""
        return self.state / self.name

    @property
    def secrets(self) -> SecretStore:
        """The keys and certificates of this cluster."""
        return SecretStore(self.record / SECRETS)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of commands."""
        own = {"ANYKUBE_STATE_DIR": str(self.state), "KUBECACHEDIR": str(self.folder / "kube")}
        return {**os.environ, **own, "NO_COLOR": "1", **self.environment}

    def write(self, *pools: Object, **spec: Any) -> None:
        """Write the cluster object: one control plane and the given pools."""
        body = {
            "kubernetes": {"version": VERSION},
            "machines": {"provider": {"lxc": {}}, "pools": [CONTROL_PLANE, *pools]},
            **spec,
        }
        whole = {
            "apiVersion": "anykube.dev/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": self.name},
            "spec": body,
        }
        self.file.write_text(json.dumps(whole, indent=2))

    def write_example(self, example: str, old_name: str) -> None:
        """Take an example of the repository, under this name."""
        text = (REPOSITORY / "examples" / example).read_text()
        renamed, count = re.subn(rf"(?m)^  name: {old_name}\b", f"  name: {self.name}", text)
        assert count == 1, f"{example} names {old_name} {count} times"
        self.file.write_text(renamed)

    # anykube

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start anykube and do not wait for it."""
        return subprocess.Popen(
            [PROGRAM, *arguments],
            env=self.variables,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, status: int | None = 0) -> Answer:
        """Run anykube to its end. Unless `status` is None it must end with that exit status."""
        started = time.monotonic()
        process = self.begin(*arguments)
        try:
            stdout, stderr = process.communicate(timeout=SECONDS)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        answer = Answer(process.returncode, stdout, stderr, time.monotonic() - started)
        if status is not None and answer.status != status:
            told = f"exit status {answer.status}\n{stdout[-4000:]}\n{stderr[-8000:]}"
            raise AssertionError(f"anykube {' '.join(arguments)}: {told}")
        return answer

    def apply(self, *arguments: str, status: int = 0) -> Answer:
        """Anykube apply -f FILE --yes."""
        return self.run("apply", "-f", str(self.file), "--yes", *arguments, status=status)

    def run_to(self, phase: str, event: int) -> subprocess.Popen[str]:
        """Start apply and return just after the given event of a phase, or of the first one that follows."""
        process = self.begin("apply", "-f", str(self.file), "--yes", "-o", "json")
        assert process.stdout is not None
        counted = 0
        for line in process.stdout:
            happened = json.loads(line)
            if happened["type"] == "PhaseStarted" and PHASES.index(happened["phase"]) >= PHASES.index(phase):
                counted = max(counted, 1)
            elif counted:
                counted += 1
            if counted >= event:
                return process
        # It had fewer events than that, and is done already.
        assert process.wait() == 0, process.communicate()[1]
        return process

    def changes(self) -> list[Object]:
        """What plan would change: action, kind, subject and reason, with the target."""
        plan = self.run("plan", "-f", str(self.file), "-o", "json").json["plan"]
        return [
            {"target": step["target"], "phase": phase["phase"], **change}
            for phase in plan["phases"]
            for step in phase["steps"]
            for change in step["changes"]
        ]

    def must_be_settled(self) -> None:
        """The cluster is healthy, and another apply finds nothing to do."""
        eventually(self._unhealthy)
        assert "0 changes" in self.apply().stderr

    def _unhealthy(self) -> str:
        status = self.run("status", "-c", self.name, "-o", "json").json
        return "" if status["healthy"] else json.dumps(status["status"], indent=1)

    def destroy(self) -> None:
        """Remove the cluster, whatever of it there is."""
        if (MACHINES / self.name).exists() or self.record.exists():
            self.run("destroy", "-f", str(self.file), "--yes")

    # nodes

    def node(self, pool: str, number: int = 1) -> str:
        """The name of a node."""
        return f"{self.name}-{pool}-{number}"

    @property
    def nodes(self) -> list[str]:
        """The nodes that exist as containers."""
        return sorted(path.parent.name for path in (MACHINES / self.name / "nodes").glob("[!.]*/config"))

    def address(self, node: str) -> str:
        """The address of a node, as its container was made with."""
        note = json.loads((MACHINES / self.name / "nodes" / node / "machine.json").read_text())
        return str(note["address"])

    def on(self, node: str, *argv: str, check: bool = True, stdin: bytes = b"") -> str:
        """Run a command in a node. Bytes come back one to one as latin-1."""
        path = str(MACHINES / self.name / "nodes")
        place = ("lxc-attach", "-P", path, "-n", node, "--clear-env", "-v", f"PATH={NODE_PATH}", "--")
        done = subprocess.run([*place, *argv], capture_output=True, input=stdin, timeout=SECONDS)
        if check and done.returncode:
            raise AssertionError(f"{node}: {argv} ended with {done.returncode}: {done.stderr!r}")
        return done.stdout.decode("latin-1")

    def power_off(self, node: str) -> None:
        """End a container as a power cut would."""
        path = str(MACHINES / self.name / "nodes")
        subprocess.run(["lxc-stop", "-P", path, "-n", node, "-k"], check=True, timeout=60)

    def starts(self) -> dict[str, str]:
        """When each unit of anykube became active ('0': never, that systemd knows of), for all nodes."""
        return self.starts_of(*self.nodes)

    def starts_of(self, *nodes: str) -> dict[str, str]:
        """When each unit of these nodes became active."""
        found: dict[str, str] = {}
        for node in nodes:
            shown = self.on(node, "systemctl", "show", "-p", "Id", "-p", ACTIVE_SINCE, *UNITS)
            for block in shown.split("\n\n"):
                values = dict(line.split("=", 1) for line in block.strip().splitlines())
                found[f"{node} {values['Id']}"] = values[ACTIVE_SINCE]
        assert found
        return found

    def restarted_since(self, before: Mapping[str, str]) -> set[str]:
        """The units ('<node> <unit>') that were started since, of those that were there."""
        now = self.starts()
        return {unit for unit, moment in before.items() if now.get(unit) != moment}

    # the API

    @cached_property
    def _kubectl(self) -> str:
        lock = LockFile(self.record).load()
        assert lock is not None
        return str(Store(cache_dir() / "artifacts").path(lock.artifacts["kubectl"].sha256))

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """Run kubectl as the administrator."""
        config = self.run("kubeconfig", "-c", self.name, "--path").stdout.strip()
        done = subprocess.run(
            [self._kubectl, f"--kubeconfig={config}", "--request-timeout=30s", *arguments],
            capture_output=True,
            text=True,
            input=stdin,
            timeout=SECONDS,
            env=self.variables,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def objects(self, *what: str) -> list[Object]:
        """The items of `kubectl get`."""
        items = json.loads(self.kubectl("get", *what, "-o", "json"))["items"]
        assert isinstance(items, list)
        return items

    def ready_nodes(self) -> set[str]:
        """Names of the nodes that are Ready."""
        return {
            node["metadata"]["name"]
            for node in self.objects("nodes")
            if any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in node["status"]["conditions"]
            )
        }


NODE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@contextmanager
def telling(name: str, folder: Path) -> Iterator[Story]:
    """A story that leaves nothing behind, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    story = Story(name, folder)
    try:
        yield story
    finally:
        story.destroy()


def eventually(look: Callable[[], str], seconds: float = 90.0) -> None:
    """Wait until the look finds nothing amiss; what it saw last is the message when time is up."""
    end = time.monotonic() + seconds
    while seen := look():
        assert time.monotonic() < end, f"still after {seconds:.0f} s: {seen}"
        time.sleep(0.2)


def lines(changes: Sequence[Object]) -> list[str]:
    """Changes as '<target>: <action> <kind> <subject> (<reason>)', for comparison and messages."""
    return [f"{c['target']}: {c['action']} {c['kind']} {c['subject']} ({c['reason']})" for c in changes]


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9, and wait until it is gone."""
    process.send_signal(signal.SIGKILL)
    process.communicate()

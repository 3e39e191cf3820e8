"""Runs anykube in processes of its own, so that they can be killed: everything is loaded once, then forked.

Reads jobs as JSON lines; says the id of each process when it begins, and how it ended. A job's process runs
the real workflow against the simulated hosts, and writes what came of it to the job's answer file.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anykube import resetting, restore, rotation, workflow
from anykube.backup.age import identities
from anykube.errors import AnykubeError
from anykube.events import Event, StepDone, StepStarted
from anykube.observe import hosts
from anykube.plan.model import Plan
from anykube.plan.render import lines
from anykube.secret import Secret
from anykube.session import Doors, Folders, Session
from anykube.simulated_api import SimulatedApi
from anykube.simulated_objects import EtcdObjects, FileObjects
from anykube.spec.load import load
from anykube.transports.base import Endpoint, Transport
from anykube.transports.ssh import SSHTransport

ANY = "*"
"""Stands for whichever step is the first."""


@dataclass(frozen=True)
class Job:
    """A command on a cluster. `kill_at`: 'StepStarted' or 'StepDone' and a step at which the process kills
    itself. `ports` are those that the hosts serve at, `trees` their folder trees. `control_plane` is the host
    that has the API; '' when the hosts have a network of their own and a real etcd. `probe_seconds`: how long
    the answer of a host is waited for. `node`: the one to replace. `archive`, `identity`: of a restore.
    `secrets`, `goal`: whose keys are replaced, and how far."""

    command: str
    text: str
    state: str
    cache: str
    ports: dict[str, int]
    trees: dict[str, str]
    control_plane: str
    answer: str
    kill_at: tuple[str, str] | None = None
    probe_seconds: float = 30
    node: str = ""
    archive: str = ""
    identity: str = ""
    secrets: tuple[str, ...] = ()
    goal: str = ""


def main() -> None:
    """Serve jobs until the input ends."""
    import asyncssh  # noqa: F401  loaded here once, not in every process
    import httpx2  # noqa: F401
    import stamina  # noqa: F401

    for line in sys.stdin:
        job = Job(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            status = _in_child(job)
            sys.stderr.flush()
            os._exit(status)
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


def _in_child(job: Job) -> int:
    answer: dict[str, Any] = {"status": 0, "error": "", "events": [], "plan": [], "pending": {}}
    try:
        asyncio.run(_perform(job, answer))
    except AnykubeError as error:
        answer |= {"status": error.exit_status, "error": str(error)}
    except BaseException:
        answer |= {"status": 70, "error": traceback.format_exc()}
    Path(job.answer).write_text(json.dumps(answer))
    return int(answer["status"])


async def _perform(job: Job, answer: dict[str, Any]) -> None:
    cluster = load(job.text, "cluster.yaml")
    folders = Folders(Path(job.state), Path(job.cache))
    Session.doors = _doors(job)
    hosts.PROBE_SECONDS = job.probe_seconds  # type: ignore[assignment]

    def emit(event: Event) -> None:
        if isinstance(event, StepStarted | StepDone):
            kind = type(event).__name__
            answer["events"].append((kind, event.step))
            if job.kill_at and tuple(job.kill_at) in ((kind, event.step), (kind, ANY)):
                os.kill(os.getpid(), signal.SIGKILL)

    def seen(plan: Plan) -> bool:
        _note(plan, answer)
        return True

    match job.command:
        case "apply":
            report = await workflow.apply(
                cluster, text=job.text, source="cluster.yaml", approve=seen, emit=emit, folders=folders
            )
            answer["empty"] = report.unchanged
        case "replace":
            report = await workflow.replace(
                cluster,
                job.node,
                text=job.text,
                source="cluster.yaml",
                approve=seen,
                emit=emit,
                folders=folders,
            )
            answer["empty"] = report.unchanged
        case "plan":
            _note(await workflow.plan(cluster, text=job.text, folders=folders), answer)
        case "restore":
            keys = identities(Path(job.identity).read_bytes(), job.identity)
            await restore.restore(
                Path(job.archive), keys, text=job.text, approve=seen, emit=emit, folders=folders
            )
        case "go on":
            await restore.go_on(cluster.name, approve=seen, emit=emit, folders=folders)
        case "abort":
            await restore.abort(cluster.name, approve=seen, emit=emit, folders=folders)
        case "reset" | "reset by force":
            force = job.command != "reset"
            report = await resetting.reset(
                cluster, job.node, force=force, approve=seen, emit=emit, folders=folders
            )
            answer["empty"] = report.unchanged
        case "rotate":
            await rotation.rotate(
                cluster,
                job.secrets,
                rotation.Goal(job.goal),
                text=job.text,
                source="cluster.yaml",
                at_once=True,
                approve=seen,
                emit=emit,
                folders=folders,
            )
        case "destroy":
            await workflow.destroy(cluster, approve=seen, emit=emit, folders=folders)


def _note(plan: Plan, answer: dict[str, Any]) -> None:
    answer["plan"] = list(lines(plan, full=True))
    answer["empty"] = plan.empty
    answer["pending"] = {
        step.id: [f"{c.action} {c.kind} {c.subject}: {c.reason}" for c in step.changes]
        for step in plan.pending
    }
    answer["obstacles"] = {item.target: f"{item.brief}; do: {item.remedy}" for item in plan.obstacles}


def _doors(job: Job) -> Doors:
    trees = {name: Path(tree) for name, tree in job.trees.items()}

    def node(endpoint: Endpoint, key: Secret) -> Transport:
        # The object's addresses are those of a network; what answers for them is on this machine.
        return SSHTransport(replace(endpoint, address="127.0.0.1", port=job.ports[endpoint.name]), key)

    objects = FileObjects(trees[job.control_plane]) if job.control_plane else EtcdObjects(trees)
    if job.control_plane:
        return Doors(node, lambda *_: SimulatedApi(trees, objects))
    return Doors(kube=lambda *_: SimulatedApi(trees, objects))


if __name__ == "__main__":
    main()

"""Answers to a commented cluster object that a person likes to read. Pure; used by `anykube init`.

Answers are data, never text to be trusted: each is quoted where needed, none goes into a comment, and what is
returned has been loaded again. The questions that lead here are in `questions.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from anykube.errors import SpecError
from anykube.spec.catalog import DEFAULT_VERSION, VERSIONS
from anykube.spec.load import parse
from anykube.spec.model import API_VERSION
from anykube.spec.problem import Problem
from anykube.spec.tree import resolve

SOURCE = "the answers"
COMMENT_COLUMN = 34
CONTROL_PLANE_POOL = "cp"
WORKER_POOL = "worker"
ETCD_POOL = "etcd"
SINGLE_POOL = "node"

_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9./@_-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine that exists already. Without a `pool`: control planes, then etcd, then workers."""

    name: str
    address: str
    host_key: str
    pool: str | None = None
    user: str = "root"
    port: int = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What each machine of a pool gets; None is no limit. Memory in MiB."""

    cpus: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Everything that is asked, with the answers of somebody who has no wishes."""

    name: str = "demo"
    provider: Literal["lxc", "machines"] = "lxc"
    key: str = "/root/.ssh/id_ed25519"
    hosts: tuple[Host, ...] = ()
    topology: Literal["single", "one-control-plane", "high-availability", "separate-etcd"] = (
        "one-control-plane"
    )
    control_planes: int = 3
    etcds: int = 3
    workers: int = 1
    endpoint: Literal["node-local", "virtual-ip", "external"] = "node-local"
    address: str | None = None
    version: str = DEFAULT_VERSION
    control_plane: Size = Size()
    """With the topology `single`, the size of the one machine."""
    worker: Size = Size()
    backend: Literal["vxlan", "host-gw"] = "vxlan"
    pods: str = "10.244.0.0/16"
    services: str = "10.96.0.0/16"
    subnet: str | None = None
    dns: bool = True
    metrics: bool = False

    @property
    def several(self) -> bool:
        """Whether there may be several control planes, so that it matters how the API is reached."""
        return self.topology in ("high-availability", "separate-etcd")


def render(answers: Answers) -> str:
    """The object as YAML with comments; it loads. SpecError when the answers make no right object."""
    text = _text(answers)
    _, problems = parse(text, SOURCE)
    if problems:
        raise SpecError(SOURCE, problems)
    return text


def problems(answers: Answers) -> list[Problem]:
    """What is wrong with answers, as lines of the object that they would make."""
    return parse(_text(answers), SOURCE)[1]


def _text(answers: Answers) -> str:
    return "\n".join(_commented(line) for line in _lines(answers)) + "\n"


def _commented(line: tuple[str, str] | str) -> str:
    """A line, or a line and its comment in a column of its own."""
    if isinstance(line, str):
        return line
    code, comment = line
    return f"{code.ljust(COMMENT_COLUMN - 1)} # {comment}"


def _lines(answers: Answers) -> Iterator[tuple[str, str] | str]:
    yield "# A Kubernetes cluster. Edit this file, look with `anykube plan`, do it with `anykube apply`."
    yield "# Whatever is not written here has a default; `anykube validate` finds mistakes."
    yield f"apiVersion: {API_VERSION}"
    yield "kind: Cluster"
    yield "metadata:"
    yield f"  name: {_scalar(answers.name)}"
    yield "spec:"
    yield "  kubernetes:"
    yield f"    version: {json.dumps(answers.version)}", f"offered: {', '.join(VERSIONS)}; keep the quotes"
    yield "  machines:"
    yield "    provider:"
    yield from _machines(answers) if answers.provider == "machines" else _lxc(answers)
    yield "    pools:"
    yield from _pools(answers)
    if answers.several:
        yield from _endpoint(answers)
    yield "  network:"
    yield f"    pods: {_scalar(answers.pods)}", "each node takes a /24 of it"
    yield f"    services: {_scalar(answers.services)}"
    yield "    cni:"
    yield "      flannel:"
    yield (
        f"        backend: {_scalar(answers.backend)}",
        "vxlan anywhere; host-gw is faster on one network segment",
    )
    yield "  addons:"
    yield ("    dns: {}", "CoreDNS") if answers.dns else ("    dns: null", "{} turns CoreDNS on")
    off = ("    metrics: null", "{} turns on metrics-server, for kubectl top and autoscaling")
    yield ("    metrics: {}", "metrics-server, for kubectl top and autoscaling") if answers.metrics else off


def _lxc(answers: Answers) -> Iterator[tuple[str, str] | str]:
    if answers.subnet is None:
        yield "      lxc: {}", "containers on this machine, on a network that is free"
        return
    yield "      lxc:", "containers on this machine"
    yield f"        subnet: {_scalar(answers.subnet)}"


def _machines(answers: Answers) -> Iterator[tuple[str, str] | str]:
    yield "      machines:", "machines that exist already and answer SSH"
    yield f"        key: {_scalar(answers.key)}", "the private key, on this machine"
    yield f"        hosts:{'' if answers.hosts else ' []'}"
    for number, host in enumerate(answers.hosts):
        yield f"          - name: {_scalar(host.name)}"
        yield f"            address: {_scalar(host.address)}"
        if host.port != Host.__dataclass_fields__["port"].default:
            yield f"            port: {host.port}"
        if host.user != Host.__dataclass_fields__["user"].default:
            yield f"            user: {_scalar(host.user)}"
        yield f"            pool: {_scalar(host.pool or _pool_of(answers, number))}"
        yield f"            hostKey: {_scalar(host.host_key)}"


def _pool_of(answers: Answers, number: int) -> str:
    """Where a listed host belongs: control planes come first, then etcd, then workers."""
    if answers.topology == "single":
        return SINGLE_POOL
    planes = answers.control_planes if answers.several else 1
    members = answers.etcds if answers.topology == "separate-etcd" else 0
    if number < planes:
        return CONTROL_PLANE_POOL
    return ETCD_POOL if number < planes + members else WORKER_POOL


def _pools(answers: Answers) -> Iterator[tuple[str, str] | str]:
    """One pool for everything, or one for each kind of machine."""
    if answers.topology == "single":
        yield from _pool(answers, SINGLE_POOL, "control-plane, etcd, worker", 1, answers.control_plane)
        return
    planes = answers.control_planes if answers.several else 1
    separate = answers.topology == "separate-etcd"
    roles = "control-plane" if separate else "control-plane, etcd"
    yield from _pool(answers, CONTROL_PLANE_POOL, roles, planes, answers.control_plane)
    if separate:
        yield from _pool(answers, ETCD_POOL, "etcd", answers.etcds, Size())
    yield from _pool(answers, WORKER_POOL, "worker", answers.workers, answers.worker)


def _endpoint(answers: Answers) -> Iterator[tuple[str, str] | str]:
    meaning = {
        "node-local": "a load balancer on every node, for itself",
        "virtual-ip": "an address that moves between the control planes",
        "external": "a load balancer of yours",
    }
    yield "  endpoint:"
    yield f"    kind: {_scalar(answers.endpoint)}", meaning.get(answers.endpoint, "how the API is reached")
    if answers.address is not None:
        yield f"    address: {_scalar(answers.address)}"


def _pool(answers: Answers, name: str, roles: str, count: int, size: Size) -> Iterator[tuple[str, str] | str]:
    yield f"      - name: {name}"
    yield f"        roles: [{roles}]"
    if answers.provider == "lxc":
        grow = name == WORKER_POOL
        yield (
            (f"        count: {count}", "change it and apply: the cluster follows")
            if grow
            else (f"        count: {count}")
        )
    if size.cpus is not None:
        yield f"        cpus: {int(size.cpus) if float(size.cpus).is_integer() else size.cpus!r}"
    if size.memory is not None:
        yield f"        memory: {size.memory}", "MiB"


def _scalar(text: str) -> str:
    """Text as YAML: plain where every reader takes it for text, otherwise in quotes."""
    if _PLAIN.fullmatch(text) and resolve(text) == (text, ""):
        return text
    return json.dumps(text, ensure_ascii=False)

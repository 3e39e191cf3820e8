"""The questions of `anykube init`, each also a flag. Pure: the command line asks, this says what and checks.

answers = Answers()
for question in QUESTIONS:
    if question.applies(answers):
        answers = question.answer(answers, text_from_the_person)    # ValueError says what is wrong
text = render(answers)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from anykube.spec.catalog import VERSIONS
from anykube.spec.problem import shown
from anykube.spec.template import Answers, Host, problems

Kind = Literal["text", "choice", "integer", "number", "yes-no", "hosts"]
Store = Callable[[Answers, Any], Answers]

OVERLAP = "NET-014"
SIZE = "NET-013"
SIZE_AND_OVERLAP = (SIZE, OVERLAP)
ENDPOINT = "SPEC-031"


def _always(_answers: Answers) -> bool:
    return True


def _on_lxc(answers: Answers) -> bool:
    return answers.provider == "lxc"


def _on_machines(answers: Answers) -> bool:
    return answers.provider == "machines"


def _has_workers(answers: Answers) -> bool:
    return answers.topology != "single"


def _sized_workers(answers: Answers) -> bool:
    return _on_lxc(answers) and _has_workers(answers)


def _several(answers: Answers) -> bool:
    return answers.several


def _separate(answers: Answers) -> bool:
    return answers.topology == "separate-etcd"


def _shared(answers: Answers) -> bool:
    return answers.several and answers.endpoint != "node-local"


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `default` is what an empty answer means, as text; `applies` looks at the answers before.

    For the kind `hosts` a person, or a repeated flag, gives one line per host:
    NAME [USER@]ADDRESS[:PORT] KEYTYPE KEY
    """

    name: str
    flag: str
    prompt: str
    kind: Kind
    default: str = ""
    choices: tuple[str, ...] = ()
    applies: Callable[[Answers], bool] = _always
    store: Store | None = None
    later: tuple[str, ...] = ()
    """Codes of problems that the answer to a later question may still solve."""
    settles: tuple[str, ...] = ()
    """Codes of problems from earlier answers that must be solved with this one."""

    def answer(self, answers: Answers, text: str) -> Answers:
        """The answers with this one added; ValueError with a sentence for people when it cannot be."""
        after = self._stored(answers, text)
        if self.kind in ("choice", "yes-no"):
            return after
        before = {problem.message for problem in problems(answers) if problem.code not in self.settles}
        for problem in problems(after):
            if problem.message not in before and problem.code not in self.later:
                raise ValueError(f"{problem.message}{'; ' if problem.hint else ''}{problem.hint}")
        return after

    def check(self, text: str, answers: Answers | None = None) -> str:
        """What is wrong with an answer, in one sentence; '' when nothing is."""
        try:
            self.answer(answers or Answers(), text)
        except ValueError as error:
            return str(error)
        return ""

    def _stored(self, answers: Answers, text: str) -> Answers:
        value = _READERS[self.kind](text.strip() or self.default, self.choices)
        if self.store:
            return self.store(answers, value)
        return replace(answers, **{self.name: value})


def _text(text: str, _choices: tuple[str, ...]) -> str | None:
    return text or None


def _choice(text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise ValueError(f"{shown(text)} is none of {', '.join(choices)}")
    return text


def _integer(text: str, _choices: tuple[str, ...]) -> int | None:
    if text and not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise ValueError(f"must be a whole number, not {shown(text)}")
    return int(text) if text else None


def _number(text: str, _choices: tuple[str, ...]) -> float | None:
    whole, _, fraction = text.partition(".")
    if text and not (text.isascii() and (whole + fraction).isdigit() and len(text) <= 12):
        raise ValueError(f"must be a number, not {shown(text)}")
    return float(text) if text else None


def _yes_no(text: str, _choices: tuple[str, ...]) -> bool:
    if text.lower() not in ("yes", "y", "no", "n"):
        raise ValueError(f"must be yes or no, not {shown(text)}")
    return text.lower() in ("yes", "y")


def _hosts(text: str, _choices: tuple[str, ...]) -> tuple[Host, ...]:
    hosts = tuple(read_host(line) for line in text.splitlines() if line.strip())
    if not hosts:
        raise ValueError("at least one machine is needed, as NAME [USER@]ADDRESS[:PORT] KEYTYPE KEY")
    return hosts


def read_host(line: str) -> Host:
    """'NAME [USER@]ADDRESS[:PORT] KEYTYPE KEY' as a host; ValueError when it is not of that form."""
    words = line.split()
    if len(words) < 4:
        raise ValueError(f"{shown(line)} is not NAME [USER@]ADDRESS[:PORT] KEYTYPE KEY")
    name, where, *host_key = words
    user, at, address = where.rpartition("@")
    address, colon, port = address.partition(":")
    if colon and not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise ValueError(f"host {shown(name)}: {shown(port)} is not a port")
    return Host(
        name=name,
        address=address,
        host_key=" ".join(host_key),
        user=user if at else "root",
        port=int(port) if colon else 22,
    )


_READERS: dict[str, Callable[[str, tuple[str, ...]], Any]] = {
    "text": _text,
    "choice": _choice,
    "integer": _integer,
    "number": _number,
    "yes-no": _yes_no,
    "hosts": _hosts,
}


def _size(pool: Literal["control_plane", "worker"], part: Literal["cpus", "memory"]) -> Store:
    """Puts a number into one part of the size of one pool."""

    def store(answers: Answers, value: float | int | None) -> Answers:
        size = replace(getattr(answers, pool), **{part: value})
        return replace(answers, **{pool: size})

    return store


def _number_of(field: Literal["control_planes", "etcds"]) -> Store:
    return lambda answers, value: replace(answers, **{field: value})


_START = Answers()

QUESTIONS: tuple[Question, ...] = (
    Question("name", "--name", "Name of the cluster", "text", _START.name),
    Question(
        "provider",
        "--provider",
        "Where machines come from. lxc: containers on this machine; machines: they exist, reached by SSH",
        "choice",
        _START.provider,
        choices=("lxc", "machines"),
    ),
    Question("key", "--ssh-key", "Path of the private SSH key", "text", _START.key, applies=_on_machines),
    Question(
        "topology",
        "--topology",
        "single: one machine does everything; one-control-plane: it and workers; high-availability: several "
        "control planes with etcd; separate-etcd: etcd on machines of its own",
        "choice",
        _START.topology,
        choices=("single", "one-control-plane", "high-availability", "separate-etcd"),
    ),
    Question(
        "control-planes",
        "--control-planes",
        "How many control planes (3 survive the loss of one)",
        "integer",
        str(_START.control_planes),
        applies=_several,
        store=_number_of("control_planes"),
        later=SIZE_AND_OVERLAP,
    ),
    Question(
        "etcds",
        "--etcds",
        "How many machines for etcd (3 survive the loss of one, 5 of two)",
        "integer",
        str(_START.etcds),
        applies=_separate,
        store=_number_of("etcds"),
        later=SIZE_AND_OVERLAP,
    ),
    Question(
        "hosts",
        "--host",
        "Machines: control planes, then etcd, then workers; each as NAME [USER@]ADDRESS[:PORT] KEYTYPE KEY",
        "hosts",
        applies=_on_machines,
        later=SIZE_AND_OVERLAP,
    ),
    Question(
        "workers",
        "--workers",
        "How many workers",
        "integer",
        str(_START.workers),
        applies=_sized_workers,
        later=SIZE_AND_OVERLAP,
    ),
    Question(
        "endpoint",
        "--endpoint",
        "How nodes reach the API. node-local: a load balancer on each; virtual-ip: an address that moves; "
        "external: a load balancer of yours",
        "choice",
        _START.endpoint,
        choices=("node-local", "virtual-ip", "external"),
        applies=_several,
    ),
    Question(
        "address",
        "--endpoint-address",
        "Its address (empty, with lxc and virtual-ip: one that is free)",
        "text",
        applies=_shared,
        settles=(ENDPOINT,),
    ),
    Question(
        "control-plane-cpus",
        "--control-plane-cpus",
        "Processors of each control plane (empty: no limit)",
        "number",
        applies=_on_lxc,
        store=_size("control_plane", "cpus"),
    ),
    Question(
        "control-plane-memory",
        "--control-plane-memory",
        "Memory of each control plane in MiB (empty: no limit)",
        "integer",
        applies=_on_lxc,
        store=_size("control_plane", "memory"),
    ),
    Question(
        "worker-cpus",
        "--worker-cpus",
        "Processors of each worker (empty: no limit)",
        "number",
        applies=_sized_workers,
        store=_size("worker", "cpus"),
    ),
    Question(
        "worker-memory",
        "--worker-memory",
        "Memory of each worker in MiB (empty: no limit)",
        "integer",
        applies=_sized_workers,
        store=_size("worker", "memory"),
    ),
    Question(
        "version", "--kubernetes-version", "Kubernetes version", "choice", _START.version, choices=VERSIONS
    ),
    Question(
        "backend",
        "--cni-backend",
        "How pods reach other nodes: vxlan works anywhere, host-gw is faster on one network segment",
        "choice",
        _START.backend,
        choices=("vxlan", "host-gw"),
    ),
    Question("pods", "--pods", "Network of the pods", "text", _START.pods, later=(OVERLAP,), settles=(SIZE,)),
    Question(
        "services", "--services", "Network of the Services", "text", _START.services, settles=SIZE_AND_OVERLAP
    ),
    Question(
        "subnet",
        "--subnet",
        "Network of the nodes (empty: one that is free)",
        "text",
        applies=_on_lxc,
        settles=SIZE_AND_OVERLAP,
    ),
    Question("dns", "--dns", "Install CoreDNS", "yes-no", "yes"),
    Question("metrics", "--metrics", "Install metrics-server", "yes-no", "no"),
)

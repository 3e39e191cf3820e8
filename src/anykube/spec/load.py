"""Text to a checked `Cluster`, or every problem at once with line and column. Pure.

`objectfile.py` reads files. The way is: text -> tree (tree.py) -> model (model.py, its errors in words by
explain.py) -> rules between fields (validate.py). Rules run on every part of the object that is sound by
itself, so that one mistake does not hide another. What a file can cost is bounded at each step.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from anykube.errors import SpecError
from anykube.spec.explain import at, explain, quoting
from anykube.spec.model import (
    Artifacts,
    Backup,
    Cluster,
    ClusterNetwork,
    Endpoint,
    Kubernetes,
    MachineSet,
    Metadata,
    Runtime,
)
from anykube.spec.problem import Finding, Path, Problem, dotted, escaped
from anykube.spec.tree import Place, Scalar, Sequence, Table, Tree, plain, read_tree
from anykube.spec.validate import Parts, findings

MAX_PROBLEMS = 100

Part = TypeVar("Part", bound=BaseModel)


def load(text: str, source: str = "cluster.yaml") -> Cluster:
    """The cluster that `text` describes; SpecError with all problems otherwise. `source` names the text."""
    cluster, problems = parse(text, source)
    if cluster is None:
        raise SpecError(escaped(source, 200), problems)
    return cluster


def parse(text: str, source: str = "cluster.yaml") -> tuple[Cluster | None, list[Problem]]:
    """The cluster, or None and all problems in the order of the text. Never raises."""
    source = escaped(source, 200)
    reading = read_tree(text, source)
    problems = list(reading.problems)
    cluster: Cluster | None = None
    if isinstance(reading.tree, Table):
        taken = {(problem.line, problem.column) for problem in problems}
        cluster, found = _check(reading.tree)
        problems += [
            problem
            for problem in (_placed(finding, reading.tree, source) for finding in found)
            if (problem.line, problem.column) not in taken
        ]
    elif reading.tree is not None:
        place = reading.tree.place
        message = "the object must be a mapping that begins with apiVersion and kind"
        problems.append(Problem(source, *place, "SPEC-011", message, "write one with: anykube init"))
    return (None if problems else cluster), _bounded(problems, source)


def locate(text: str, source: str, found: Iterable[Finding]) -> list[Problem]:
    """Findings made later (such as networks that this machine uses), at their places in the text."""
    source = escaped(source, 200)
    tree = read_tree(text, source).tree
    if not isinstance(tree, Table):
        return [Problem(source, 1, 1, finding.code, finding.message, finding.hint) for finding in found]
    return _bounded([_placed(finding, tree, source) for finding in found], source)


def _check(tree: Table) -> tuple[Cluster | None, list[Finding]]:
    """Shape first, then the rules on whatever is sound."""
    cluster, found = _shape(tree)
    found += islice(_unquoted(tree, (), {finding.path for finding in found}), MAX_PROBLEMS + 1)
    data = _mended(plain(tree), found, tree)
    parts = Parts.of(cluster) if cluster else _sound_parts(data)
    wrong = [finding.path for finding in found]
    found += [
        finding
        for finding in islice(findings(parts), MAX_PROBLEMS + 1)
        if not any(path[: len(finding.path)] == finding.path for path in wrong)
    ]
    return cluster, found


def _shape(tree: Table) -> tuple[Cluster | None, list[Finding]]:
    """The model, or what each field says against its value."""
    try:
        return Cluster.model_validate_json(json.dumps(plain(tree))), []
    except ValidationError as error:
        details = error.errors(include_url=False)[: MAX_PROBLEMS + 1]
        explained = (explain(detail, tree) for detail in details)
        return None, [finding for finding in explained if finding]


def _unquoted(tree: Tree, path: Path, known: set[Path]) -> Iterator[Finding]:
    """Scalars that YAML readers do not agree on, where the model was content with text."""
    if isinstance(tree, Scalar):
        if tree.trap and path not in known:
            yield Finding(path, "SPEC-012", f"{dotted(path)}: {quoting(tree)}")
    elif isinstance(tree, Sequence):
        for index, item in enumerate(tree.items):
            yield from _unquoted(item, (*path, index), known)
    else:
        for key, value in tree.entries.items():
            if (*path, key) not in known:
                yield from _unquoted(value, (*path, key), known)


def _mended(data: Any, found: list[Finding], tree: Table) -> Any:
    """Plain data without unknown keys and with quotes where they lack: what the writer meant."""
    for finding in found:
        parent, last = data, finding.path[-1] if finding.path else None
        try:
            for part in finding.path[:-1]:
                parent = parent[part]
            if finding.code == "SPEC-003":
                del parent[last]
            elif finding.code == "SPEC-012":
                node = at(tree, finding.path)
                parent[last] = node.text if isinstance(node, Scalar) else None
        except (KeyError, IndexError, TypeError):
            continue
    return data


def _sound_parts(data: Any) -> Parts:
    """The parts of a broken object that are right by themselves."""
    spec = data.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    metadata = _part(Metadata, data.get("metadata"))
    return Parts(
        name=metadata.name if metadata else None,
        kubernetes=_part(Kubernetes, spec.get("kubernetes")),
        machines=_part(MachineSet, spec.get("machines")),
        endpoint=_part(Endpoint, spec.get("endpoint", {})),
        network=_part(ClusterNetwork, spec.get("network", {})),
        runtime=_part(Runtime, spec.get("runtime", {})),
        artifacts=_part(Artifacts, spec.get("artifacts", {})),
        backup=_part(Backup, spec["backup"]) if spec.get("backup") else None,
    )


def _part(model: type[Part], data: Any) -> Part | None:
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError:
        return None


def _placed(finding: Finding, tree: Table, source: str) -> Problem:
    place = _place(tree, finding.path, key=finding.key)
    return Problem(source, place.line, place.column, finding.code, finding.message, finding.hint)


def _place(tree: Table, path: Path, *, key: bool) -> Place:
    """Where a path is in the text: its value, or its key, or the nearest thing around it."""
    for length in range(len(path), 0, -1):
        parent, last = at(tree, path[: length - 1]), path[length - 1]
        node = at(tree, path[:length])
        if node is None:
            key = True
            continue
        on_key = key or (isinstance(node, Scalar) and node.text == "" and not node.quoted)
        if on_key and isinstance(parent, Table) and isinstance(last, str):
            return parent.keys[last]
        return node.place
    return tree.place


def _bounded(problems: list[Problem], source: str) -> list[Problem]:
    """In the order of the text, and not more than a person would read."""
    ordered = sorted(
        dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column, problem.code)
    )
    if len(ordered) <= MAX_PROBLEMS:
        return ordered
    last = ordered[MAX_PROBLEMS - 1]
    message = f"at least {len(ordered) - MAX_PROBLEMS} more problems follow"
    return [*ordered[:MAX_PROBLEMS], Problem(source, last.line, last.column, "SPEC-013", message)]

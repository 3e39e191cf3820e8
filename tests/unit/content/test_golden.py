"""All content of a few nodes, compared with files that a person has read: tests/golden/<case>/.

UPDATE_GOLDEN=1 writes them anew; the difference is then reviewed like code.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from anykube.content.context import NodeContext
from anykube.content.model import ArtifactFile, Component, File, LocalFile, SecretPart, Text
from anykube.content.node import components

GOLDEN = Path(__file__).parents[2] / "golden"


def test_content_is_as_reviewed(case: tuple[str, NodeContext]) -> None:
    name, context = case
    made = rendered(components(context))
    folder = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in made.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    kept = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert sorted(made) == sorted(kept)
    for path, text in made.items():
        assert text == kept[path], f"{name}/{path}: run with UPDATE_GOLDEN=1 and review the difference"


def rendered(parts: tuple[Component, ...]) -> dict[str, str]:
    """Path in the golden folder -> text: one file per text file, and a summary of everything."""
    texts = {
        f"root{file.path}": file.source.value
        for part in parts
        for file in part.files
        if isinstance(file.source, Text)
    }
    summary = yaml.safe_dump([summarised(part) for part in parts], sort_keys=False, width=200)
    return {**texts, "components.yaml": summary}


def summarised(component: Component) -> dict[str, Any]:
    return {
        "name": component.name,
        "after": list(component.after),
        "directories": [" ".join(directory) for directory in component.directories],
        "files": [f"{file.mode} {file.owner} {file.path} <- {origin(file)}" for file in component.files],
        "unit": component.unit.name if component.unit else None,
        "inputs": list(component.unit.inputs) if component.unit else [],
        **(
            {"reload": sorted(component.unit.reloadable)}
            if component.unit and component.unit.reloadable
            else {}
        ),
        **({"programs": list(component.programs)} if component.programs else {}),
    }


def origin(file: File) -> str:
    match file.source:
        case Text():
            return "text"
        case SecretPart(secret, part):
            return f"secret {secret} {part}"
        case ArtifactFile(artifact):
            return f"artifact {artifact}"
        case LocalFile(name):
            return f"file {name}"

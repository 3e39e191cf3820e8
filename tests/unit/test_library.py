"""The public library: everything that is promised can be had, and the example in its docstring runs."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import anykube
from anykube.spec.template import Answers, render

SOURCE = ast.parse(Path(anykube.__file__).read_text())


def _names_for_type_checkers() -> dict[str, str]:
    """What the TYPE_CHECKING block imports: public name and where it comes from."""
    block = next(node for node in SOURCE.body if isinstance(node, ast.If))
    return {
        str(alias.asname): f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_all_is_what_is_exported() -> None:
    assert sorted(anykube.__all__) == sorted(_names_for_type_checkers())
    assert sorted(anykube.__all__) == dir(anykube)


@pytest.mark.parametrize("name", anykube.__all__)
def test_every_name_is_what_type_checkers_see(name: str) -> None:
    found = getattr(anykube, name)
    module, _, inner = _names_for_type_checkers()[name].rpartition(".")
    __import__(module)
    assert found is getattr(sys.modules[module], inner)
    assert found.__doc__


def test_public_names_survive_the_import_of_rooms() -> None:
    """A module of the same name would take a name's place as soon as it is imported."""
    rooms = {path.stem for path in Path(anykube.__file__).parent.iterdir()}
    assert set(anykube.__all__) & rooms == {"errors", "events"}


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = anykube.nosuch


def test_the_example_runs(tmp_path: Path) -> None:
    doc = anykube.__doc__ or ""
    lines = doc.splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith("    import asyncio"))
    example = [line for line in lines[begin:] if line.startswith("    ") or not line]
    (tmp_path / "cluster.yaml").write_text(render(Answers(name="no-such-cluster-here")))
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent("\n".join(example))],
        cwd=tmp_path,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ANYKUBE_STATE_DIR": str(tmp_path), "HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.stderr == ""
    assert "no-such-cluster-here-cp-1 control-plane etcd" in result.stdout
    assert "no-such-cluster-here: " in result.stdout
    assert sum(bool(line.strip()) for line in example) <= 14

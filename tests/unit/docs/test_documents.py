"""What the documents say is true as far as a program can tell: commands, objects, code, links, names."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.documents import DOCUMENTS, REPOSITORY, Block, blocks, commands, inline_code, prose

from anykube.cli.main import app, run
from anykube.spec.catalog import MINORS
from anykube.spec.load import load

SOURCE = REPOSITORY / "src/anykube"
BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
GENERATED = {"commands.md", "errors.md"}
BAD_OBJECT = """\
apiVersion: anykube.dev/v1alpha1
kind: Cluster
metadata: {name: bad}
spec:
  kubernetes: {version: 1.30}
  machines:
    provider: {lxc: {}}
    pools:
      - {name: cp, roles: [control-plane, etcd]}
      - {name: worker, roles: [worker], lables: {}}
  network: {pods: 10.81.0.0/16, services: 10.81.16.0/20}
"""
"""What the README's example of an error was made with."""


def of(*languages: str) -> list[Any]:
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language in languages]


def name(document: Path) -> str:
    return str(document.relative_to(REPOSITORY))


def parse(arguments: list[str]) -> None:
    """Let the program's own parser read a command line; nothing is run."""
    if "--help" in arguments:
        return
    group: Any = typer.main.get_command(app)
    context = group.make_context("anykube", list(arguments))
    while hasattr(group, "resolve_command"):
        left = [*context._protected_args, *context.args]
        if not left and group.invoke_without_command:
            return
        called, group, rest = group.resolve_command(context, left)
        context = group.make_context(called, rest, parent=context)


def test_the_parser_of_this_test_notices_mistakes() -> None:
    parse(["apply", "-f", "x.yaml", "--yes"])
    for wrong in (["aply"], ["apply", "--jes"], ["logs"], ["artifacts", "fetch"], ["status", "-o", "xml"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing|invalid|is not one of"):
            parse(wrong)
    script = (
        'export A=$(anykube status -c x --path) # anykube no\nsudo anykube exec n -- sh -c "a > b" > c || d'
    )
    assert list(commands(script)) == [
        ["status", "-c", "x", "--path"],
        ["exec", "n", "--", "sh", "-c", "a > b"],
    ]


@pytest.mark.parametrize("block", of("sh"))
def test_commands_in_blocks_exist(block: Block) -> None:
    for arguments in commands(block.text):
        parse(arguments)
    targets = re.findall(r"^([a-z0-9]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make (\w+)", block.text, re.MULTILINE)) <= set(targets)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_commands_in_the_text_exist(document: Path) -> None:
    typed = [code for code in inline_code(document) if re.match(r"(sudo )?(\.venv/bin/)?anykube [a-z]", code)]
    shown = [line[2:] for block in blocks(document) for line in block.text.splitlines() if line[:2] == "$ "]
    for line in [*typed, *shown]:
        for arguments in commands(line):
            parse(arguments)


@pytest.mark.parametrize("block", of("yaml"))
def test_objects_in_blocks_are_valid(block: Block) -> None:
    assert "apiVersion:" in block.text, "say what it is, or call the block text"
    load(block.text, str(block))


@pytest.mark.parametrize("block", of("python"))
def test_python_in_blocks_runs(block: Block, tmp_path: Path) -> None:
    """In a folder with a cluster.yaml; imports must resolve, warnings are errors."""
    environment = {**os.environ, "ANYKUBE_STATE_DIR": str(tmp_path / "state")}
    assert run(["init", "--yes", "--name", "documents", "-f", str(tmp_path / "cluster.yaml")]) == 0
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block.text],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file) if file else document
        assert path.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(path), f"{target}: no such heading"


def anchors(document: Path) -> set[str]:
    """Headings as links name them."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_files_and_codes_that_are_named_exist(document: Path) -> None:
    for code in inline_code(document):
        if re.fullmatch(r"\.?[\w-]+(/[\w.-]+)*/?(\.(py|md|json|yaml|txt|svg))?", code) and "/" in code:
            if code.partition("/")[0] not in FOLDERS:
                continue
            places = [root / code for root in (REPOSITORY, SOURCE, SOURCE.parent)]
            assert any(place.exists() for place in places), f"{code} is not there"
    known = set(re.findall(r"[A-Z]+-\d{3}", (REPOSITORY / "docs/errors.md").read_text()))
    named = set(re.findall(r"\b(?:SPEC|NET|PLAN|LOCK|ART|RUN|STATE|USE|WAIT)-\d{3}\b", document.read_text()))
    assert named <= known


FOLDERS = {path.name for root in (REPOSITORY, SOURCE) for path in root.iterdir() if path.is_dir()} | {
    "anykube"
}


def test_the_module_map_is_complete() -> None:
    text = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.partition("<!-- module map")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)/` \| (yes|no) \|", table, re.MULTILINE))
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert set(rows) == rooms
    modules = {path.name for path in SOURCE.glob("*.py")} - {"__init__.py"}
    assert {module for module in modules if f"`{module}`" not in text} == set()
    contracts = import_contracts()
    pure = contracts["importlinter:contract:pure"]["source_modules"].replace("anykube.", "").split()
    assert {room for room, answer in rows.items() if answer == "yes"} == set(pure) & rooms


def test_the_import_rule_is_the_one_that_is_checked() -> None:
    text = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
    shown = "".join(
        re.findall(r"^    .*$", text.partition("## The import rule")[2].partition("\n## ")[0], re.MULTILINE)
    )
    layers = import_contracts()["importlinter:contract:flow"]["layers"].strip().splitlines()
    checked = [set(re.findall(r"anykube\.(\w+)", layer)) for layer in layers]
    told = [set(re.findall(r"\w+", layer)) for layer in shown.split("→")]
    assert told == [layer - {"objectfile"} for layer in checked]


def import_contracts() -> configparser.ConfigParser:
    contracts = configparser.ConfigParser()
    contracts.read(REPOSITORY / ".importlinter")
    return contracts


def test_the_changelog_has_a_place_for_what_comes() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.search(r"^## (.+)$", text, re.MULTILINE)
    assert first and first[1] == "Unreleased"
    assert re.search(r"^- \S", text, re.MULTILINE)


def test_the_readme_names_the_versions_that_are_offered() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert f"Kubernetes {', '.join(MINORS)}" in text


def test_the_readme_shows_a_real_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(BAD_OBJECT, encoding="utf-8")
    assert run(["validate", "-f", "bad.yaml"]) == 1
    assert capsys.readouterr().err.strip() in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_decisions_are_numbered_and_complete() -> None:
    files = sorted((REPOSITORY / "docs/decisions").glob("*.md"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    for number, file in enumerate(files, 1):
        text = file.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. ")
        assert re.search(r"^Status: \w+, \d{4}-\d{2}-\d{2}\.$", text, re.MULTILINE)
        for part in ("Context", "Decision", "Consequences", "Non-goals"):
            assert f"\n**{part}.**" in text, f"{file.name}: {part}"

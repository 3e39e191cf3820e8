"""destroy leaves this machine as it was: interfaces, rules, mounts, control groups, processes, folders."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.e2e.story import MACHINES, Story, eventually, kill, telling, worker

from anykube.providers.lxc.addressing import bridge_name, interface_name

pytestmark = pytest.mark.e2e

OURS = re.compile("anykube|lxc|kube|e2e")
FOLDERS = (MACHINES.parent, Path("/run/lxc"), Path("/etc/systemd/system"), Path("/run/anykube"))


def _json(*argv: str) -> object:
    return json.loads(subprocess.run(argv, capture_output=True, check=True).stdout or b"[]")


def _tree(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        yield from (f"{place}/{name}" for name in (*folders, *files))


def _processes() -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield (folder / "cmdline").read_text().replace("\0", " ") + (folder / "cgroup").read_text()


def _rules() -> Iterator[str]:
    ruleset = _json("nft", "-j", "list", "ruleset")
    assert isinstance(ruleset, dict)
    for item in ruleset["nftables"]:
        for kind, body in item.items():
            yield kind + json.dumps({key: value for key, value in body.items() if key != "handle"})


def _links() -> Iterator[str]:
    links, routes = _json("ip", "-j", "link"), _json("ip", "-j", "route")
    assert isinstance(links, list) and isinstance(routes, list)
    yield from (f"{link['ifname']} {link.get('master', '')}" for link in links)
    yield from (f"route {route['dst']} {route.get('dev', '')}" for route in routes)


def traces(story: Story) -> dict[str, set[str]]:
    """Everything on this machine that a cluster could leave."""
    groups = (place for place, _, _ in os.walk("/sys/fs/cgroup"))
    found: dict[str, Iterable[str]] = {
        "links and routes": _links(),
        "nft": _rules(),
        "mounts": Path("/proc/mounts").read_text().splitlines(),
        "control groups": (place for place in groups if OURS.search(place)),
        "processes": (line for line in _processes() if OURS.search(line)),
        "folders": (path for folder in FOLDERS for path in _tree(folder)),
        "state": _tree(story.state),
    }
    return {kind: set(items) for kind, items in found.items()}


def left(story: Story, before: dict[str, set[str]]) -> str:
    """What is there now and was not before, as text.

    While others run containers here, too, only what bears one of this cluster's names counts.
    """
    now = traces(story)
    more = {kind: now[kind] - before[kind] for kind in now}
    shared = any("[lxc monitor]" in line and story.name not in line for line in now["processes"])
    if shared:
        more = {kind: {item for item in items if _bears_name(story, item)} for kind, items in more.items()}
    found = {kind: sorted(items) for kind, items in more.items() if items}
    return json.dumps(found, indent=1) if found else ""


def _bears_name(story: Story, item: str) -> bool:
    nodes = MACHINES / story.name / "nodes"
    cables = [interface_name(nodes / story.node(pool)) for pool in ("cp", "worker")]
    return any(name in item for name in (story.name, bridge_name(story.name), *cables))


@pytest.fixture
def fresh(alone: None, tmp_path: Path) -> Iterator[Story]:
    """A cluster that is not there yet."""
    with telling("e2e-destroy", tmp_path) as story:
        story.write(worker())
        yield story


def test_a_whole_cluster_leaves_nothing(fresh: Story) -> None:
    before = traces(fresh)
    fresh.apply()
    during = left(fresh, before)
    for kind in before.keys() - {"mounts"}:
        assert f'"{kind}"' in during, f"the search would not see {kind}"
    answer = fresh.run("destroy", "-c", fresh.name, "--yes")
    assert f"{fresh.name} is gone" in answer.stderr
    eventually(lambda: left(fresh, before), 10)
    again = fresh.run("destroy", "-f", str(fresh.file), "--yes")
    assert "nothing was there" in again.stderr
    fresh.run("destroy", "-c", fresh.name, "--yes", status=64)
    assert left(fresh, before) == ""


@pytest.mark.parametrize(
    ("phase", "event"), [("artifacts", 1), ("provision", 6), ("provision", 10), ("bootstrap", 9)]
)
def test_a_half_made_cluster_leaves_nothing(fresh: Story, phase: str, event: int) -> None:
    before = traces(fresh)
    kill(fresh.run_to(phase, event))
    fresh.run("destroy", "-f", str(fresh.file), "--yes")
    eventually(lambda: left(fresh, before), 10)


def test_a_cluster_whose_record_is_lost_can_still_be_destroyed(fresh: Story) -> None:
    before = traces(fresh)
    kill(fresh.run_to("bootstrap", 3))
    subprocess.run(["rm", "-r", fresh.state], check=True)
    fresh.run("destroy", "-f", str(fresh.file), "--yes")
    eventually(lambda: left(fresh, before), 10)

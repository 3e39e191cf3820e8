"""destroy leaves the machines as they were before apply, whatever interrupts it; what is not ours stays."""

from __future__ import annotations

import pytest
from tests.simulated.checks import identity
from tests.simulated.kills import Case, kill_cases, sample
from tests.simulated.site import NAME, DryRun, Site
from tests.simulated.test_kills import all_survive, killed
from tests.simulated.trees import tree

FOREIGN = {
    "etc/cni/net.d/00-foreign.conflist": "{}\n",
    "usr/local/bin/backup": "#!/bin/sh\n",
    "opt/vendor/tool": "x\n",
    "etc/systemd/system/foreign.service": "[Service]\nExecStart=/bin/true\n",
}
FAST = 3


def _as_before(site: Site) -> None:
    """Every host is what it was when fresh, but for the foreign files."""
    for name, host in site.hosts.items():
        for path, text in FOREIGN.items():
            assert host.path(path).read_text() == text, f"{path} of {name}"
            host.path(path).unlink()
        now, before = tree(host), site.fresh_trees[name]
        foreign_folders = {str(parent) for path in FOREIGN for parent in _parents(path)}
        different = {
            path: (before.get(path), now.get(path))
            for path in before.keys() | now.keys()
            if now.get(path) != before.get(path) and path not in foreign_folders
        }
        assert different == {}, f"{name} is not as it was"
    assert not (site.state / NAME).exists()
    assert [path.name for path in site.state.iterdir()] == []


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _place_foreign(site: Site) -> None:
    for host in site.hosts.values():
        for path, text in FOREIGN.items():
            host.path(path).parent.mkdir(parents=True, exist_ok=True)
            host.path(path).write_text(text)


def _survives(site: Site, case: Case) -> None:
    site.restore("up")
    _place_foreign(site)
    ended = killed(site, case, "destroy")
    assert ended.killed or (case.kind == "command" and ended.status == 0), f"{case}: {ended}"
    site.quiet()
    again = site.destroy()
    assert again.status == 0, f"after {case}: {again.error}"
    site.quiet()
    _as_before(site)


def _cases(site: Site) -> list[Case]:
    """The points of a destroy."""
    events = site.destroy().check().events
    return kill_cases(DryRun(events, {name: len(host.commands) for name, host in site.hosts.items()}))


def test_everything_goes_and_nothing_else(up: Site) -> None:
    _place_foreign(up)
    up.destroy().check()
    _as_before(up)


def test_what_was_there_before_apply_stays(fresh: Site) -> None:
    _place_foreign(fresh)
    fresh.apply().check()
    fresh.destroy().check()
    _as_before(fresh)


def test_killed_at_some_points_the_next_destroy_finishes(up: Site) -> None:
    for case in sample(_cases(up), FAST):
        _survives(up, case)


def test_a_bring_up_that_was_killed_can_be_destroyed(fresh: Site) -> None:
    fresh.apply(kill_at=("StepDone", "node-1/etcd"))
    assert identity(fresh).epoch == 1
    fresh.quiet()
    _place_foreign(fresh)
    fresh.destroy().check()
    _as_before(fresh)


def test_a_second_destroy_has_nothing_to_do(up: Site) -> None:
    _place_foreign(up)
    up.destroy().check()
    up.destroy().check()
    _as_before(up)


@pytest.mark.soak
def test_killed_at_every_point_the_next_destroy_finishes(up: Site) -> None:
    cases = _cases(up)
    print(f"{len(cases)} kill points")
    all_survive(cases, lambda case: _survives(up, case))

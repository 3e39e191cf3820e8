"""What a person changes on a node shows in the plan with its reason and is repaired, and nothing else."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from tests.simulated.checks import finished
from tests.simulated.site import Site, opened
from tests.simulated.trees import tree

from anykube.testing import SimulatedHost

CONFIG = "/etc/containerd/config.toml"
KUBELET = "/etc/kubernetes/kubelet.conf"
UNIT = "/etc/systemd/system/kubelet.service"
KEY = "/etc/kubernetes/pki/kubelet.key"
CERTIFICATE = "/etc/kubernetes/pki/kubelet.crt"
EPOCH = "var/lib/anykube/owner"
STAMPS_FOLDER = "var/lib/anykube/stamps"
MANY = 50
NO_OP_TRIPS = 1


@dataclass(frozen=True, slots=True)
class Edit:
    """A change by hand on node-2, the changes that the plan shows, and what happens to units."""

    name: str
    do: Callable[[SimulatedHost], object]
    changes: tuple[str, ...]
    history: tuple[str, ...] = ()


def _stop(host: SimulatedHost) -> None:
    host.path("/run/simulated/active/kubelet.service").unlink()


def _disable(host: SimulatedHost) -> None:
    host.path("/etc/systemd/system/multi-user.target.wants/kubelet.service").unlink()


def _append(path: str) -> Callable[[SimulatedHost], object]:
    def edit(host: SimulatedHost) -> None:
        with host.path(path).open("a") as file:
            file.write("# by hand\n")

    return edit


EDITS = (
    Edit("edited file", _append(CONFIG), (f"update file {CONFIG}: edited on the node",)),
    Edit("removed file", lambda host: host.path(KUBELET).unlink(), (f"create file {KUBELET}: missing",)),
    Edit(
        "changed mode",
        lambda host: host.path(KEY).chmod(0o644),
        (f"update file {KEY}: mode is 644, should be 600",),
    ),
    Edit(
        "stopped unit",
        _stop,
        ("restart unit kubelet.service: is inactive",),
        ("restart kubelet.service", "start kubelet.service"),
    ),
    Edit("disabled unit", _disable, ("start unit kubelet.service: would not start at boot",)),
    Edit(
        "edited unit file",
        _append(UNIT),
        (
            f"update file {UNIT}: edited on the node",
            "restart unit kubelet.service: its unit file changed on the node",
        ),
        ("restart kubelet.service", "stop kubelet.service", "start kubelet.service"),
    ),
    Edit(
        "other certificate",
        lambda host: host.path(CERTIFICATE).write_bytes(host.path("/etc/kubernetes/pki/ca.crt").read_bytes()),
        # No etcd answers on these hosts: then certificates are put right by the renew phase, before all else.
        (
            f"update file {CERTIFICATE}: its certificate is made anew",
            f"restart unit kubelet.service: {CERTIFICATE} changes",
        ),
        ("restart kubelet.service", "stop kubelet.service", "start kubelet.service"),
    ),
    Edit(
        "other binary",
        _append("/usr/local/bin/kubelet"),
        ("update file /usr/local/bin/kubelet: is not the locked kubelet",),
    ),
)


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """Paths that are not the same; stamps are made anew when a tree was put back."""
    paths = (path for path in before.keys() | after.keys() if not path.startswith(STAMPS_FOLDER))
    return {path for path in paths if before.get(path) != after.get(path)}


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_it_is_named_and_repaired_and_nothing_else(up: Site, edit: Edit) -> None:
    worker, other = up.hosts["node-2"], up.hosts["node-1"]
    before, running = {name: tree(host) for name, host in up.hosts.items()}, tuple(worker.unit_history)
    untouched = tuple(other.unit_history)
    edit.do(worker)
    shown = [line for line in up.plan().check().changes if " wait " not in line]
    assert shown == [f"node-2 {line}" for line in edit.changes]
    up.apply().check()
    assert up.plan().check().empty
    assert tuple(worker.unit_history)[len(running) :] == edit.history
    assert tuple(other.unit_history) == untouched
    for name, host in up.hosts.items():
        assert _differing(before[name], tree(host)) == ({EPOCH} if host is worker else set()), name


def test_a_run_that_ends_between_a_file_and_its_restart_is_seen_by_the_next(up: Site) -> None:
    worker = up.hosts["node-2"]
    _append(CONFIG)(worker)
    record = worker.path("/run/anykube/inputs/containerd.service")
    edited = hashlib.sha256(worker.path(CONFIG).read_bytes()).hexdigest()
    record.write_text(re.sub(rf"\w+  {CONFIG}", f"{edited}  {CONFIG}", record.read_text()))
    worker.faults.fail_command = 3  # the probe, the file, the restart
    assert "node-2/containerd" in up.apply().check(3).error
    restart = f"node-2 restart unit containerd.service: runs with another {CONFIG}"
    assert up.plan().check().changes == [restart]
    up.apply().check()
    assert up.plan().check().empty
    finished(up, starts=False)


def test_an_apply_that_has_nothing_to_do_asks_each_host_once(up: Site) -> None:
    before = {name: tree(host) for name, host in up.hosts.items()}
    ended = up.apply().check()
    assert ended.empty
    assert ended.events == ()
    assert [len(host.commands) for host in up.hosts.values()] == [NO_OP_TRIPS] * 2
    for name, host in up.hosts.items():
        assert _differing(before[name], tree(host)) == set()


@pytest.mark.soak
def test_an_apply_that_has_nothing_to_do_on_fifty_hosts() -> None:
    with opened(MANY) as site:
        site.apply().check()
        for host in site.hosts.values():
            host.commands.clear()
        started = time.monotonic()
        assert site.apply().check().empty
        print(f"no-op apply of {MANY} simulated hosts: {time.monotonic() - started:.2f} s")
        assert {len(host.commands) for host in site.hosts.values()} == {NO_OP_TRIPS}

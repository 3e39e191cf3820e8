"""Trouble while members of etcd change, with a real etcd on simulated hosts: what dies, freezes, is cut off.

A run may fail, and then says why; the next one finishes, and no acknowledged write is lost.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from tests.simulated.kills import SEED
from tests.simulated.members import ETCD, MemberSite, why_no_etcd
from tests.simulated.operations import GROW, LAYOUTS, keep_states
from tests.simulated.site import Ended, address_of, opened_as
from tests.simulated.watchers import recovered, watched

pytestmark = pytest.mark.skipif(bool(why_no_etcd()), reason=why_no_etcd() or "available")
ADD = "member add"
PROMOTE = "member promote"
START = "etcd.service"
"""What commands say that change members, or start one."""
FROZEN_SECONDS = 4


@pytest.fixture(scope="module")
def _three() -> Iterator[MemberSite]:
    with opened_as(MemberSite, 3) as site:
        keep_states(site, "one")
        yield site


@pytest.fixture
def one(_three: MemberSite) -> Iterator[MemberSite]:
    """One member, and two hosts that are to have the others."""
    GROW.begin(_three)
    yield _three
    for name, host in _three.hosts.items():
        _three.network.mend(address_of(name))
        host.units.signal(ETCD, signal.SIGCONT)


@contextlib.contextmanager
def at_command(site: MemberSite, words: str, host: str, action: Callable[[], None]) -> Iterator[None]:
    """Do something once, when a command with these words reaches a host ('' for any)."""
    waiting = [action]
    usual = {name: each.on_command for name, each in site.hosts.items()}

    def look(name: str) -> None:
        if earlier := usual[name]:
            earlier()
        if waiting and host in ("", name) and words in _words(site.hosts[name].commands[-1]):
            waiting.pop()()

    for name, each in site.hosts.items():
        each.on_command = lambda name=name: look(name)
    try:
        yield
    finally:
        for name, each in site.hosts.items():
            each.on_command = usual[name]
    assert not waiting, f"no command with {words!r} came"


def _words(command: str) -> str:
    """The arguments of a command, without its script."""
    return " ".join(command.rpartition("anykube")[2].replace("'", "").split()[2:])


def _grow(site: MemberSite) -> Ended:
    return site.apply(text=site.object_text(LAYOUTS["three"]))


@pytest.mark.e2e
def test_a_learner_that_never_comes_up_is_named_and_the_next_run_finishes(one: MemberSite) -> None:
    flag = one.hosts["node-2"].path(f"/etc/simulated/fail/{ETCD}")
    flag.touch()
    with watched(one) as watch:
        ended = _grow(one).check(3)
        assert "node-2" in ended.error
        assert "the simulation was told so" in ended.error
        assert "node-3" not in ended.error, "a node whose turn never came was waited for"
        assert not [step for step in watch.sampler.lists if "node-3" in step.split()], (
            "joined beside a dead one"
        )
        flag.unlink()
        GROW.finish(one)
    GROW.check(one, watch)


@pytest.mark.soak
def test_members_are_killed_all_the_time(one: MemberSite) -> None:
    chance = random.Random(SEED)
    print(f"ANYKUBE_TEST_SEED={SEED}")
    stop, killed = threading.Event(), list[str]()

    def loop() -> None:
        while not stop.wait(chance.uniform(0.3, 1.0)):
            name = chance.choice(list(one.hosts))
            if one.hosts[name].units.signal(ETCD, signal.SIGKILL):
                killed.append(name)

    killer = threading.Thread(target=loop)
    with watched(one) as watch:
        killer.start()
        ended = _grow(one)
        stop.set()
        killer.join()
        print(f"{len(killed)} kills, status {ended.status}, {ended.error}")
        assert ended.status in (0, 3)
        recovered(one)
        GROW.finish(one)
    GROW.check(one, watch, healthy=False)


@pytest.mark.soak
@pytest.mark.parametrize("frozen", ["node-1", "node-2"])
@pytest.mark.parametrize("words", [ADD, PROMOTE])
def test_a_member_freezes_during_a_join(one: MemberSite, frozen: str, words: str) -> None:
    host = one.hosts[frozen]
    thaw = threading.Timer(FROZEN_SECONDS, host.units.signal, (ETCD, signal.SIGCONT))

    def freeze() -> None:
        host.units.signal(ETCD, signal.SIGSTOP)
        thaw.start()

    with watched(one) as watch:
        with at_command(one, words, "", freeze):
            ended = _grow(one)
        assert ended.status in (0, 3), ended.error
        thaw.join()
        recovered(one)
        GROW.finish(one)
    GROW.check(one, watch, healthy=False)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(6))
def test_ssh_is_cut_at_a_random_byte_during_a_join(one: MemberSite, number: int) -> None:
    chance = random.Random(SEED + number)
    count = int(10 ** chance.uniform(2, 7.5))
    name = chance.choice(["node-1", "node-2"])
    print(f"ANYKUBE_TEST_SEED={SEED} {name} after {count} bytes")
    with watched(one) as watch:
        one.hosts[name].faults.cut_after_bytes = count
        ended = _grow(one)
        one.hosts[name].faults.cut_after_bytes = None
        assert ended.status in (0, 3), ended.error
        assert ended.status == 0 or name in ended.error
        one.quiet()
        GROW.finish(one)
    GROW.check(one, watch)


@pytest.mark.soak
@pytest.mark.parametrize("words", [ADD, START, PROMOTE])
def test_a_host_is_cut_off_half_open_during_a_join(one: MemberSite, words: str) -> None:
    """Nothing arrives from it any more, and nobody is told: SSH must notice by itself."""
    host = "node-2" if words == START else "node-1"
    with watched(one) as watch:
        with at_command(one, words, host, lambda: one.network.cut(address_of(host))):
            ended = _grow(one)
        one.network.mend(address_of(host))
        assert ended.status == 3, ended.error
        assert host in ended.error
        one.quiet()
        recovered(one)
        GROW.finish(one)
    GROW.check(one, watch, healthy=False)

"""The hand on a node, on simulated hosts: real shell, real tar, real files; cut and killed at every point."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from anykube.content.model import ArtifactFile, File, SecretPart, Source, Text
from anykube.content.paths import LEDGER, ORIGINALS, OWNER, STAMP_THRESHOLD, STAMPS, STATE
from anykube.errors import AnykubeError, ArtifactError, CommandError, FencedError, TransportError
from anykube.execute import archive
from anykube.execute.node import NodeHand
from anykube.facts.host import HostFacts
from anykube.observe.hosts import probe_hosts
from anykube.testing import SimulatedHost, simulated_hosts, why_unavailable
from anykube.transports.ssh import SSHTransport

pytestmark = pytest.mark.skipif(bool(why_unavailable()), reason=why_unavailable() or "available")

UNIT = """[Service]
ExecStartPre=-+/bin/sh -c \\
    "mkdir -p /run/anykube/inputs && sha256sum /etc/app/config >/run/anykube/inputs/app.service"
ExecStart=/usr/local/bin/app --config /etc/app/config
[Install]
WantedBy=multi-user.target
"""
APP = File("/usr/local/bin/app", Text("#!/bin/sh\n"), "755")
UNIT_FILE = File("/etc/systemd/system/app.service", Text(UNIT), "600")
CONFIG = File("/etc/app/config", Text("colour: blue\n"), "640")


def resolve(source: Source) -> tuple[bytes | Path, str]:
    match source:
        case Text(value):
            content: bytes | Path = value.encode()
        case SecretPart(secret, part):
            content = f"{secret}/{part}".encode()
        case ArtifactFile(artifact):
            content = Path(artifact)
    data = content if isinstance(content, bytes) else content.read_bytes()
    return content, hashlib.sha256(data).hexdigest()


@pytest.fixture
async def host() -> AsyncIterator[SimulatedHost]:
    async with simulated_hosts(1) as hosts:
        yield hosts[0]


@pytest.fixture
async def transport(host: SimulatedHost) -> AsyncIterator[SSHTransport]:
    transport = host.transport()
    yield transport
    await transport.close()


@pytest.fixture
def hand(transport: SSHTransport) -> NodeHand:
    return NodeHand(transport, "lineage-a", 5, resolve)


async def look(transport: SSHTransport, *units: str) -> HostFacts:
    facts = (await probe_hosts({"node": transport}, [], units))["node"]
    assert isinstance(facts, HostFacts), facts
    return facts


def temporaries(host: SimulatedHost) -> list[Path]:
    return list(host.root.rglob("*.anykube-new")) + list(host.path(STATE).glob("*.new"))


def everything(host: SimulatedHost) -> dict[str, tuple[int, bytes]]:
    """Every file and folder of the tree that a node would keep, with its mode and content."""
    found = {}
    for path in sorted(host.root.rglob("*")):
        name = f"/{path.relative_to(host.root)}"
        if not name.startswith(("/run/simulated", "/var/log/simulated", "/bin/", "/dev/", "/lib")):
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[name] = (path.lstat().st_mode, data)
    return found


# --- put -------------------------------------------------------------------------------------------


async def test_files_and_folders_are_placed_as_told_in_one_round_trip(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand
) -> None:
    secret = File("/etc/kubernetes/pki/a key", SecretPart("ca", "key"), "600", "etcd:etcd")
    await hand.put([CONFIG, APP, secret], [("700", "etcd:etcd", "/var/lib/etcd")])
    assert transport.round_trips == 1
    assert host.path(CONFIG.path).read_text() == "colour: blue\n"
    assert host.path(secret.path).read_bytes() == b"ca/key"
    modes = {file.path: host.path(file.path).stat() for file in (CONFIG, APP, secret)}
    assert [oct(found.st_mode)[-3:] for found in modes.values()] == ["640", "755", "600"]
    assert [found.st_uid for found in modes.values()] == [0, 0, 990]
    folder = host.path("/var/lib/etcd").stat()
    assert (oct(folder.st_mode)[-3:], folder.st_uid, folder.st_gid) == ("700", 990, 990)
    assert oct(host.path("/etc/kubernetes").stat().st_mode)[-3:] == "755"
    assert temporaries(host) == []
    assert host.path(OWNER).read_text() == "lineage-a 5\n"


async def test_the_ledger_holds_what_was_not_there_before(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand
) -> None:
    host.path("/etc/app").mkdir()
    host.path("/etc/app/config").write_text("foreign\n")
    host.path("/etc/app/other").write_text("foreign\n")
    host.path("/var/lib/data").mkdir()
    folders = [("755", "root:root", "/etc/app"), ("700", "root:root", "/var/lib/data")]
    tool = File("/opt/tools/bin/tool", Text("x"), "755")
    await hand.put([CONFIG, tool], folders)
    await hand.put([CONFIG, tool], folders)
    ours = {tool.path, "/opt/tools/bin", "/opt/tools", "/opt", CONFIG.path}
    ledger = (await look(transport)).ledger
    assert ledger.paths == ours
    assert ledger.traces == {f"original {CONFIG.path}", "mode /var/lib/data 755 root:root"}
    assert host.path(LEDGER).read_text().splitlines() == sorted(
        host.path(LEDGER).read_text().split("\n")[:-1]
    )


async def test_a_file_that_is_replaced_stays_ours(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand
) -> None:
    await hand.put([CONFIG])
    await hand.put([File(CONFIG.path, Text("colour: red\n"))])
    assert CONFIG.path in (await look(transport)).ledger.paths
    assert host.path(CONFIG.path).read_text() == "colour: red\n"


async def test_a_link_is_replaced_and_not_followed(host: SimulatedHost, hand: NodeHand) -> None:
    host.path("/etc/app").mkdir()
    host.path("/etc/precious").write_text("keep")
    host.path(CONFIG.path).symlink_to("/etc/precious")
    await hand.put([CONFIG])
    assert not host.path(CONFIG.path).is_symlink()
    assert host.path("/etc/precious").read_text() == "keep"


async def test_a_folder_in_the_place_of_a_file_is_refused(host: SimulatedHost, hand: NodeHand) -> None:
    host.path(CONFIG.path).mkdir(parents=True)
    before = host.path(APP.path).exists()
    with pytest.raises(CommandError, match="placing 2 files"):
        await hand.put([APP, CONFIG])
    assert host.path(CONFIG.path).is_dir()
    assert host.path(APP.path).exists() == before
    assert temporaries(host) == []


async def test_an_unknown_owner_is_refused_before_anything_is_placed(
    host: SimulatedHost, hand: NodeHand
) -> None:
    with pytest.raises(CommandError) as caught:
        await hand.put([APP, File("/etc/x", Text("x"), "600", "nobody-here:root")])
    assert "nobody-here" in caught.value.stderr
    assert not host.path(APP.path).exists()
    assert temporaries(host) == []


async def test_other_bytes_than_announced_are_refused(host: SimulatedHost, transport: SSHTransport) -> None:
    hand = NodeHand(transport, "lineage-a", 5, lambda source: (b"tampered", "0" * 64))
    host.path("/etc/app").mkdir()
    host.path(CONFIG.path).write_text("old")
    with pytest.raises(CommandError) as caught:
        await hand.put([CONFIG])
    assert "not what was sent" in caught.value.stderr
    assert host.path(CONFIG.path).read_text() == "old"
    assert temporaries(host) == []


HOSTILE = [
    "/etc/$(touch x);y",
    "/etc/`id` 'q' \"d\"",
    "/etc/-rf",
    "/etc/näme 漢字",
    "/etc/*?[a]",
    "/etc/" + "n" * 200,
]


async def test_hostile_names_are_names(host: SimulatedHost, transport: SSHTransport, hand: NodeHand) -> None:
    await hand.put([File(path, Text(path)) for path in HOSTILE])
    assert [host.path(path).read_text() for path in HOSTILE] == HOSTILE
    facts = await look(transport)
    assert set(HOSTILE) <= facts.files.keys()
    await hand.remove(HOSTILE)
    assert not any(host.path(path).exists() for path in HOSTILE)
    assert not list(host.root.glob("x")) + list(host.root.glob("root/x"))


@pytest.mark.parametrize("path", ["etc/x", "/etc/../x", "/etc/a\nb", "/etc/x/", "/", "/a\\b", "/./x"])
async def test_paths_that_are_none_are_refused_here(
    transport: SSHTransport, hand: NodeHand, path: str
) -> None:
    with pytest.raises(ValueError, match="path"):
        await hand.put([File(path, Text("x"))])
    with pytest.raises(ValueError, match="path"):
        await hand.remove([path])
    assert transport.round_trips == 0


async def test_a_large_file_is_streamed_and_stamped(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(os.urandom(STAMP_THRESHOLD + 1))
    await hand.put([File("/usr/local/bin/big one", ArtifactFile(str(tmp_path / "large")), "755")])
    sha256 = hashlib.sha256((tmp_path / "large").read_bytes()).hexdigest()
    stamp = host.path(f"{STAMPS}/%usr%local%bin%big one")
    identity, noted = stamp.read_text().split()
    assert noted == sha256
    # The probe believes it only while it names the file as it is: so both mean the same file.
    stamp.write_text(f"{identity} {'d' * 64}\n")
    assert (await look(transport)).files["/usr/local/bin/big one"].sha256 == "d" * 64


async def test_a_source_that_shrinks_while_it_is_sent(
    host: SimulatedHost, hand: NodeHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 3_000_000)
    header = archive._header

    def shrinking(parcel: archive.Parcel) -> bytes:
        os.truncate(large, 1_000_000)
        return header(parcel)

    monkeypatch.setattr(archive, "_header", shrinking)
    with pytest.raises(ArtifactError):
        await hand.put([File(APP.path, ArtifactFile(str(large)))])
    await host.quiet()
    assert not host.path(APP.path).exists()
    assert temporaries(host) == []


async def test_a_source_that_cannot_be_read(transport: SSHTransport, tmp_path: Path) -> None:
    hand = NodeHand(transport, "lineage-a", 5, lambda source: (tmp_path / "gone", "0" * 64))
    with pytest.raises(ArtifactError) as caught:
        await hand.put([APP])
    assert not caught.value.retryable


OLD = {f"/etc/app/{name}": f"old {name}\n" for name in ("one", "two", "three")}
NEW = [File(path, Text("new " + "n" * 3000)) for path in OLD]


def _cuts() -> Iterator[int]:
    parcels = [archive.pack(file, *resolve(file.source)) for file in NEW]
    head = len(archive.manifest(parcels, ()))
    whole = head + 3 * (512 + 3072) + 1024
    yield from (1, head - 1, head, head + 100, head + 512, head + 512 + 3004, head + 3584 + 512 + 10)
    yield from (whole - 1025, whole - 1024, whole - 512, whole - 1, whole)


@pytest.mark.parametrize("position", [*_cuts()])
async def test_a_connection_cut_anywhere_leaves_old_or_new(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand, position: int
) -> None:
    host.path("/etc/app").mkdir()
    for path, text in OLD.items():
        host.path(path).write_text(text)
    host.faults.cut_after_bytes = position
    with pytest.raises(TransportError):
        await hand.put(NEW)
    await host.quiet()
    texts = [host.path(path).read_text() for path in OLD]
    assert texts in (list(OLD.values()), ["new " + "n" * 3000] * 3)
    assert temporaries(host) == []
    host.faults.cut_after_bytes = None
    await hand.put(NEW)
    assert {host.path(path).read_text() for path in OLD} == {"new " + "n" * 3000}


# --- the fence -------------------------------------------------------------------------------------


def _all_verbs(hand: NodeHand) -> list[Callable[[], Awaitable[None]]]:
    return [
        lambda: hand.put([CONFIG]),
        lambda: hand.remove([CONFIG.path]),
        lambda: hand.set_unit("app.service", "started"),
        lambda: hand.set_unit("app.service", "absent"),
        lambda: hand.clean(),
    ]


@pytest.mark.parametrize("owner", ["lineage-a 6", "lineage-b 1", "lineage-a x", "lineage-a " + "9" * 40, "x"])
async def test_a_newer_run_or_another_cluster_is_respected(
    host: SimulatedHost, hand: NodeHand, owner: str
) -> None:
    await hand.put([APP])
    host.path(OWNER).write_text(f"{owner}\n")
    before = everything(host)
    for verb in _all_verbs(hand):
        with pytest.raises(FencedError):
            await verb()
        assert everything(host) == before


async def test_a_newer_run_takes_over(host: SimulatedHost, transport: SSHTransport, hand: NodeHand) -> None:
    await hand.put([APP])
    await NodeHand(transport, "lineage-a", 6, resolve).put([CONFIG])
    assert (await look(transport)).ledger.epoch == 6
    with pytest.raises(FencedError) as caught:
        await hand.put([CONFIG])
    assert "newer" in caught.value.brief
    assert caught.value.exit_status == 4


async def test_a_newer_run_that_comes_while_files_arrive_stops_the_older(
    host: SimulatedHost, transport: SSHTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    older = NodeHand(transport, "lineage-a", 5, resolve)
    newer = NodeHand(transport, "lineage-a", 6, resolve)
    content = archive._content

    async def overtaken(parcel: archive.Parcel) -> AsyncIterator[bytes]:
        async for piece in content(parcel):
            yield piece
        if parcel.file.path == "/etc/late":
            while not host.path(OWNER).exists():
                await asyncio.sleep(0.01)
            await newer.put([APP])

    monkeypatch.setattr(archive, "_content", overtaken)
    with pytest.raises(FencedError):
        await older.put([File("/etc/late", ArtifactFile(str(tmp_path / "large")))])
    assert not host.path("/etc/late").exists()
    assert host.path(APP.path).exists()
    assert temporaries(host) == []


async def test_calls_at_once_lose_no_line_of_the_ledger(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand
) -> None:
    files = [File(f"/etc/app/{number}", Text("x")) for number in range(12)]
    await asyncio.gather(*(hand.put([file]) for file in files))
    assert {file.path for file in files} <= (await look(transport)).ledger.paths


# --- remove ----------------------------------------------------------------------------------------


async def test_only_what_is_ours_is_removed(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand
) -> None:
    await hand.put([APP, CONFIG])
    host.path("/etc/foreign").write_text("keep")
    await hand.remove([CONFIG.path, "/etc/foreign", "/etc/absent"])
    await hand.remove([CONFIG.path])
    assert not host.path(CONFIG.path).exists()
    assert host.path("/etc/foreign").exists()
    ledger = (await look(transport)).ledger.paths
    assert CONFIG.path not in ledger
    assert APP.path in ledger


# --- units -----------------------------------------------------------------------------------------


async def test_a_unit_is_started_enabled_and_noted(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand
) -> None:
    await hand.put([UNIT_FILE, APP, CONFIG])
    await hand.set_unit("app.service", "started")
    await hand.set_unit("app.service", "started")
    facts = await look(transport)
    unit = facts.units["app.service"]
    assert (unit.running, unit.enabled, unit.needs_reload) == (True, True, False)
    assert unit.inputs == {CONFIG.path: hashlib.sha256(b"colour: blue\n").hexdigest()}
    assert host.unit_history == ["start app.service"]
    assert facts.ledger.units == {"app.service"}


async def test_a_changed_unit_is_loaded_again_and_restarted(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand
) -> None:
    await hand.put([UNIT_FILE, APP, CONFIG])
    await hand.set_unit("app.service", "started")
    await hand.put([File(UNIT_FILE.path, Text(UNIT + "# new\n"))])
    assert (await look(transport)).units["app.service"].needs_reload
    await hand.set_unit("app.service", "restarted")
    assert not (await look(transport)).units["app.service"].needs_reload
    assert "restart app.service" in host.unit_history


async def test_a_unit_whose_file_is_removed_is_known_no_more(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand
) -> None:
    await hand.put([UNIT_FILE, APP, CONFIG])
    await hand.set_unit("app.service", "started")
    await hand.set_unit("app.service", "absent")
    await hand.remove([UNIT_FILE.path])
    assert (await look(transport, "app.service")).units["app.service"].load == "not-found"


RELOADED = UNIT + "ExecReload=/bin/sh -c 'echo again >>/tmp/reloads'\n"


async def test_a_reload_takes_over_inputs_and_restarts_nothing(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand
) -> None:
    await hand.put([File(UNIT_FILE.path, Text(RELOADED)), APP, CONFIG])
    await hand.set_unit("app.service", "started")
    await hand.set_unit("app.service", "reloaded")
    assert host.unit_history == ["start app.service", "reload app.service"]
    assert host.path("/tmp/reloads").read_text() == "again\n"


async def test_a_reload_of_what_does_not_run_starts_it(host: SimulatedHost, hand: NodeHand) -> None:
    await hand.put([File(UNIT_FILE.path, Text(RELOADED)), APP, CONFIG])
    await hand.set_unit("app.service", "reloaded")
    assert host.unit_history == ["restart app.service", "start app.service"]


async def test_a_stopped_unit_keeps_its_files_and_stays_ours(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand
) -> None:
    await hand.put([UNIT_FILE, APP, CONFIG])
    await hand.set_unit("app.service", "started")
    for _ in range(2):
        await hand.set_unit("app.service", "stopped")
        facts = await look(transport)
        unit = facts.units["app.service"]
        assert (unit.running, unit.enabled, unit.load) == (False, True, "loaded")
        assert facts.ledger.units == {"app.service"}
    await hand.set_unit("never-was.service", "stopped")


async def test_a_unit_that_does_not_start_says_why(host: SimulatedHost, hand: NodeHand) -> None:
    await hand.put([UNIT_FILE, CONFIG])
    with pytest.raises(CommandError) as caught:
        await hand.set_unit("app.service", "started")
    assert "app.service started" in caught.value.brief
    assert "failed" in caught.value.stderr
    assert "/usr/local/bin/app is not there" in caught.value.stderr
    await hand.put([APP])
    await hand.set_unit("app.service", "started")
    assert host.unit_history[-1] == "start app.service"


async def test_a_unit_that_is_not_there(hand: NodeHand) -> None:
    with pytest.raises(CommandError):
        await hand.set_unit("app.service", "started")
    await hand.set_unit("app.service", "absent")


async def test_an_absent_unit_is_stopped_and_forgotten(
    host: SimulatedHost, transport: SSHTransport, hand: NodeHand
) -> None:
    await hand.put([UNIT_FILE, APP, CONFIG])
    await hand.set_unit("app.service", "started")
    await hand.set_unit("app.service", "absent")
    facts = await look(transport, "app.service")
    assert not facts.units["app.service"].running
    assert not facts.units["app.service"].enabled
    assert facts.units["app.service"].inputs == {}
    assert facts.ledger.units == frozenset()


# --- clean -----------------------------------------------------------------------------------------


async def _used(host: SimulatedHost, hand: NodeHand) -> dict[str, tuple[int, bytes]]:
    """A node with foreign things on it, then used by us; answers what it was before."""
    host.path("/etc/foreign").write_text("keep")
    host.path("/opt").mkdir()
    host.path("/var/lib/etcd").mkdir()
    host.path("/etc/app").mkdir(mode=0o750, exist_ok=True)
    host.path(CONFIG.path).write_text("theirs\n")
    before = everything(host)
    etcd = File("/etc/systemd/system/etcd.service", Text(UNIT))
    folders = [("755", "root:root", "/etc/app")]
    await hand.put([UNIT_FILE, etcd, APP, CONFIG, File("/opt/cni/bin/bridge", Text("x"), "755")], folders)
    await hand.set_unit("app.service", "started")
    await hand.set_unit("etcd.service", "started")
    host.path("/var/lib/etcd/member/wal").mkdir(parents=True, exist_ok=True)
    host.path("/var/lib/etcd/member/wal/0.wal").write_text("data")
    return before


def _is_clean(host: SimulatedHost, before: dict[str, tuple[int, bytes]]) -> None:
    after = everything(host)
    # Empty folders may go or stay: systemd's own, and one that was there and then held our data.
    for path in ("/etc/systemd/system/multi-user.target.wants", "/var/lib/etcd"):
        assert path not in after or not list(host.path(path).iterdir())
        before.pop(path, None)
        after.pop(path, None)
    assert after == before
    assert list(host.path("/run/simulated/active").iterdir()) == []


async def test_clean_removes_ours_and_nothing_else(host: SimulatedHost, hand: NodeHand) -> None:
    before = await _used(host, hand)
    await hand.clean()
    _is_clean(host, before)
    await hand.clean()
    _is_clean(host, before)


async def test_data_that_was_there_before_us_stays(host: SimulatedHost, hand: NodeHand) -> None:
    host.path("/var/lib/etcd").mkdir()
    host.path("/var/lib/etcd/theirs").write_text("keep")
    await hand.put([File("/etc/systemd/system/etcd.service", Text(UNIT)), APP, CONFIG])
    await hand.set_unit("etcd.service", "started")
    await hand.clean()
    assert host.path("/var/lib/etcd/theirs").read_text() == "keep"


async def test_files_and_modes_that_were_there_before_come_back(host: SimulatedHost, hand: NodeHand) -> None:
    folder, config = host.path("/etc/app"), host.path(CONFIG.path)
    folder.mkdir(mode=0o750)
    config.write_text("theirs\n")
    config.chmod(0o604)
    host.path(APP.path).parent.mkdir(parents=True)
    host.path(APP.path).symlink_to("/opt/theirs")
    before = everything(host)
    folders = [("755", "root:root", "/etc/app")]
    await hand.put([CONFIG, APP], folders)
    await hand.put([File(CONFIG.path, Text("colour: red\n")), APP], folders)
    assert config.read_text() == "colour: red\n"
    await hand.remove([CONFIG.path])
    assert (config.read_text(), config.stat().st_mode & 0o777) == ("theirs\n", 0o604)
    await hand.put([CONFIG], folders)
    await hand.clean()
    assert everything(host) == before
    assert host.path(APP.path).readlink() == Path("/opt/theirs")


async def test_nothing_is_kept_on_a_machine_that_was_made_for_the_cluster(
    host: SimulatedHost, transport: SSHTransport
) -> None:
    hand = NodeHand(transport, "lineage-a", 5, resolve, made=True)
    host.path("/etc/app").mkdir()
    host.path(CONFIG.path).write_text("baked\n")
    await hand.put([CONFIG])
    assert not host.path(ORIGINALS).exists()


MOUNTS = """overlay / overlay rw 0 0
tmpfs /var/lib/kubelet tmpfs rw 0 0
tmpfs /var/lib/kubelet/pods/a tmpfs rw 0 0
tmpfs /var/lib/kubelet/pods/a/with\\040space tmpfs rw 0 0
overlay /run/containerd/io.containerd.runtime/x/rootfs overlay rw 0 0
nsfs /run/netns/cni-1234 nsfs rw 0 0
nsfs /run/netns/cni-9999 nsfs rw 0 0
tmpfs /srv/foreign tmpfs rw 0 0
"""


def _recorded(host: SimulatedHost, program: str, more: str = "") -> None:
    host.path(f"/bin/{program}").write_text(f'#!/bin/sh\necho "{program} $*" >>/tmp/done\n{more}')
    host.path(f"/bin/{program}").chmod(0o755)


BUNDLE = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/a/config.json"


async def test_clean_unmounts_pods_and_removes_their_network(host: SimulatedHost, hand: NodeHand) -> None:
    for program in ("umount", "ip"):
        _recorded(host, program)
    _recorded(host, "nft", 'case "$*" in "list table"*) exit 1 ;; esac\n')
    host.path("/proc/mounts").write_text(MOUNTS)
    conflist, theirs = (
        host.path("/etc/cni/net.d/10-flannel.conflist"),
        host.path("/etc/cni/net.d/99-other.conf"),
    )
    conflist.parent.mkdir(parents=True)
    theirs.touch()
    units = ("containerd.service", "kubelet.service", "kube-proxy.service")
    await hand.put([*(File(f"/etc/systemd/system/{unit}", Text(UNIT)) for unit in units), APP, CONFIG])
    for unit in units:
        await hand.set_unit(unit, "started")
    host.path("/sys/class/net/cni0").mkdir()
    conflist.touch()
    host.path(BUNDLE).parent.mkdir(parents=True)
    host.path(BUNDLE).write_text('{"path":"/var/run/netns/cni-1234"}')
    await hand.clean()
    done = host.path("/tmp/done").read_text().splitlines()
    assert [line for line in done if line.startswith("umount")] == [
        "umount /var/lib/kubelet/pods/a/with space",
        "umount /var/lib/kubelet/pods/a",
        "umount /run/containerd/io.containerd.runtime/x/rootfs",
        "umount /run/netns/cni-1234",
    ]
    assert [line for line in done if line.startswith("ip link")] == ["ip link delete cni0"]
    assert "nft delete table ip kube-proxy" in done
    assert not conflist.exists()
    assert theirs.exists()


async def test_clean_leaves_the_network_of_a_node_without_pods_alone(
    host: SimulatedHost, hand: NodeHand
) -> None:
    for program in ("umount", "ip", "nft"):
        _recorded(host, program)
    host.path("/proc/mounts").write_text(MOUNTS)
    await hand.put([CONFIG])
    await hand.clean()
    assert not host.path("/tmp/done").exists()


SABOTAGED = (
    "chmod",
    "chown",
    "cat",
    "cp",
    "find",
    "grep",
    "mkdir",
    "mv",
    "rm",
    "rmdir",
    "sed",
    "sha256sum",
    "sort",
    "stat",
    "sync",
    "tar",
    "tr",
)


STRIDES = pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.soak)])
"""Every fourth point in each run, every point in a soak."""


def _kill_at(host: SimulatedHost, call: int) -> None:
    """The k-th call of a program kills, without warning, the shell that makes it and itself."""
    for name in SABOTAGED:
        program = host.path(f"/bin/{name}")
        program.unlink()
        program.write_text(
            "#!/bin/sh\necho x >>/tmp/calls\ncalls=0\n"
            "while read -r call; do calls=$((calls + 1)); done </tmp/calls\n"
            f'[ "$calls" -ne {call} ] || kill -9 0\nexec /bin/busybox {name} "$@"\n'
        )
        program.chmod(0o755)


def _heal(host: SimulatedHost) -> int:
    calls = host.path("/tmp/calls").read_text().count("x")
    host.path("/tmp/calls").unlink()
    for name in SABOTAGED:
        host.path(f"/bin/{name}").unlink()
        host.path(f"/bin/{name}").symlink_to("busybox")
    return calls


@STRIDES
async def test_clean_killed_at_any_point_is_finished_by_the_next(
    host: SimulatedHost, hand: NodeHand, stride: int
) -> None:
    kill_at, survived = 1, False
    while not survived:
        before = await _used(host, hand)
        _kill_at(host, kill_at)
        try:
            await hand.clean()
            survived = True
        except AnykubeError:
            pass
        assert host.path("/etc/foreign").read_text() == "keep"
        survived = _heal(host) < kill_at and survived
        await hand.clean()
        _is_clean(host, before)
        for path in ("/var/lib/etcd", "/opt"):
            if host.path(path).exists():
                host.path(path).rmdir()
        kill_at += stride
    assert kill_at > 10


@STRIDES
async def test_put_killed_at_any_point_is_finished_by_the_next(
    host: SimulatedHost, hand: NodeHand, stride: int
) -> None:
    kill_at, survived = 1, False
    new = "new " + "n" * 3000
    while not survived:
        host.path("/etc/app").mkdir(exist_ok=True)
        for path, text in OLD.items():
            host.path(path).write_text(text)
        _kill_at(host, kill_at)
        try:
            await hand.put([*NEW, File("/etc/fresh/file", Text("x"))])
            survived = True
        except AnykubeError:
            pass
        for path, text in OLD.items():
            assert host.path(path).read_text() in (text, new)
        if host.path("/etc/fresh/file").exists():
            assert "file /etc/fresh/file" in host.path(LEDGER).read_text()
        survived = _heal(host) < kill_at and survived
        await hand.put([*NEW, File("/etc/fresh/file", Text("x"))])
        assert {host.path(path).read_text() for path in OLD} == {new}
        assert temporaries(host) == []
        await hand.clean()
        assert not host.path("/etc/fresh").exists()
        kill_at += stride
    assert kill_at > 10

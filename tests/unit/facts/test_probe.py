"""The probe: its script run for real under several shells, its parser fed with garbage."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anykube.content import etcd as etcd_content
from anykube.content import paths
from anykube.errors import AnswerError
from anykube.facts import probe_script
from anykube.facts.host import HostFacts
from anykube.facts.probe import parse, script

MEMBER_LIST = (
    '{"header":{"cluster_id":11809551454533201460,"member_id":17371728233233438452,"raft_term":2},"members":'
    '[{"ID":17371728233233438452,"name":"a","peerURLs":["https://10.0.0.1:2380"],'
    '"clientURLs":["https://10.0.0.1:2379"]},'
    '{"ID":6772007059240909321,"peerURLs":["https://10.0.0.2:2380"],"isLearner":true}]}'
)
STATUS = (
    '[{"Endpoint":"https://127.0.0.1:2379","Status":{"header":{"cluster_id":11809551454533201460,'
    '"member_id":17371728233233438452,"revision":1,"raft_term":2},"version":"3.7.3","dbSize":20480,'
    '"leader":17371728233233438452,"raftIndex":5,"raftTerm":2,"raftAppliedIndex":4,'
    '"errors":["memberID:1 alarm:NOSPACE"]}}]'
)
"""As etcdctl 3.7.3 printed them, after a learner was added that has not started."""


SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]

ANSWER = (
    """@anykube-probe
@system
os debian
os-version "12"
uname node-1 6.1.0-18-amd64 x86_64
machine-id 0123456789abcdef0123456789abcdef
boot-id 6f1a8a4e-1111-2222-3333-444455556666
systemd systemd 252 (252.30-1~deb12u2)
+PAM +AUDIT +SELINUX
container lxc
cgroup 2
capabilities 000001fffeffffff
cpus 2
memory 4028440
swap 0
clock 1763661234.123456789
mtu 1400
address 10.81.0.11 eth0
address fd00::11 eth1
free 1000000 4096
free 2000000 4096
free 2000000 4096
free 256 4096
@files
stat 8180 600 root:root /etc/kubernetes/pki/apiserver.key
stat a1ff 777 root:root /etc/kubernetes/link
stat 41ed 755 root:root /etc/kubernetes/folder
stat 81a4 644 root:root /etc/with  two spaces
stat 81a4 644 root:root /etc/vanished
hash {a} /etc/kubernetes/pki/apiserver.key
hash {b} /etc/with  two spaces
@units
asked etcd.service
asked kubelet.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=yes

LoadState=not-found
ActiveState=inactive
UnitFileState=
NeedDaemonReload=no
@inputs
input etcd.service {a} /etc/systemd/system/etcd.service
input other.service {a} /etc/other
@ledger
owner 3f6c2d 12
noted directory /etc/kubernetes
noted file /etc/kubernetes/pki/apiserver.key
noted unit etcd.service
@etcd
data
born
@LIST@
@STATUS@
@tools
haproxy
nft
@end
""".format(a="a" * 64, b="b" * 64)
    .replace("@LIST@", MEMBER_LIST)
    .replace("@STATUS@", STATUS)
)


def test_an_answer_is_read() -> None:
    facts = parse("node-1", ANSWER)
    system = facts.system
    assert (system.hostname, system.os, system.os_version, system.arch) == ("node-1", "debian", "12", "amd64")
    assert (system.systemd, system.container, system.cgroup, system.mtu) == (252, True, 2, 1400)
    assert (system.cpus, system.memory, system.swap) == (2, 3934, 0)
    assert system.constrained
    assert not system.capable(24)
    assert system.capable(25)
    assert system.clock == pytest.approx(1763661234.123456789)
    assert system.disk_free == {
        "/": 3906,
        "/var/lib/etcd": 7812,
        "/var/lib/containerd": 7812,
        "/var/lib/kubelet": 1,
    }
    assert system.addresses == ("10.81.0.11", "fd00::11")
    assert system.interfaces == {"10.81.0.11": "eth0", "fd00::11": "eth1"}
    assert facts.tools == {"haproxy", "nft"}
    assert facts.files["/etc/kubernetes/pki/apiserver.key"].mode == "600"
    assert facts.files["/etc/with  two spaces"].sha256 == "b" * 64
    assert (facts.files["/etc/kubernetes/link"].mode, facts.files["/etc/kubernetes/link"].sha256) == (
        "symlink",
        "",
    )
    assert facts.files["/etc/kubernetes/folder"].mode == "directory"
    assert "/etc/vanished" not in facts.files
    etcd, kubelet = facts.units["etcd.service"], facts.units["kubelet.service"]
    assert (etcd.running, etcd.enabled, etcd.needs_reload) == (True, True, True)
    assert etcd.inputs == {"/etc/systemd/system/etcd.service": "a" * 64}
    assert (kubelet.load, kubelet.running, kubelet.enabled) == ("not-found", False, False)
    assert (facts.ledger.lineage, facts.ledger.epoch) == ("3f6c2d", 12)
    assert facts.ledger.paths == {"/etc/kubernetes", "/etc/kubernetes/pki/apiserver.key"}
    assert facts.ledger.units == {"etcd.service"}


def test_noise_before_the_answer_is_dropped() -> None:
    noisy = "Last login: today\n\x1b[31mWelcome \ufffd\n@system\nsudo lecture\n" + ANSWER
    assert parse("node-1", noisy) == parse("node-1", ANSWER)


def test_what_is_unknown_is_said_to_be() -> None:
    asked = "@units\nasked etcd.service"
    empty = f"@anykube-probe\n@system\n@files\n{asked}\n@inputs\n@ledger\n@etcd\n@tools\n@end\n"
    facts = parse("node-1", empty)
    assert (facts.system.os, facts.system.kernel, facts.system.cpus) == ("unknown", "unknown", 0)
    assert facts.units["etcd.service"].load == "unknown"
    assert facts.ledger.lineage == ""


def _without(line: str) -> str:
    assert line in ANSWER
    return ANSWER.replace(line, "")


def _with(old: str, new: str) -> str:
    assert old in ANSWER
    return ANSWER.replace(old, new)


GARBAGE = {
    "nothing": "",
    "a page": "<html><body>504</body></html>",
    "no end": _without("@end\n"),
    "cut in a line": ANSWER[: len(ANSWER) // 2],
    "more after the end": ANSWER + "bye\n",
    "a section is missing": _without("@units\n"),
    "sections in another order": _with("@files\n", "@units\n"),
    "an unknown fact": _with("cgroup 2\n", "cgroup 2\nweather fine\n"),
    "a fact twice": _with("cgroup 2\n", "cgroup 2\ncgroup 1\n"),
    "a count that is none": _with("cpus 2", "cpus two"),
    "a negative count": _with("cpus 2", "cpus -2"),
    "a count beyond measure": _with("memory 4028440", "memory " + "9" * 40),
    "capabilities that are none": _with("000001fffeffffff", "0x1ff"),
    "a colourful host name": _with("uname node-1", "uname \x1b[31mnode-1"),
    "a host name with a replacement": _with("uname node-1", "uname n\ufffdde"),
    "a relative path": _with("/etc/vanished", "etc/vanished"),
    "a path with a control character": _with("/etc/vanished", "/etc/van\x07ished"),
    "a hash too short": _with("b" * 64, "b" * 63),
    "a hash in capitals": _with("b" * 64, "B" * 64),
    "a hash of what was not there": _with(
        f"hash {'b' * 64} /etc/with  two spaces", f"hash {'b' * 64} /etc/x"
    ),
    "a mode that is none": _with("8180 600", "8180 6x0"),
    "a kind that is none": _with("8180 600", "ZZ80 600"),
    "units that do not match": _with("asked kubelet.service\n", ""),
    "a unit with a space": _with("asked kubelet.service", "asked kube let.service"),
    "an unknown property": _with("NeedDaemonReload=no", "Weather=no"),
    "an unknown ledger line": _with("noted unit", "noted pod"),
    "an epoch that is none": _with("owner 3f6c2d 12", "owner 3f6c2d x"),
    "an owner without epoch": _with("owner 3f6c2d 12", "owner 3f6c2d"),
    "an endless line": _with("cgroup 2", "cgroup " + "2" * 10_000),
    "an endless answer": ANSWER + "x" * 5_000_000,
}


@pytest.mark.parametrize("text", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_refused_with_evidence(text: str) -> None:
    with pytest.raises(AnswerError) as caught:
        parse("node-1", text)
    assert "node-1" in caught.value.brief
    assert caught.value.evidence
    assert all(line.isprintable() and len(line) <= 200 for line in caught.value.evidence)


@given(st.text())
def test_any_text_after_the_mark_is_refused(text: str) -> None:
    with pytest.raises(AnswerError):
        parse("node-1", "@anykube-probe\n" + text)


@settings(max_examples=300)
@given(st.integers(0, len(ANSWER)), st.integers(0, 40), st.text(max_size=8))
def test_a_damaged_answer_is_read_or_refused(position: int, removed: int, put: str) -> None:
    damaged = ANSWER[:position] + put + ANSWER[position + removed :]
    try:
        assert isinstance(parse("node-1", damaged), HostFacts)
    except AnswerError as error:
        assert str(error)


@pytest.mark.parametrize(
    "path", ["relative", "/a\nb", "/a\x00", "/tab\t", "/ends ", "/back\\slash", "", "/" + "x" * 5000]
)
def test_paths_that_could_be_confused_are_not_asked_for(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        script([path], [])


@pytest.mark.parametrize("unit", ["", "a b", "a\n", "$(x)", "../x", "x;y", "u" * 300])
def test_units_that_could_be_confused_are_not_asked_for(unit: str) -> None:
    with pytest.raises(ValueError, match="unit"):
        script([], [unit])


def test_paths_are_the_same_as_in_content() -> None:
    for name in ("OWNER", "LEDGER", "STAMPS", "STAMP_THRESHOLD", "INPUTS"):
        assert getattr(probe_script, name) == getattr(paths, name)
    assert probe_script.BORN == etcd_content.BORN
    assert probe_script.ETCD_PKI == etcd_content.PKI
    assert probe_script.ETCD_DATA.startswith(f"{paths.ETCD}/")
    assert probe_script.ETCD_CLIENT.split()[0] == paths.install_path("etcdctl")


class Host:
    """The script on this machine, with anykube's own folders moved into a temporary one."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.folder = folder
        self.shell = [shell, "sh"] if shell == "busybox" else [shell]

    def ask(self, asked: list[Path], units: list[str] | None = None) -> HostFacts:
        _, option, text, *arguments = script([str(path) for path in asked], units or [])
        text = text.replace("/var/lib/anykube", f"{self.folder}/state")
        text = text.replace("/run/anykube", f"{self.folder}/run")
        done = subprocess.run([*self.shell, option, text, *arguments], capture_output=True, check=True)
        return parse("here", done.stdout.decode("utf-8", "replace"))

    @property
    def stamps(self) -> list[Path]:
        return sorted((self.folder / "state/stamps").glob("*"))


@pytest.fixture(params=SHELLS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    (tmp_path / "state").mkdir()
    return Host(tmp_path, request.param)


def test_this_machine_is_understood(host: Host) -> None:
    facts = host.ask([])
    assert facts.system.hostname == os.uname().nodename
    assert facts.system.kernel == os.uname().release
    assert facts.system.cpus == len(os.sched_getaffinity(0))
    assert facts.system.disk_free["/"] > 0
    assert facts.system.capabilities > 0
    assert facts.system.os != "unknown"
    assert abs(facts.system.clock - time.time()) < 5


def test_files_of_all_kinds(host: Host, tmp_path: Path) -> None:
    plain, folder, link, pipe = (tmp_path / name for name in ("pl ain", "folder", "link", "pipe"))
    plain.write_text("x")
    plain.chmod(0o640)
    folder.mkdir()
    link.symlink_to(plain)
    os.mkfifo(pipe)
    files = host.ask([plain, folder, link, pipe, tmp_path / "absent", tmp_path / "plain/below"]).files
    assert files[str(plain)].sha256 == hashlib.sha256(b"x").hexdigest()
    assert files[str(plain)].mode == "640"
    assert [files[str(path)].mode for path in (folder, link, pipe)] == ["directory", "symlink", "special"]
    assert len(files) == 4


def test_the_ledger_adds_files_and_units(host: Host, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    (tmp_path / "state/owner").write_text("lin 7\n")
    (tmp_path / "state/ledger").write_text(f"directory /etc/x\nfile {tmp_path}/mine\nunit a@b.service\n")
    (tmp_path / "run/inputs").mkdir(parents=True)
    (tmp_path / "run/inputs/a@b.service").write_text(f"{'a' * 64}  /etc/some path\n")
    facts = host.ask([])
    assert str(tmp_path / "mine") in facts.files
    assert facts.units["a@b.service"].inputs == {"/etc/some path": "a" * 64}
    assert (facts.ledger.lineage, facts.ledger.epoch) == ("lin", 7)


def _large(tmp_path: Path) -> Path:
    large = tmp_path / "large"
    large.write_bytes(random.Random(1).randbytes(probe_script.STAMP_THRESHOLD))
    return large


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_large_file_is_hashed_once(host: Host, tmp_path: Path) -> None:
    large = _large(tmp_path)
    assert host.ask([large]).files[str(large)].sha256 == _sha256(large)
    (stamp,) = host.stamps
    identity, _ = stamp.read_text().split()
    stamp.write_text(f"{identity} {'c' * 64}\n")
    assert host.ask([large]).files[str(large)].sha256 == "c" * 64, "the stamp was not used"


def test_a_large_file_edited_with_its_size_and_mtime_kept_is_noticed(host: Host, tmp_path: Path) -> None:
    large = _large(tmp_path)
    before = host.ask([large]).files[str(large)].sha256
    kept = large.stat()
    with large.open("r+b") as file:
        file.write(b"edited by hand")
    os.utime(large, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert (large.stat().st_size, large.stat().st_mtime_ns) == (kept.st_size, kept.st_mtime_ns)
    after = host.ask([large]).files[str(large)].sha256
    assert after == _sha256(large) != before


@pytest.mark.parametrize("damage", ["", "x", "a b c\n", "\x00\x01", "1:2:3 short\n", "{identity} \n"])
def test_a_damaged_stamp_is_replaced(host: Host, tmp_path: Path, damage: str) -> None:
    large = _large(tmp_path)
    host.ask([large])
    (stamp,) = host.stamps
    good = stamp.read_text()
    stamp.write_text(damage.replace("{identity}", good.split()[0]))
    assert host.ask([large]).files[str(large)].sha256 == _sha256(large)
    assert stamp.read_text() == good


def test_a_state_folder_that_cannot_be_written_does_no_harm(host: Host, tmp_path: Path) -> None:
    large = _large(tmp_path)
    (tmp_path / "state/stamps").write_text("a file in the way")
    assert host.ask([large]).files[str(large)].sha256 == _sha256(large)


def test_a_running_member_is_seen_through_its_own_eyes() -> None:
    facts = parse("node-1", ANSWER)
    assert facts.etcd is not None
    assert (facts.etcd_data, facts.etcd_born) == (True, True)
    assert facts.etcd.healthy
    assert (facts.etcd.index, facts.etcd.applied, facts.etcd.version) == (5, 4, "3.7.3")
    assert facts.etcd.errors == ("memberID:1 alarm:NOSPACE",)
    learner, voter = facts.etcd.members
    assert (voter.name, voter.started, voter.learner) == ("a", True, False)
    assert (learner.peer_urls, learner.started, learner.learner) == (("https://10.0.0.2:2380",), False, True)


def test_a_member_that_refuses_us_does_not_answer() -> None:
    """What etcdctl prints when its certificate has ended."""
    text = ANSWER.replace(MEMBER_LIST + "\n", "").replace(STATUS, "null")
    assert parse("node-1", text).etcd is None


@pytest.mark.parametrize("missing", [MEMBER_LIST, STATUS])
def test_a_member_that_answers_in_part_only_is_taken_as_silent(missing: str) -> None:
    assert parse("node-1", ANSWER.replace(missing + "\n", "")).etcd is None


@pytest.mark.parametrize(
    "nonsense", ["[]", "{}", '[{"Status":{}}]', "Error: context deadline exceeded", "[1"]
)
def test_other_answers_of_etcdctl_are_refused(nonsense: str) -> None:
    with pytest.raises(AnswerError):
        parse("node-1", ANSWER.replace(STATUS, nonsense))

"""The script with which nodes make backups, run for real: etcd, age, curl and S3, and faults of each."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.simulated.members import etcd_binaries, why_no_etcd

from anykube.backup import age
from anykube.backup.archive import opened
from anykube.backup.proof import Programs, prove
from anykube.backup.state import gather, seal
from anykube.content.backup import SETTINGS
from anykube.content.backup_script import SCRIPT
from anykube.facts.backup import NodeBackups, parse
from anykube.facts.record import Record

LINEAGE = "0123abcd-0000-0000-0000-000000000000"
TOOLS = ("age", "curl", "flock")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]

pytestmark = pytest.mark.skipif(
    bool(why_no_etcd() or MISSING), reason=why_no_etcd() or f"needs {', '.join(MISSING)}"
)


@dataclass
class Member:
    """A running etcd of one."""

    programs: Programs
    url: str

    def control(self, *arguments: str) -> str:
        argv = [str(self.programs.etcdctl), f"--endpoints={self.url}", *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20)
        return done.stdout


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    folder = tmp_path_factory.mktemp("etcd")
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        client, peer = (f"http://127.0.0.1:{found.getsockname()[1]}" for found in (one, two))
    binaries = etcd_binaries()
    programs = Programs(binaries["etcd"], binaries["etcdctl"], binaries["etcdutl"])
    flags = [
        f"--data-dir={folder}/data",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
    ]
    flags += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    flags += [f"--initial-cluster=default={peer}", "--log-level=error"]
    server = subprocess.Popen([programs.etcd, *flags])
    made = Member(programs, client)
    try:
        subprocess.run(
            [programs.etcdctl, f"--endpoints={client}", "endpoint", "health", "--command-timeout=20s"],
            check=True,
            capture_output=True,
            timeout=30,
        )
        for number in range(20):
            made.control("put", f"/registry/{number % 7}", "x" * number)
        made.control("del", "/registry/3")
        made.control("compact", "12")
        yield made
    finally:
        server.kill()
        server.wait()


@dataclass
class Node:
    """A folder with all that the script finds on a node, and programs that go before the real ones."""

    folder: Path
    member: Member
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.identity = age.new_identity()
        recipient = age.recipient_of(self.identity)
        state = self.folder / "cluster"
        state.mkdir(mode=0o700)
        self.put("state.age", seal(gather(state, Record("demo", LINEAGE)), [recipient]))
        self.put("recipients", f"{recipient}\n".encode())
        self.put("owner", f"{LINEAGE} 7\n".encode())
        self.put("s3.curl", b'user = "key:secret"\n')
        self.tools = self.folder / "tools"
        self.tools.mkdir()
        self.settings = {
            "CLUSTER": "demo",
            "NODE": "demo-cp-1",
            "ANYKUBE": "0.1.0",
            "KUBERNETES": "1.36.3",
            "ETCD_VERSION": "3.7.3",
            "KEEP": "2",
            "BACKUPS": str(self.backups),
            "OWNER": str(self.folder / "owner"),
            "STATE": str(self.folder / "state.age"),
            "RECIPIENTS": str(self.folder / "recipients"),
            "CREDENTIALS": str(self.folder / "s3.curl"),
            "ETCDUTL": str(self.member.programs.etcdutl),
            "CLIENT": f"{self.member.programs.etcdctl} --endpoints={self.member.url}",
            "RESERVE": "1024",
            **dict.fromkeys(("URL", "PREFIX", "LISTED"), ""),
            "REGION": "us-east-1",
        }

    @property
    def backups(self) -> Path:
        return self.folder / "backups"

    @property
    def archives(self) -> list[str]:
        return sorted(path.name for path in self.backups.glob("*.age"))

    @property
    def said(self) -> NodeBackups:
        return parse(*(self.line(name) for name in ("last", "failed")))

    def line(self, name: str) -> str:
        path = self.backups / name
        return path.read_text() if path.exists() else ""

    def put(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def instead(self, tool: str, text: str) -> None:
        """A program of this name that is found first; $real is the real one."""
        path = self.tools / tool
        path.write_text(f"#!/bin/sh\nreal={shutil.which(tool)}\n{text}\n")
        path.chmod(0o755)

    def argv(self) -> list[str]:
        lines = "".join(f"{name}='{value}'\n" for name, value in self.settings.items())
        (self.folder / "settings").write_text(lines)
        text = SCRIPT.replace(SETTINGS, str(self.folder / "settings"))
        assert text != SCRIPT
        return [
            "sh",
            "-c",
            text.replace("export LC_ALL=C TZ=UTC PATH=", f"export LC_ALL=C TZ=UTC PATH={self.tools}:"),
        ]

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.argv(), capture_output=True, text=True, check=False, timeout=60)

    def proven(self, name: str) -> None:
        with opened(self.backups / name, [self.identity], cluster="demo", lineage=LINEAGE) as archive:
            prove(self.member.programs, archive.snapshot, archive.manifest.snapshot)


@pytest.fixture
def node(tmp_path: Path, member: Member) -> Node:
    return Node(tmp_path, member)


def test_an_archive_of_a_node_is_read_and_proven_here(node: Node) -> None:
    done = node.run()
    assert done.returncode == 0, done.stderr
    assert len(node.archives) == 1
    assert node.said.archive == node.archives[0]
    assert (node.backups / node.archives[0]).stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in node.backups.iterdir()) == [node.archives[0], "last", "lock"]
    node.proven(node.archives[0])


@pytest.mark.parametrize(
    ("tool", "text", "reason"),
    [
        ("df", "echo header; echo 'disk 9 9 100 9% /'", "too little space"),
        ("tar", '$real "$@" | head -c 2000; exit 2', "cannot be written"),
        ("age", "cat >/dev/null; exit 1", "cannot be written"),
        ("cp", "exit 1", "cannot be copied"),
    ],
)
def test_what_fails_leaves_the_last_good_one_and_says_why(
    node: Node, tool: str, text: str, reason: str
) -> None:
    assert node.run().returncode == 0
    good = node.archives
    node.instead(tool, text)
    node.instead("date", 'case $* in *@*) shift 2; $real -d @1900000000 "$@" ;; *) $real "$@" ;; esac')
    done = node.run()
    assert done.returncode == 1
    assert reason in node.said.reason
    assert node.archives == good
    assert node.said.archive == good[0]
    assert not [path for path in node.backups.iterdir() if path.name == "work" or ".part" in path.name]
    shutil.rmtree(node.tools)
    assert node.run().returncode == 0
    assert not node.said.failed


def test_a_snapshot_that_restores_to_something_else_is_no_backup(node: Node) -> None:
    real = node.settings["ETCDUTL"]
    fake = node.tools / "etcdutl"
    fake.write_text(
        f'#!/bin/sh\n[ "$1" = hashkv ] || exec {real} "$@"\n{real} "$@" | sed \'s/"hash":[0-9]*/"hash":1/\'\n'
    )
    fake.chmod(0o755)
    node.settings["ETCDUTL"] = str(fake)
    assert node.run().returncode == 1
    assert "not what etcd holds" in node.said.reason
    assert node.archives == []


def test_a_snapshot_that_is_cut_off_is_no_backup(node: Node) -> None:
    fake = node.tools / "control"
    real = node.member.programs.etcdctl
    fake.write_text(
        f'#!/bin/sh\n{real} "$@" || exit 1\n'
        "case $* in *'snapshot save'*) for last do :; done; truncate -s -4096 \"$last\" ;; esac\n"
    )
    fake.chmod(0o755)
    node.settings["CLIENT"] = f"{fake} --endpoints={node.member.url}"
    assert node.run().returncode == 1
    assert "snapshot" in node.said.reason
    assert node.archives == []


def test_only_the_leader_makes_one(node: Node) -> None:
    fake = node.tools / "control"
    fake.write_text(
        f'#!/bin/sh\n{node.member.programs.etcdctl} "$@" | sed \'s/^"Leader" : .*/"Leader" : 7/\'\n'
    )
    fake.chmod(0o755)
    node.settings["CLIENT"] = f"{fake} --endpoints={node.member.url}"
    done = node.run()
    assert done.returncode == 0
    assert "another member leads" in done.stdout
    assert node.archives == []
    assert node.said == NodeBackups()


def test_two_at_once_are_one(node: Node) -> None:
    node.instead("tar", f'touch {node.folder}/packing; $real "$@"; cat {node.folder}/go >/dev/null')
    os.mkfifo(node.folder / "go")
    first = subprocess.Popen(node.argv())
    with (node.folder / "go").open("w"):  # opens once the first is in the middle
        second = node.run()
    assert second.returncode == 0
    assert "another backup is under way" in second.stdout
    assert first.wait(60) == 0
    assert len(node.archives) == 1


def test_the_newest_few_stay_whatever_the_clock_says(node: Node) -> None:
    node.backups.mkdir()
    others = [
        "demo-ffffffff-20200101T000000Z-demo-cp-1.age",
        "other-0123abcd-20200101T000000Z-a.age",
        "notes",
    ]
    future = [f"demo-0123abcd-2099010{day}T000000Z-demo-cp-1.age" for day in (1, 2, 3)]
    for name in (*others, *future):
        (node.backups / name).touch()
    assert node.run().returncode == 0
    made = node.said.archive
    assert set(node.archives) == {made, future[-1], *others[:2]}
    assert (node.backups / "notes").exists()
    node.proven(made)


class S3(http.server.BaseHTTPRequestHandler):
    """A bucket in memory that can be told to misbehave. It keeps what a real one would keep."""

    objects: dict[str, bytes]
    trouble: str

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert "AWS4-HMAC-SHA256" in self.headers["Authorization"]
        if self.trouble == "500":
            return self.answer(500)
        self.objects[self.path] = body[:-1] if self.trouble == "truncates" else body
        return self.answer(200)

    def do_HEAD(self) -> None:
        body = self.objects.get(self.path)
        self.answer(404 if body is None else 200, length=len(body or b""))

    def do_GET(self) -> None:
        names = "".join(
            f"<Contents><Key>{path.removeprefix('/b/')}</Key></Contents>" for path in self.objects
        )
        self.answer(500 if self.trouble == "no list" else 200, f"<List>{names}</List>".encode())

    def do_DELETE(self) -> None:
        self.objects.pop(self.path, None)
        self.answer(204)

    def answer(self, status: int, body: bytes = b"", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def bucket(node: Node) -> Iterator[type[S3]]:
    handler = type("Bucket", (S3,), {"objects": {}, "trouble": ""})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/b"
        node.settings |= {"URL": url, "PREFIX": "some/where/", "LISTED": "some%2Fwhere%2F"}
        yield handler
        server.shutdown()


def test_archives_in_s3_are_the_same_and_the_newest_few_stay(node: Node, bucket: type[S3]) -> None:
    old = [f"/b/some/where/demo-0123abcd-2020010{day}T000000Z-x.age" for day in (1, 2, 3)]
    bucket.objects |= dict.fromkeys([*old, "/b/some/where/other-0123abcd-20200101T000000Z-x.age"], b"")
    assert node.run().returncode == 0
    name = node.said.archive
    assert bucket.objects[f"/b/some/where/{name}"] == (node.backups / name).read_bytes()
    assert set(bucket.objects) == {
        f"/b/some/where/{name}",
        old[-1],
        "/b/some/where/other-0123abcd-20200101T000000Z-x.age",
    }


@pytest.mark.parametrize(("trouble", "reason"), [("500", "S3 takes no archive"), ("truncates", "S3 has")])
def test_what_s3_does_not_have_whole_is_no_backup(
    node: Node, bucket: type[S3], trouble: str, reason: str
) -> None:
    bucket.trouble = trouble
    bucket.objects["/b/some/where/demo-0123abcd-20200101T000000Z-x.age"] = b""
    assert node.run().returncode == 1
    assert not node.said.verified
    assert reason in node.said.reason
    assert "/b/some/where/demo-0123abcd-20200101T000000Z-x.age" in bucket.objects
    bucket.trouble = ""
    assert node.run().returncode == 0
    assert node.said.verified


def test_retention_that_was_cut_off_is_made_up_for(node: Node, bucket: type[S3]) -> None:
    bucket.objects |= {f"/b/some/where/demo-0123abcd-2020010{day}T000000Z-x.age": b"" for day in (1, 2, 3)}
    bucket.trouble = "no list"
    assert node.run().returncode == 1
    assert node.said.verified  # the archive is there, and counts
    assert "gives no list" in node.said.reason
    bucket.trouble = ""
    assert node.run().returncode == 0
    assert len(bucket.objects) == 2

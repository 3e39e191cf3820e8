"""One suite for every transport: this machine, a real OpenSSH server, a simulated host.

The servers run on loopback, started here. What a command did is looked up on this machine's disk: all
three run their commands here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.unit.pki.strangers import KEY_PEM, pem

from anykube.errors import AnswerError, CommandError, HostKeyError, TransportError
from anykube.secret import Secret
from anykube.testing import SimulatedHost, simulated_hosts, why_unavailable
from anykube.transports.base import OUTPUT_LIMIT, Endpoint, Transport
from anykube.transports.local import LocalTransport
from anykube.transports.served import shown_certificate
from anykube.transports.ssh import SSHTransport

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")
needs_simulation = pytest.mark.skipif(bool(why_unavailable()), reason=why_unavailable() or "available")
needs_sshd = pytest.mark.skipif(not SSHD or os.geteuid() != 0, reason="needs sshd and root")

HOSTILE = [
    "; touch CANARY",
    "$(touch CANARY)",
    "`touch CANARY`",
    "a'b\"c\\d",
    "line\nfeed\n",
    "-rf",
    "--",
    "",
    " two  spaces ",
    "*?[a-z]",
    "~root",
    "${HOME}",
    "näme 漢字 🦊",
    "\x1b[31mred\t",
    "&& false || exit 3",
    "x" * 5000,
]


@dataclass(frozen=True)
class Case:
    """A transport, and a folder: as the host calls it, and where it is on this machine."""

    transport: Transport
    there: str
    here: Path


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Endpoint, Secret]]:
    with serving_ssh(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@contextlib.contextmanager
def serving_ssh(folder: Path, settings: str = "") -> Iterator[tuple[Endpoint, Secret]]:
    """A real OpenSSH server on loopback, and the key that it lets in."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nLogLevel ERROR\n"
        # bash reads .bashrc for commands over SSH unless it believes to be an inner shell.
        f"PermitRootLogin prohibit-password\nSetEnv SHLVL=3\n{settings}"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([str(SSHD), "-D", "-e", "-f", folder / "config"])
    try:
        _await_port(port)
        key = (folder / "host.pub").read_text()
        yield Endpoint("open", "127.0.0.1", port, "root", key), Secret((folder / "user").read_bytes())
    finally:
        server.terminate()
        server.wait(5)


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError("sshd does not answer")


@pytest.fixture
async def host() -> AsyncIterator[SimulatedHost]:
    async with simulated_hosts(1) as hosts:
        yield hosts[0]


@pytest.fixture(
    params=[
        "local",
        pytest.param("openssh", marks=needs_sshd),
        pytest.param("simulated", marks=needs_simulation),
    ]
)
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "simulated":
            (host,) = await stack.enter_async_context(simulated_hosts(1))
            case = Case(host.transport(), "/tmp", host.path("/tmp"))
        elif request.param == "openssh":
            case = Case(SSHTransport(*request.getfixturevalue("sshd")), str(tmp_path), tmp_path)
        else:
            case = Case(LocalTransport(), str(tmp_path), tmp_path)
        yield case
        await case.transport.close()
        await case.transport.close()


def _ended(pid_file: Path) -> bool:
    """Whether all processes named in the file are gone, or dead and only not yet reaped by init."""
    return not any(_runs(pid) for pid in pid_file.read_text().split())


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def _appears(path: Path) -> None:
    async with asyncio.timeout(5):
        while not path.exists() or not path.read_text().endswith("\n"):
            await asyncio.sleep(0.01)


async def _is_ended(pid_file: Path) -> None:
    async with asyncio.timeout(5):
        while not _ended(pid_file):
            await asyncio.sleep(0.01)


async def test_status_and_output(case: Case) -> None:
    result = await case.transport.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (result.status, result.stdout, result.stderr) == (7, "out\n", "err\n")


async def test_a_missing_program_has_a_status(case: Case) -> None:
    result = await case.transport.run(["no-such-program-here"])
    assert result.status == 127
    assert "no-such-program-here" in result.stderr


async def test_a_signal_has_the_status_of_a_shell(case: Case) -> None:
    assert (await case.transport.run(["sh", "-c", "kill -9 $$"])).status == 137


async def test_round_trips_are_counted(case: Case) -> None:
    for _ in range(3):
        await case.transport.run(["true"])
    assert case.transport.round_trips == 3


async def test_hostile_arguments_arrive_literally(case: Case) -> None:
    canary = str(case.here / "canary")
    arguments = [text.replace("CANARY", canary) for text in HOSTILE]
    result = await case.transport.run(["printf", "<%s>\\n", *arguments])
    assert result.stdout == "".join(f"<{text}>\n" for text in arguments)
    assert not (case.here / "canary").exists()


@pytest.mark.parametrize("size", [0, 1, 256, 3_000_001])
async def test_input_is_binary_safe(case: Case, size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    result = await case.transport.run(["sha256sum"], stdin=data)
    assert result.stdout.split()[0] == hashlib.sha256(data).hexdigest()


async def test_input_may_come_in_pieces(case: Case) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(5):
            await asyncio.sleep(0)
            yield f"{number}\n".encode()

    assert (await case.transport.run(["cat"], stdin=pieces())).stdout == "0\n1\n2\n3\n4\n"


async def test_no_input_is_an_empty_one(case: Case) -> None:
    assert (await case.transport.run(["cat"], seconds=5)).stdout == ""


async def test_an_error_while_making_input_is_raised_and_ends_the_command(case: Case) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise ValueError("the source broke")

    command = f"echo $$ >{case.there}/pid; cat >/dev/null; sleep 60"
    with pytest.raises(ValueError, match="the source broke"):
        await case.transport.run(["sh", "-c", command], stdin=broken())
    if (case.here / "pid").exists():
        await _is_ended(case.here / "pid")


async def test_a_command_need_not_read_its_input(case: Case) -> None:
    result = await case.transport.run(["sh", "-c", "exit 75"], stdin=b"x" * 5_000_000)
    assert result.status == 75


async def test_output_that_is_not_text_is_replaced(case: Case) -> None:
    result = await case.transport.run(["printf", r"\377\376ok"])
    assert result.stdout.endswith("ok")


async def test_large_output_arrives_whole(case: Case) -> None:
    result = await case.transport.run(["sh", "-c", f"yes | head -c {OUTPUT_LIMIT - 100}"])
    assert len(result.stdout) == OUTPUT_LIMIT - 100


async def test_endless_output_is_refused_and_stopped(case: Case) -> None:
    with pytest.raises(AnswerError):
        await case.transport.run(["sh", "-c", f"echo $$ >{case.there}/pid; exec yes"])
    await _is_ended(case.here / "pid")


async def test_a_late_command_is_stopped_with_its_children(case: Case) -> None:
    command = f"sleep 60 & echo $! >{case.there}/child; echo $$ >{case.there}/pid; wait"
    begin = time.monotonic()
    with pytest.raises(TransportError, match="within"):
        await case.transport.run(["sh", "-c", command], seconds=0.5)
    assert time.monotonic() - begin < 5
    await _is_ended(case.here / "pid")
    await _is_ended(case.here / "child")


async def test_a_cancelled_command_is_stopped_and_may_clean_up(case: Case) -> None:
    command = (
        f"trap 'echo swept >{case.there}/swept; exit 1' TERM; echo $$ >{case.there}/pid; sleep 60 & wait"
    )
    running = asyncio.ensure_future(case.transport.run(["sh", "-c", command]))
    await _appears(case.here / "pid")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await _is_ended(case.here / "pid")
    assert (case.here / "swept").read_text() == "swept\n"


async def test_a_command_cancelled_while_it_starts_leaves_nothing(case: Case) -> None:
    await case.transport.run(["true"])
    for turns in (0, 2, 5):
        command = f"echo $$ >{case.there}/{turns}; sleep 60 & echo $! >>{case.there}/{turns}; wait"
        running = asyncio.ensure_future(case.transport.run(["sh", "-c", command]))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 10)
    async with asyncio.timeout(5):
        while any(not _ended(path) for path in case.here.glob("[0-9]*")):
            await asyncio.sleep(0.01)


async def test_what_ignores_the_request_to_end_is_killed(case: Case) -> None:
    command = f"trap '' TERM; echo $$ >{case.there}/pid; while :; do sleep 0.1; done"
    with pytest.raises(TransportError):
        await case.transport.run(["sh", "-c", command], seconds=0.5)
    await _is_ended(case.here / "pid")


async def test_a_stopped_command_leaves_the_transport_usable(case: Case) -> None:
    with pytest.raises(TransportError):
        await case.transport.run(["sleep", "60"], seconds=0.2)
    assert (await case.transport.run(["echo", "on"])).stdout == "on\n"


async def test_many_commands_at_once(case: Case) -> None:
    results = await asyncio.gather(*(case.transport.run(["echo", str(number)]) for number in range(20)))
    assert [result.stdout for result in results] == [f"{number}\n" for number in range(20)]


async def test_a_stream_yields_lines_as_they_come(case: Case) -> None:
    command = f"echo one; until [ -e {case.there}/go ]; do sleep 0.01; done; printf 'two\\nlast'"
    lines = case.transport.stream(["sh", "-c", command])
    assert await anext(lines) == "one"
    (case.here / "go").touch()
    assert [line async for line in lines] == ["two", "last"]


async def test_a_stream_that_fails_says_why(case: Case) -> None:
    lines = case.transport.stream(["sh", "-c", "echo a; echo why >&2; exit 3"])
    assert await anext(lines) == "a"
    with pytest.raises(CommandError) as caught:
        await anext(lines)
    assert (caught.value.status, caught.value.stderr) == (3, "why\n")


async def test_leaving_a_stream_ends_its_command(case: Case) -> None:
    lines = case.transport.stream(["sh", "-c", f"echo $$ >{case.there}/pid; echo a; exec sleep 60"])
    assert await anext(lines) == "a"
    await lines.aclose()
    await _is_ended(case.here / "pid")


# --- what only a connection can do ---------------------------------------------------------------


def _other_key(folder: Path, kind: str) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", folder / kind], check=True)
    return (folder / f"{kind}.pub").read_text()


@needs_simulation
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_another_host_key_is_refused_before_any_command(
    host: SimulatedHost, tmp_path: Path, kind: str
) -> None:
    endpoint = replace(host.endpoint, host_key=_other_key(tmp_path, kind))
    transport = SSHTransport(endpoint, host.key)
    with pytest.raises(HostKeyError) as caught:
        await transport.run(["true"])
    assert host.commands == []
    assert host.name in caught.value.brief
    fingerprints = [line.split()[-1] for line in caught.value.evidence]
    assert len(set(fingerprints)) == 2
    assert all(fingerprint.startswith("SHA256:") for fingerprint in fingerprints)
    assert not caught.value.retryable


@needs_sshd
async def test_openssh_with_another_host_key_is_refused(
    sshd: tuple[Endpoint, Secret], tmp_path: Path
) -> None:
    endpoint, key = sshd
    with pytest.raises(HostKeyError):
        await SSHTransport(replace(endpoint, host_key=_other_key(tmp_path, "ed25519")), key).run(["true"])


@needs_simulation
async def test_a_pinned_key_that_is_none_is_refused(host: SimulatedHost) -> None:
    for line in ("", "ssh-ed25519 AAAA", "nonsense\n", "ssh-ed25519 \x1b[31m"):
        with pytest.raises(HostKeyError):
            await SSHTransport(replace(host.endpoint, host_key=line), host.key).run(["true"])
    assert host.commands == []


@needs_simulation
async def test_a_key_that_is_not_let_in(host: SimulatedHost, tmp_path: Path) -> None:
    _other_key(tmp_path, "ed25519")
    transport = SSHTransport(host.endpoint, Secret((tmp_path / "ed25519").read_bytes()))
    with pytest.raises(TransportError) as caught:
        await transport.run(["true"])
    assert caught.value.retryable
    assert host.commands == []


@needs_simulation
async def test_a_host_that_refuses_and_comes_back(host: SimulatedHost) -> None:
    transport = host.transport()
    await transport.run(["true"])
    await host.stop()
    with pytest.raises(TransportError):
        await transport.run(["true"], seconds=5)
    await host.start()
    assert (await transport.run(["echo", "back"])).stdout == "back\n"
    await transport.close()


@needs_simulation
@pytest.mark.parametrize("fault", ["cut_before", "cut_after"])
async def test_a_cut_connection_is_worth_another_try(host: SimulatedHost, fault: str) -> None:
    setattr(host.faults, fault, 1)
    transport = host.transport()
    with pytest.raises(TransportError) as caught:
        await transport.run(["touch", "/tmp/done"])
    assert caught.value.retryable
    assert host.path("/tmp/done").exists() == (fault == "cut_after")
    assert (await transport.run(["echo", "again"])).stdout == "again\n"
    await transport.close()


@needs_simulation
async def test_a_cut_while_input_is_sent(host: SimulatedHost) -> None:
    host.faults.cut_after_bytes = 100_000
    transport = host.transport()
    with pytest.raises(TransportError):
        await transport.run(["sh", "-c", "cat >/tmp/got"], stdin=b"x" * 1_000_000)
    await host.quiet()
    assert host.path("/tmp/got").stat().st_size == 100_000
    await transport.close()


@needs_simulation
async def test_a_cut_stream(host: SimulatedHost) -> None:
    transport = host.transport()
    lines = transport.stream(["sh", "-c", "echo a; exec sleep 2"])
    assert await anext(lines) == "a"
    host.cut()
    with pytest.raises(TransportError):
        await anext(lines)


@needs_simulation
async def test_a_host_that_does_not_answer(host: SimulatedHost) -> None:
    host.faults.stall = True
    transport = host.transport()
    with pytest.raises(TransportError, match="within"):
        await transport.run(["true"], seconds=0.3)
    await transport.close()


@needs_simulation
async def test_connections_are_shared_and_closed(host: SimulatedHost) -> None:
    transport = host.transport()
    await asyncio.gather(*(transport.run(["true"]) for _ in range(20)))
    assert len(host._connections) == 1
    await transport.close()
    async with asyncio.timeout(2):
        while host._connections:
            await asyncio.sleep(0.01)


@needs_simulation
async def test_noise_of_the_login_shell_is_not_an_answer(host: SimulatedHost) -> None:
    _replace_shell(host, "echo 'Welcome!  \x1b[1m'; exec /bin/dash \"$@\"")
    transport = host.transport()
    assert (await transport.run(["echo", "hi"])).stdout == "hi\n"
    assert [line async for line in transport.stream(["echo", "hi"])] == ["hi"]
    await transport.close()


@needs_simulation
@pytest.mark.parametrize("status", [0, 1])
async def test_an_account_without_shell(host: SimulatedHost, status: int) -> None:
    _replace_shell(host, f"echo 'This account is currently not available.'; exit {status}")
    transport = host.transport()
    if status:
        assert (await transport.run(["true"])).status == 1
    else:
        with pytest.raises(AnswerError) as caught:
            await transport.run(["true"])
        assert "not available" in caught.value.evidence[0]
    await transport.close()


@needs_simulation
async def test_other_users_work_through_sudo(host: SimulatedHost) -> None:
    sudo = host.path("/bin/sudo")
    sudo.write_text('#!/bin/sh\n[ "$1" = -n ] || exit 9\nshift\necho used >>/tmp/sudo\nexec "$@"\n')
    sudo.chmod(0o755)
    transport = SSHTransport(replace(host.endpoint, user="admin"), host.key)
    assert (await transport.run(["echo", "$x; y"])).stdout == "$x; y\n"
    with pytest.raises(TransportError):
        await transport.run(["sh", "-c", "echo $$ >/tmp/pid; exec sleep 60"], seconds=0.3)
    await _is_ended(host.path("/tmp/pid"))
    assert host.path("/tmp/sudo").read_text() == "used\n" * 3
    await transport.close()


def _replace_shell(host: SimulatedHost, script: str) -> None:
    shell = host.path("/bin/sh")
    shell.unlink()
    shell.write_text(f"#!/bin/dash\n{script}\n")
    shell.chmod(0o755)


@contextlib.asynccontextmanager
async def listening(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback that says back what it hears; its port."""

    ended: list[asyncio.Event] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(over := asyncio.Event())
        with contextlib.suppress(OSError):
            while data := await reader.read(100):
                writer.write(data)
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        over.set()

    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(5):
            await asyncio.gather(*(over.wait() for over in ended))


async def test_a_connection_through_the_host(case: Case) -> None:
    async with listening() as port:
        reader, writer = await case.transport.open("127.0.0.1", port)
        writer.write(b"hello\x00\xff")
        assert await reader.read(100) == b"hello\x00\xff"
        writer.close()


async def test_a_port_where_nobody_listens(case: Case) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(TransportError, match=r"no connection to 127\.0\.0\.1:"):
            await case.transport.open("127.0.0.1", taken.getsockname()[1])


async def test_a_certificate_is_seen_though_nobody_would_trust_it(case: Case, tmp_path: Path) -> None:
    """Ended, self-signed, and shown by a server that refuses clients without a certificate, as etcd does."""
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    certificate.write_text(pem("nobody", days=-1))
    key.write_text(KEY_PEM)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    async with listening(context) as port:
        shown = await shown_certificate(case.transport, "127.0.0.1", port, "kubernetes")
    assert shown == ssl.PEM_cert_to_DER_cert(certificate.read_text())


async def test_what_speaks_no_tls_shows_no_certificate(case: Case) -> None:
    async with listening() as port:
        with pytest.raises(TransportError, match="shows no certificate"):
            await shown_certificate(case.transport, "127.0.0.1", port, "kubernetes")


@needs_sshd
async def test_an_ssh_server_that_forwards_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Some are hardened so; the error says which setting it is."""
    with serving_ssh(tmp_path_factory.mktemp("hardened"), "AllowTcpForwarding no\n") as (endpoint, key):
        transport = SSHTransport(endpoint, key)
        with pytest.raises(TransportError) as caught:
            await transport.open("127.0.0.1", endpoint.port)
        assert "AllowTcpForwarding" in (caught.value.remedy or "")
        await transport.close()

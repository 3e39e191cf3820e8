"""What is wrong with a shared address is told apart, against real TLS servers on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from anykube.content.model import CertificateRequest
from anykube.kube.endpoint import endpoint_trouble
from anykube.pki.authority import issue
from anykube.pki.store import SecretStore

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> SecretStore:
    store = SecretStore(tmp_path_factory.mktemp("secrets") / "secrets")
    requests = (
        CertificateRequest("ca/ours", "", "ours"),
        CertificateRequest("ca/theirs", "", "theirs"),
        CertificateRequest("ours", "ca/ours", "server", addresses=(LOOPBACK,), server=True),
        CertificateRequest("theirs", "ca/theirs", "server", addresses=(LOOPBACK,), server=True),
        CertificateRequest("elsewhere", "ca/ours", "server", addresses=("127.0.0.2",), server=True),
    )
    issue(store, requests, datetime.now(UTC))
    return store


@asynccontextmanager
async def serving(secrets: SecretStore, name: str, status: str, folder: Path) -> AsyncIterator[str]:
    """A server with this certificate that answers every request with this status; the URL to ask."""
    pem = folder / f"{name}.pem"
    parts = (secrets.part(name, part).reveal() for part in ("certificate", "key"))
    pem.write_bytes(b"\n".join(parts))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /readyz HTTP/1.1\r\n")
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, LOOPBACK, 0, ssl=context)
    async with server:
        yield f"https://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("certificate", "status", "said"),
    [
        ("ours", "200 OK", ""),
        ("theirs", "200 OK", "no certificate of this cluster's CA"),
        ("elsewhere", "200 OK", f"does not name {LOOPBACK}"),
        ("ours", "500 Internal Server Error", "500 Internal Server Error"),
        ("ours", "503 Service\x1b[31m Unavailable", "503 Service"),
    ],
)
async def test_each_trouble(
    secrets: SecretStore, tmp_path: Path, certificate: str, status: str, said: str
) -> None:
    authority = secrets.part("ca/ours", "certificate").reveal()
    async with serving(secrets, certificate, status, tmp_path) as url:
        found = await endpoint_trouble(url, authority)
    assert found == "" if not said else said in found
    assert "\x1b" not in found


async def test_a_balancer_without_a_healthy_server(secrets: SecretStore) -> None:
    """haproxy takes the connection, and ends it when it has nobody to pass it to."""

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(end, LOOPBACK, 0) as server:
        url = f"https://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
        found = await endpoint_trouble(url, secrets.part("ca/ours", "certificate").reveal())
    assert "no healthy API server is behind it" in found


async def test_nobody_and_silence(secrets: SecretStore) -> None:
    authority = secrets.part("ca/ours", "certificate").reveal()
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        url = f"https://{LOOPBACK}:{listening.getsockname()[1]}"
        assert "does not answer" in await endpoint_trouble(url, authority)
        listening.listen()
        assert "does not answer within 0.2 s" in await endpoint_trouble(url, authority, 0.2)


async def test_a_name_that_nobody_knows(secrets: SecretStore) -> None:
    authority = secrets.part("ca/ours", "certificate").reveal()
    assert "does not answer" in await endpoint_trouble("https://api.invalid:6443", authority)

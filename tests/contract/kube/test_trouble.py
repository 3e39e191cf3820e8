"""API servers that refuse, hang, lie or are not there: an answer in time, and never a traceback."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from anykube.errors import KubeBusyError, KubeError, TransportError
from anykube.facts.kubernetes import KubernetesFacts
from anykube.kube import client as client_module
from anykube.kube import connection
from anykube.kube.client import KubeClient
from anykube.observe.kubernetes import observe_kubernetes
from anykube.pki.store import SecretStore
from anykube.secret import Secret

CONFIG_MAP = "ConfigMap/default/any"
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"


def client_for(secrets: SecretStore, url: str, *, authority: str = "ca/cluster") -> KubeClient:
    return KubeClient(
        (url,),
        secrets.part(authority, "certificate").reveal(),
        secrets.part("admin", "certificate").reveal(),
        secrets.part("admin", "key"),
    )


@asynccontextmanager
async def impostor(
    secrets: SecretStore,
    folder: Path,
    answer: bytes,
    *,
    then: bytes | None = None,
    repeat: bytes = b"",
    pause: float = 0,
    silent: bool = False,
) -> AsyncIterator[str]:
    """A server with the right certificate and the wrong answers: the first, then others if given."""
    pem = folder / "server.pem"
    pem.touch(0o600)
    pem.write_bytes(secrets.part("server", "certificate").reveal() + secrets.part("server", "key").reveal())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)

    served: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if silent:
                await reader.read()
            writer.write(then if served and then is not None else answer)
            served.append(answer)
            while repeat:
                writer.write(repeat)
                await writer.drain()
                await asyncio.sleep(pause)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_stranger_is_not_our_api_server(secrets: SecretStore, tmp_path: Path) -> None:
    async with impostor(secrets, tmp_path, EMPTY) as url:
        client = client_for(secrets, url, authority="ca/stranger")
        assert "not the API server of this cluster" in await client.readiness()
        with pytest.raises(KubeError, match="not the API server of this cluster") as caught:
            await client.get(CONFIG_MAP)
        assert not caught.value.retryable
        assert await observe_kubernetes(client, (), ()) == KubernetesFacts()
        await client.close()


async def test_an_address_that_its_certificate_does_not_name(secrets: SecretStore, tmp_path: Path) -> None:
    async with impostor(secrets, tmp_path, EMPTY) as url:
        client = client_for(secrets, url.replace("127.0.0.1", "localhost"))
        assert "Hostname mismatch" in await client.readiness()
        await client.close()


async def test_nobody_listens(secrets: SecretStore) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()
    client = client_for(secrets, url)
    start = time.perf_counter()
    assert await observe_kubernetes(client, (), ("Deployment/a/b",)) == KubernetesFacts()
    assert time.perf_counter() - start < 1
    assert "does not answer" in await client.readiness()
    with pytest.raises(TransportError) as caught:
        await client.nodes()
    assert caught.value.retryable
    await client.close()


async def test_one_that_never_answers(
    secrets: SecretStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "READY_SECONDS", 0.3)
    async with impostor(secrets, tmp_path, b"", silent=True) as url:
        client = client_for(secrets, url)
        start = time.perf_counter()
        assert "no answer within 0.3 s" in await client.readiness()
        assert time.perf_counter() - start < 1
        await client.close()


async def test_one_that_is_ready_and_then_gone(secrets: SecretStore, tmp_path: Path) -> None:
    """What was seen of it is not half of the truth, it is nothing."""
    async with (
        impostor(secrets, tmp_path, EMPTY, then=b"") as url,
        client_for(secrets, url) as client,
    ):
        assert await observe_kubernetes(client, (), ("Deployment/a/b",)) == KubernetesFacts()
        with pytest.raises(TransportError):
            await client.nodes()


async def test_one_that_drips_for_ever(
    secrets: SecretStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece comes in time, the whole never: the limit is on the whole."""
    monkeypatch.setattr(client_module, "READY_SECONDS", 0.3)
    async with (
        impostor(secrets, tmp_path, JSON + b"\r\n", repeat=b" ", pause=0.05) as url,
        client_for(secrets, url) as client,
    ):
        assert "no answer within 0.3 s" in await client.readiness()


async def test_one_that_floods(secrets: SecretStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RESPONSE_LIMIT", 10**6)
    async with (
        impostor(secrets, tmp_path, JSON + b"\r\n", repeat=b" " * 10_000) as url,
        client_for(secrets, url) as client,
    ):
        with pytest.raises(KubeError, match="larger than"):
            await client.get(CONFIG_MAP)


@pytest.mark.parametrize(
    "body",
    [b"<html>\x1b[31mlogin</html>", b"", b"[1, 2]", b"[" * 100_000, b"\xff\xfe", b'{"a": '],
    ids=["html", "empty", "list", "deep", "bytes", "cut"],
)
async def test_nonsense_is_an_error(secrets: SecretStore, tmp_path: Path, body: bytes) -> None:
    answer = JSON + b"content-length: %d\r\n\r\n" % len(body) + body
    async with impostor(secrets, tmp_path, answer) as url:
        client = client_for(secrets, url)
        with pytest.raises(KubeError) as caught:
            await client.get(CONFIG_MAP)
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 2000
        await client.close()


async def test_a_broken_answer_is_worth_another_try(secrets: SecretStore, tmp_path: Path) -> None:
    async with impostor(secrets, tmp_path, JSON + b"content-length: 100\r\n\r\n{") as url:
        client = client_for(secrets, url)
        with pytest.raises(TransportError):
            await client.get(CONFIG_MAP)
        await client.close()


async def test_overload_is_worth_another_try(secrets: SecretStore, tmp_path: Path) -> None:
    answer = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwait"
    async with impostor(secrets, tmp_path, answer) as url:
        client = client_for(secrets, url)
        with pytest.raises(KubeBusyError, match="wait"):
            await client.get(CONFIG_MAP)
        assert await client.readiness() == "/readyz answers 429: wait"
        await client.close()


async def test_a_proxy_of_the_environment_is_not_used(
    secrets: SecretStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with impostor(secrets, tmp_path, EMPTY) as url, client_for(secrets, url) as client:
        assert await client.readiness() == ""


def test_a_key_that_does_not_belong_is_refused_without_showing_it(secrets: SecretStore) -> None:
    ca, certificate = (secrets.part(name, "certificate").reveal() for name in ("ca/cluster", "admin"))
    key = secrets.part("nobody", "key")
    for wrong in (key, Secret(b""), Secret(b"\x00\xff")):
        with pytest.raises(KubeError, match="cannot be used") as caught:
            KubeClient(("https://127.0.0.1:1",), ca, certificate, wrong)
        assert "PRIVATE" not in str(caught.value)
        assert caught.value.__cause__ is None

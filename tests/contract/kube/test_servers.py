"""Several API servers, of which some are dead, frozen, cut off or strangers: one that works is found."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.contract.kube.test_trouble import EMPTY, impostor

from anykube.errors import KubeBusyError, KubeError, TransportError
from anykube.kube import connection, servers
from anykube.kube.client import KubeClient
from anykube.pki.store import SecretStore

if TYPE_CHECKING:
    from tests.contract.kube.conftest import ApiServer

pytestmark = pytest.mark.e2e

CONFIG_MAP = "ConfigMap/default/several-servers"
THING = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "several-servers", "namespace": "default"},
    "data": {"a": "b"},
}
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwait"


class Relay:
    """A machine in front of an API server, which can be frozen (it keeps its connections) or cut."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._open: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None] | None] = []
        self._running = asyncio.Event()
        self._running.set()
        self.connections = 0
        self.url = ""
        self.cut_after_request = False

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Relay]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self._running.set()
            server.close()
            for writer in self._open:
                writer.transport.abort()
            await asyncio.gather(*filter(None, self._tasks), return_exceptions=True)

    def freeze(self) -> None:
        self._running.clear()

    def thaw(self) -> None:
        self._running.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.append(asyncio.current_task())
        far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._open += [writer, far_writer]
        await asyncio.gather(
            self._copy(reader, far_writer),
            self._copy(far_reader, writer, answers=True),
            return_exceptions=True,
        )

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._running.wait()
                if answers and self.cut_after_request:
                    for one in self._open:
                        one.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def relays(api_server: ApiServer) -> AsyncIterator[tuple[Relay, Relay]]:
    async with Relay(api_server.url).listening() as one, Relay(api_server.url).listening() as two:
        yield one, two


@pytest.fixture
def refused() -> Iterator[str]:
    """A port where nobody listens, and nobody else will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def hole() -> Iterator[str]:
    """A machine that takes connections and says nothing, as one behind a partition."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(64)
        yield f"https://127.0.0.1:{taken.getsockname()[1]}"


def client_of(secrets: SecretStore, *urls: str, authority: str = "ca/cluster") -> KubeClient:
    return KubeClient(
        urls,
        secrets.part(authority, "certificate").reveal(),
        secrets.part("admin", "certificate").reveal(),
        secrets.part("admin", "key"),
    )


async def test_the_first_that_works_is_asked_from_then_on(
    secrets: SecretStore, relays: tuple[Relay, Relay], refused: str
) -> None:
    async with client_of(secrets, refused, relays[0].url, relays[1].url) as client:
        assert client.server == refused
        await client.apply(THING)
        assert client.server == relays[0].url
        assert await client.get(CONFIG_MAP) is not None
        assert relays[1].connections == 0
        assert await client.delete(CONFIG_MAP)


async def test_one_that_says_nothing_costs_its_time_once(
    secrets: SecretStore, api_server: ApiServer, hole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)
    async with client_of(secrets, hole, api_server.url) as client:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            await client.version()
            times.append(time.perf_counter() - start)
    assert 0.5 <= times[0] < 1.5
    assert max(times[1:]) < 0.4


def test_a_dead_control_plane_costs_at_most_three_seconds() -> None:
    assert connection.CONNECT_SECONDS <= 3


async def test_readiness_waits_for_no_dead_one(
    secrets: SecretStore, api_server: ApiServer, hole: str, refused: str
) -> None:
    async with client_of(secrets, hole, refused, api_server.url) as client:
        start = time.perf_counter()
        assert await client.ready()
        assert time.perf_counter() - start < 1
        assert client.server == api_server.url
        for _ in range(20):
            assert await client.ready()
        assert time.perf_counter() - start < 1.5
        each = await client.readiness_of_each()
        assert list(each) == [hole, refused, api_server.url]
        assert each[api_server.url] == ""
        assert "does not answer" in each[hole]
        assert "does not answer" in each[refused]


async def test_readiness_says_why_none_is_ready(secrets: SecretStore, refused: str, tmp_path: Path) -> None:
    async with impostor(secrets, tmp_path, BUSY) as busy, client_of(secrets, refused, busy) as client:
        why = await client.readiness()
        assert f"{refused}: The Kubernetes API at {refused} does not answer" in why
        assert f"{busy}: /readyz answers 503: wait" in why


async def test_a_frozen_one_is_left_in_the_middle_of_a_run(
    secrets: SecretStore, relays: tuple[Relay, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections stay open; only silence tells. Many requests at once do not add up."""
    monkeypatch.setattr(servers, "ATTEMPT_SECONDS", 1.0)
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.4)  # new ones; the first is kept alive
    one, two = relays
    async with client_of(secrets, one.url, two.url) as client:
        await client.version()
        one.freeze()
        start = time.perf_counter()
        await asyncio.gather(*(client.version() for _ in range(12)))
        assert time.perf_counter() - start < 3
        assert client.server == two.url
        one.thaw()
        await client.version()
        assert client.server == two.url


async def test_a_change_that_was_cut_off_is_made_by_the_next(
    secrets: SecretStore, relays: tuple[Relay, Relay]
) -> None:
    one, two = relays
    async with client_of(secrets, one.url, two.url) as client:
        await client.version()
        one.cut_after_request = True
        found = await client.apply(THING)
        assert found["data"] == {"a": "b"}
        assert client.server == two.url
        assert await client.delete(CONFIG_MAP)


async def test_one_without_its_etcd_answers_for_itself_and_is_not_asked_again(
    secrets: SecretStore, api_server: ApiServer, tmp_path: Path
) -> None:
    async with impostor(secrets, tmp_path, BUSY) as busy, client_of(secrets, busy, api_server.url) as client:
        with pytest.raises(KubeBusyError):
            await client.nodes()
        assert await client.nodes() == {}


async def test_a_stranger_at_one_address_hides_no_server_of_ours(
    secrets: SecretStore, api_server: ApiServer, tmp_path: Path
) -> None:
    """A shared address whose certificate does not name it yet."""
    async with impostor(secrets, tmp_path, EMPTY) as url:
        wrong = url.replace("127.0.0.1", "localhost")
        async with client_of(secrets, wrong, api_server.url) as client:
            assert await client.nodes() == {}
            assert client.server == api_server.url


async def test_all_silent_is_worth_another_try_and_all_strangers_is_not(
    secrets: SecretStore, api_server: ApiServer, refused: str
) -> None:
    async with client_of(secrets, refused, f"{refused}/") as client:
        with pytest.raises(TransportError, match="No API server") as silent:
            await client.nodes()
    assert len(silent.value.evidence) == 2
    assert all(refused in line for line in silent.value.evidence)
    async with client_of(secrets, api_server.url, api_server.url, authority="ca/stranger") as client:
        with pytest.raises(KubeError, match="not the API server of this cluster") as strangers:
            await client.nodes()
    assert not strangers.value.retryable

"""Downloads over HTTPS: bounded in size, verified by sha256, retried when server or network are at fault.

A redirect is followed only to https and only to a host that is allowed for the first one.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx2
import stamina

from anykube.artifacts.inspection import CHUNK
from anykube.artifacts.sources.base import Report, TransferError
from anykube.errors import ArtifactError

PROBE_SECONDS = 1.8
STALL_SECONDS = 30.0
ATTEMPTS = 4
MOST_REDIRECTS = 5
REPORT_BYTES = 4 << 20
NETWORK = "check the network and the proxy of this machine, or set artifacts.mirror"
_OK = 200
_SERVER_ERROR = 500
_PAGES = {"text/html", "application/xhtml+xml"}
_REDIRECT_STATUS = {301, 302, 303, 307, 308}
_BUSY_STATUS = {408, 425, 429}


class Downloader:
    """Fetches files for a source. `stall` is how long a server may send nothing."""

    def __init__(
        self,
        *,
        redirects: Mapping[str, frozenset[str]],
        tls: ssl.SSLContext | None = None,
        stall: float = STALL_SECONDS,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._redirects = redirects
        self._tls = tls or ssl.create_default_context()
        self._stall = stall
        self._attempts = attempts
        self._known: dict[str, bool] = {}

    async def answers(self, url: str) -> bool:
        """Whether this URL is served; asked once."""
        if url not in self._known:
            self._known[url] = await self._probe(url)
        return self._known[url]

    async def text(self, url: str, *, limit: int) -> str:
        """A small text file."""
        async for attempt in self._attempts_at():
            with attempt:
                parts = bytearray()
                async with self._get(url) as response:
                    async for chunk in _body(response, limit):
                        parts += chunk
        return parts.decode(errors="replace")

    async def file(
        self, url: str, target: Path, *, sha256: str, limit: int, item: str, report: Report
    ) -> None:
        """Download to `target`. Whatever goes wrong, no wrong file is left there."""
        try:
            async for attempt in self._attempts_at():
                with attempt:
                    await self._file_once(url, target, sha256, limit, item, report)
        except BaseException:
            await asyncio.to_thread(target.unlink, missing_ok=True)
            raise

    def _attempts_at(self) -> AsyncIterator[stamina.Attempt]:
        return aiter(stamina.retry_context(on=TransferError, attempts=self._attempts, timeout=None))

    async def _file_once(
        self, url: str, target: Path, sha256: str, limit: int, item: str, report: Report
    ) -> None:
        digest, done, told = hashlib.sha256(), 0, 0
        async with self._get(url) as response:
            _refuse_page(url, response)
            total = _announced(url, response, limit)
            with target.open("wb") as output:
                async for chunk in _body(response, limit):
                    output.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    if done - told >= REPORT_BYTES:
                        told = done
                        report(item, "downloading", done, total, "bytes")
        if digest.hexdigest() != sha256:
            raise ArtifactError(
                f"{url} does not have the published checksum.",
                evidence=[f"published sha256 {sha256}", f"got       sha256 {digest.hexdigest()}"],
                remedy="a proxy or a mirror may change files; try another network or artifacts.source",
            )
        report(item, "downloaded", done, done, "bytes")

    async def _probe(self, url: str) -> bool:
        try:
            async with asyncio.timeout(PROBE_SECONDS), self._get(url):
                return True
        except (ArtifactError, TimeoutError):
            return False

    @asynccontextmanager
    async def _get(self, url: str) -> AsyncIterator[httpx2.Response]:
        """The answer to a GET, after allowed redirects; its body is still to be read."""
        headers = {"accept-encoding": "identity", "user-agent": "anykube"}
        async with httpx2.AsyncClient(verify=self._tls, timeout=self._stall, headers=headers) as client:
            try:
                response = await self._follow(client, url)
                try:
                    yield response
                finally:
                    await response.aclose()
            except httpx2.TransportError as error:
                raise TransferError(
                    f"{url} cannot be read: {type(error).__name__} {error}".rstrip() + ".", remedy=NETWORK
                ) from error
            except httpx2.InvalidURL as error:
                raise ArtifactError(f"{url[:200]!r} is not a URL: {error}.") from error

    async def _follow(self, client: httpx2.AsyncClient, url: str) -> httpx2.Response:
        allowed = {urlsplit(url).netloc} | self._redirects.get(urlsplit(url).netloc, frozenset())
        place = url
        for _ in range(MOST_REDIRECTS):
            _require_allowed(place, url, allowed)
            response = await client.send(client.build_request("GET", place), stream=True)
            if response.status_code == _OK:
                return response
            await response.aclose()
            if response.status_code not in _REDIRECT_STATUS:
                raise _refusal(place, response.status_code)
            place = urljoin(place, response.headers.get("location", ""))
        raise ArtifactError(f"{url} redirects more than {MOST_REDIRECTS} times.")


def _require_allowed(place: str, origin: str, allowed: set[str]) -> None:
    parts = urlsplit(place)
    if parts.scheme != "https" or parts.netloc not in allowed:
        raise ArtifactError(
            f"{origin} leads to {parts.scheme}://{parts.netloc}, which is not allowed.",
            evidence=[f"allowed are https and {', '.join(sorted(allowed))}"],
            remedy="a captive portal or a proxy may answer in its place; check the network",
        )


def _refusal(url: str, status: int) -> ArtifactError:
    brief = f"{url} answers with status {status}."
    if status in _BUSY_STATUS or status >= _SERVER_ERROR:
        return TransferError(brief, remedy="the server is in trouble; try again later")
    return ArtifactError(brief, remedy=NETWORK)


def _refuse_page(url: str, response: httpx2.Response) -> None:
    kind = response.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() in _PAGES:
        raise ArtifactError(
            f"{url} answers with a web page, not a file.",
            evidence=[f"content-type {kind[:80]}"],
            remedy="a captive portal or a proxy may answer in its place; check the network",
        )


def _announced(url: str, response: httpx2.Response, limit: int) -> float | None:
    """The length that the server announces; refused before the transfer when it is too much."""
    text = response.headers.get("content-length", "")
    if not text.isdecimal():
        return None
    if int(text) > limit:
        raise ArtifactError(f"{url} announces {text} bytes; at most {limit} are expected.")
    return float(text)


async def _body(response: httpx2.Response, limit: int) -> AsyncIterator[bytes]:
    done = 0
    async for chunk in response.aiter_raw(CHUNK):
        done += len(chunk)
        if done > limit:
            raise ArtifactError(
                f"{response.url} sends more than the {limit} bytes that are expected at most."
            )
        yield chunk

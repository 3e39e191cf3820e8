"""HTTPS to one API server with a client certificate: bounded answers, errors as ours. Used by this room only.

Plain httpx2 and JSON rather than a client library: anykube applies dicts, and needs dry runs, strict field
validation and the health paths, which typed clients hide.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anykube.errors import KubeBusyError, KubeError, TransportError
from anykube.secret import Secret

JSON = "application/json"
CONNECTIONS = 16
RESPONSE_LIMIT = 64 * 1024 * 1024
"""Bytes per answer. A page of 500 Nodes is about 10 MB."""
CONNECT_SECONDS = 2.0
"""For a connection, and again for its TLS handshake: what a machine that is gone costs."""
REQUEST_SECONDS = 30.0
TEXT_LIMIT = 1000
BUSY = frozenset({409, 410, 429, 500, 502, 503, 504})
"""Conflict, expired list, too many requests, etcd slow or without a leader, server starting or stopping."""
UNKNOWN_FIELD = "typed patch object"
"""An apply with a field that the API does not know is answered with 500, as if the server were to blame."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered."""

    status: int
    body: bytes


class Connection:
    """A pool of keep-alive connections to one server. Belongs to one event loop."""

    def __init__(self, server: str, context: ssl.SSLContext) -> None:
        # Imported here because it costs a tenth of a second, which `anykube --help` does not have.
        import httpx2

        self.server = server.rstrip("/")
        self._http_error = httpx2.HTTPError
        self._http = httpx2.AsyncClient(
            base_url=self.server,
            verify=context,
            # The API server of a cluster is never behind the proxy of this machine's environment.
            trust_env=False,
            timeout=httpx2.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS, pool=None),
            limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            headers={"accept": JSON, "accept-encoding": "identity", "user-agent": "anykube"},
        )

    async def send(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        content: bytes | None = None,
        media_type: str = JSON,
        accept: str = JSON,
        seconds: float = REQUEST_SECONDS,
    ) -> Answer:
        """One request, whatever the status. TransportError when no whole answer comes within `seconds`."""
        headers = {"accept": accept} | ({"content-type": media_type} if content is not None else {})
        try:
            async with (
                asyncio.timeout(seconds),
                self._http.stream(
                    method, path, params=dict(parameters or {}), content=content, headers=headers
                ) as response,
            ):
                return Answer(response.status_code, await _bounded(response.aiter_raw(), path))
        except TimeoutError:
            raise self._unreachable(f"no answer within {seconds:g} s") from None
        except self._http_error as error:
            refusal = _certificate_refusal(error)
            if refusal is not None:
                raise self._not_ours(refusal) from None
            raise self._unreachable(f"{type(error).__name__}: {printable(str(error))}") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def _unreachable(self, why: str) -> TransportError:
        return TransportError(f"The Kubernetes API at {self.server} does not answer.", evidence=(why,))

    def _not_ours(self, why: str) -> KubeError:
        return KubeError(
            f"What answers at {self.server} is not the API server of this cluster.",
            evidence=(why,),
            remedy="check that the address belongs to this cluster, with the certificates on record",
        )


def failure(answer: Answer, what: str) -> KubeError:
    """The error that an answer stands for, with the message of its Status object."""
    message = status_message(answer)
    brief = f"The Kubernetes API refused to {what} (status {answer.status})."
    if (answer.status in BUSY and UNKNOWN_FIELD not in message) or _terminating(_status(answer)):
        return KubeBusyError(brief, evidence=(message,))
    return KubeError(brief, evidence=(message,))


def status_message(answer: Answer) -> str:
    """What the API server says of a failure, as one printable line."""
    text = _status(answer).get("message") or answer.body[:TEXT_LIMIT].decode(errors="replace")
    return printable(str(text)) or "no message"


def decoded(answer: Answer, what: str) -> dict[str, Any]:
    """The JSON object in an answer. KubeError if there is none."""
    value = _json(answer.body)
    if isinstance(value, dict):
        return value
    text = printable(answer.body[:TEXT_LIMIT].decode(errors="replace"))
    raise KubeError(f"The answer to {what} is not a JSON object.", evidence=(text,))


def printable(text: str) -> str:
    """Remote text for people: one bounded line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:TEXT_LIMIT]).split())


def _status(answer: Answer) -> dict[str, Any]:
    value = _json(answer.body)
    return value if isinstance(value, dict) else {}


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _terminating(status: Mapping[str, Any]) -> bool:
    # A namespace that is being deleted answers 403; once it is gone it can be made again.
    return "NamespaceTerminating" in json.dumps(status.get("details"))


async def _bounded(chunks: Any, path: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > RESPONSE_LIMIT:
            raise KubeError(f"The answer to {path} is larger than {RESPONSE_LIMIT // 2**20} MiB; refused.")
        parts.append(chunk)
    return b"".join(parts)


def _certificate_refusal(error: BaseException | None) -> str | None:
    """The reason if we refused the server's certificate, which no retry cures; None for other trouble."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


def client_context(ca: bytes, certificate: bytes, key: Secret) -> ssl.SSLContext:
    """TLS that trusts one authority and shows one certificate. KubeError if they do not belong together."""
    try:
        context = ssl.create_default_context(cadata=ca.decode("ascii"))
        with _unnamed_file(certificate.rstrip() + b"\n" + key.reveal()) as path:
            context.load_cert_chain(path)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise KubeError(
            "The certificates for the Kubernetes API cannot be used.",
            evidence=(str(reason),),
            remedy="the CA, the certificate and its key must be PEM and belong together",
        ) from None
    return context


@contextmanager
def _unnamed_file(content: bytes) -> Iterator[str]:
    """A path for OpenSSL, which reads keys from files only: memory where the system can, else a 0600 file."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("anykube-client")
        path = f"/proc/self/fd/{descriptor}"
    else:  # pragma: no cover (macOS)
        descriptor, path = tempfile.mkstemp(prefix="anykube-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield path
    finally:
        if not path.startswith("/proc/"):  # pragma: no cover (macOS)
            Path(path).unlink()

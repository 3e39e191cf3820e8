"""One look at a shared address of the API, as a kubelet would connect to it: '' or what is wrong. I/O.

It tells apart what needs different hands: nobody answers, somebody else answers, the certificate names
another host, or a load balancer answers that has no healthy server.
"""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from anykube.kube.connection import printable

LOOK_SECONDS = 3.0
ANSWER_LIMIT = 4096
REQUEST = "GET /readyz HTTP/1.1\r\nHost: {host}\r\nUser-Agent: anykube\r\nConnection: close\r\n\r\n"
OTHER_NAME = frozenset({62, 64})
"""OpenSSL's codes for a certificate that is trusted and bears other names or addresses."""


async def endpoint_trouble(url: str, ca: bytes, seconds: float = LOOK_SECONDS) -> str:
    """'' if /readyz answers 200 there, with a certificate of this CA for this host. Never raises."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    where = parts.netloc
    try:
        async with asyncio.timeout(seconds):
            return await _look(host, port, where, ca)
    except TimeoutError:
        return f"{where} does not answer within {seconds:g} s"
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in OTHER_NAME:
            return f"the certificate that {where} shows does not name {host}"
        said = printable(error.verify_message)
        return f"what answers at {where} has no certificate of this cluster's CA ({said})"
    except (ssl.SSLError, ConnectionResetError, asyncio.IncompleteReadError):
        return f"{where} takes connections and ends them: no healthy API server is behind it"
    except OSError as error:
        return f"{where} does not answer: {printable(error.strerror or str(error))}"


async def _look(host: str, port: int, where: str, ca: bytes) -> str:
    context = ssl.create_default_context(cadata=ca.decode("ascii"))
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    try:
        writer.write(REQUEST.format(host=where).encode())
        line = await reader.readuntil(b"\r\n")
        status = line[:ANSWER_LIMIT].decode("latin-1").split(" ")
        if len(status) > 1 and status[1] == "200":
            return ""
        return f"/readyz at {where} says: {printable(' '.join(status[1:])) or 'nothing'}"
    finally:
        writer.close()

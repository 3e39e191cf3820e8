"""The certificate that a process shows to those who connect, seen from its own node. I/O, reads only.

Nothing is believed here: whatever is shown is taken down, and judged by plan/inventory.py, or compared by
execute/conditions.py.
"""

from __future__ import annotations

import asyncio
import ssl

from anykube.errors import TransportError
from anykube.transports.base import Reader, Transport, Writer

HANDSHAKE_SECONDS = 10.0
CHUNK = 16 * 1024


async def shown_certificate(transport: Transport, address: str, port: int, name: str) -> bytes:
    """The certificate (DER) that a TLS server behind a host's port shows to clients that ask for `name`.

    TransportError if nothing listens, or if no handshake comes about.
    """
    reader, writer = await transport.open(address, port)
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            return await _handshake(reader, writer, name)
    except (TimeoutError, OSError, ssl.SSLError) as error:
        why = str(error) or type(error).__name__
        raise TransportError(
            f"{transport.name}: what listens at {address}:{port} shows no certificate.", evidence=[why]
        ) from error
    finally:
        writer.close()


async def _handshake(reader: Reader, writer: Writer, name: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # An ended or foreign certificate is what we are looking for.
    context.verify_mode = ssl.CERT_NONE
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent, server_hostname=name)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            writer.write(sent.read())
            if not (data := await reader.read(CHUNK)):
                raise ConnectionResetError("the connection was closed") from None
            received.write(data)
        else:
            # The server may still refuse us for having no certificate: its own was shown by then.
            writer.write(sent.read())
            return tls.getpeercert(binary_form=True) or b""

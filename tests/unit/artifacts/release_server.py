"""A release server over HTTPS with a CA of its own, and small programs that are valid ELF files."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import io
import ipaddress
import ssl
import struct
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

MACHINES = {"amd64": 62, "arm64": 183}


def make_program(arch: str = "amd64", payload: bytes = b"work") -> bytes:
    """The least file that is a whole 64-bit Linux program: a header, one segment, a payload."""
    header_size, row_size = 64, 56
    offset = header_size + row_size
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(ident, 2, MACHINES[arch], 1, 0x400000, header_size, 0, 0, header_size, row_size, 1, 0, 0, 0),
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, offset, 0x400000, 0x400000, len(payload), len(payload), 8)
    return header + segment + payload


@dataclass
class Answer:
    """How the server answers one request. `claimed` is the content-length if it is not the true one."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    claimed: int | None = None
    stall: bool = False
    chunked: bool = False

    @property
    def content(self) -> bytes:
        """The body as it is sent."""
        if not self.chunked:
            return self.body
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(self.body), self.body)


@dataclass
class ReleaseServer:
    """Answers by path. A list of answers is used up one by one, the last one for ever."""

    url: str
    tls: ssl.SSLContext
    ca_file: Path
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def serve(self, path: str, *answers: Answer) -> None:
        """Answer `path` with these, in order."""
        self.answers[path] = list(answers)

    def publish(self, path: str, body: bytes, *, suffix: str = ".sha256") -> None:
        """A file and its checksum beside it."""
        self.serve(path, Answer(body))
        self.serve(path + suffix, Answer(hashlib.sha256(body).hexdigest().encode()))

    def next_answer(self, path: str) -> Answer:
        """What to say now."""
        self.seen.append(path)
        answers = self.answers.get(path, [Answer(b"not here", 404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]


async def _handle(server: ReleaseServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        answer = server.next_answer(request.split()[1])
        length = len(answer.body) if answer.claimed is None else answer.claimed
        lines = [f"HTTP/1.1 {answer.status} X", "connection: close"]
        lines.append("transfer-encoding: chunked" if answer.chunked else f"content-length: {length}")
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + answer.content)
        await writer.drain()
        if answer.stall:
            await reader.read()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test releases")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "ca.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


def make_archive(files: Mapping[str, bytes | None]) -> bytes:
    """A .tar.gz of regular files; None makes a symbolic link to /etc/passwd."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            entry.size = len(content or b"")
            opened.addfile(entry, io.BytesIO(content or b""))
    return buffer.getvalue()


@asynccontextmanager
async def running(certificate: Path, key: Path) -> AsyncIterator[ReleaseServer]:
    """A release server on a free port of the loopback address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    trust = ssl.create_default_context(cafile=str(certificate))
    server = ReleaseServer("", trust, certificate)
    listener = await asyncio.start_server(
        lambda reader, writer: _handle(server, reader, writer), "127.0.0.1", 0, ssl=context
    )
    server.url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        yield server

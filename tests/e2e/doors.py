"""Knocking at the ports of a cluster with and without credentials, from this machine."""

from __future__ import annotations

import http.client
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

from anykube.content.model import CertificateRequest
from anykube.pki.authority import issue
from anykube.pki.store import SecretStore

SECONDS = 10.0


def context(folder: Path, store: SecretStore | None = None, identity: str = "") -> ssl.SSLContext:
    """How to knock: as nobody, or as `identity` with its certificate and key from a store."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whether servers prove themselves is another question; here the question is whom they let in.
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if store is not None:
        certificate, key = folder / "client.crt", folder / "client.key"
        certificate.write_bytes(store.part(identity, "certificate").reveal())
        key.touch(mode=0o600)
        key.write_bytes(store.part(identity, "key").reveal())
        made.load_cert_chain(certificate, key)
    return made


def get(address: str, port: int, path: str, how: ssl.SSLContext) -> int:
    """The HTTP status of a request; 0 if the TLS handshake is refused."""
    connection = http.client.HTTPSConnection(address, port, context=how, timeout=SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return 0
    finally:
        connection.close()


def is_open(address: str, port: int) -> bool:
    """Whether anything listens."""
    try:
        socket.create_connection((address, port), SECONDS).close()
    except ConnectionRefusedError:
        return False
    return True


def stranger(folder: Path) -> SecretStore:
    """A client certificate with the right names, by an authority of its own."""
    store = SecretStore(folder / "stranger")
    requests = (
        CertificateRequest("ca/etcd", "", "someone's etcd CA", days=30),
        CertificateRequest("etcd-client", "ca/etcd", "kube-apiserver-etcd-client", client=True),
    )
    issue(store, requests, datetime.now(UTC))
    return store

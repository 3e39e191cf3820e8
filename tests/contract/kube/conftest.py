"""A real etcd and a real kube-apiserver on loopback, with certificates by our own authority."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from anykube.artifacts import service
from anykube.artifacts.store import Store
from anykube.content.model import CertificateRequest, SecretRequest
from anykube.kube.client import KubeClient
from anykube.pki.authority import generate, issue
from anykube.pki.store import SecretStore

START_SECONDS = 60
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class ApiServer:
    """Where an API server listens, and the secrets that were made for it."""

    url: str
    secrets: SecretStore

    def client(self, *, authority: str = "ca/cluster", identity: str = "admin") -> KubeClient:
        """A client with this idea of the CA, showing this certificate."""
        return KubeClient(
            (self.url,),
            self.secrets.part(authority, "certificate").reveal(),
            self.secrets.part(identity, "certificate").reveal(),
            self.secrets.part(identity, "key"),
        )


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> SecretStore:
    """Certificates of an API server and its clients, and of strangers."""
    return _secrets(tmp_path_factory.mktemp("secrets"))


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory, secrets: SecretStore) -> Iterator[ApiServer]:
    """Started once for all tests; objects that a test needs absent it must delete itself."""
    folder = tmp_path_factory.mktemp("api-server")
    binaries = _binaries()
    port, client_port, peer_port = _free_ports(3)
    with ExitStack() as stack:
        _start(stack, folder, "etcd", [str(binaries["etcd"]), *_etcd_flags(folder, client_port, peer_port)])
        command = [str(binaries["kube-apiserver"]), *_api_flags(folder, secrets, port, client_port)]
        process = _start(stack, folder, "kube-apiserver", command)
        server = ApiServer(f"https://{LOOPBACK}:{port}", secrets)
        asyncio.run(_until_ready(server, process, folder / "kube-apiserver.log"))
        yield server


@pytest.fixture
async def client(api_server: ApiServer) -> AsyncIterator[KubeClient]:
    """A client with all rights."""
    found = api_server.client()
    yield found
    await found.close()


def _binaries() -> dict[str, Path]:
    store = Store()
    names = ("etcd", "kube-apiserver")
    lock = asyncio.run(service.fetch("1.36.3", names, arch=service.arch(), store=store))
    return {name: store.path(lock.artifacts[name].sha256) for name in names}


def _secrets(folder: Path) -> SecretStore:
    store = SecretStore(folder / "secrets")
    masters = ("system:masters",)
    requests = [
        CertificateRequest("ca/cluster", "", "cluster"),
        CertificateRequest("ca/stranger", "", "stranger"),
        CertificateRequest("server", "ca/cluster", "kube-apiserver", addresses=(LOOPBACK,), server=True),
        CertificateRequest("admin", "ca/cluster", "admin", masters, client=True),
        CertificateRequest("nobody", "ca/cluster", "nobody", client=True),
        CertificateRequest("stranger", "ca/stranger", "admin", masters, client=True),
    ]
    issue(store, requests, datetime.now(UTC))
    generate(store, [SecretRequest("service-account", "key-pair")])
    return store


def _write(folder: Path, secrets: SecretStore, secret: str, part: str) -> str:
    path = folder / f"{secret.replace('/', '-')}.{part}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.part(secret, part).reveal())
    return str(path)


def _etcd_flags(folder: Path, client_port: int, peer_port: int) -> list[str]:
    client_url, peer_url = f"http://{LOOPBACK}:{client_port}", f"http://{LOOPBACK}:{peer_port}"
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
        "--unsafe-no-fsync",
    ]


def _api_flags(folder: Path, secrets: SecretStore, port: int, etcd_port: int) -> list[str]:
    return [
        f"--etcd-servers=http://{LOOPBACK}:{etcd_port}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--endpoint-reconciler-type=none",
        f"--client-ca-file={_write(folder, secrets, 'ca/cluster', 'certificate')}",
        f"--tls-cert-file={_write(folder, secrets, 'server', 'certificate')}",
        f"--tls-private-key-file={_write(folder, secrets, 'server', 'key')}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={_write(folder, secrets, 'service-account', 'public')}",
        f"--service-account-signing-key-file={_write(folder, secrets, 'service-account', 'key')}",
    ]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]


def _start(stack: ExitStack, folder: Path, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


async def _until_ready(server: ApiServer, process: subprocess.Popen[bytes], log: Path) -> None:
    client = server.client()
    deadline = time.monotonic() + START_SECONDS
    while why := await client.readiness():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"kube-apiserver did not become ready: {why}\n{log.read_text()[-3000:]}")
        await asyncio.sleep(0.05)
    await client.close()

"""The administrator's kubeconfig names a server that answers, and says so when none does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from anykube.access import admin_kubeconfig, write_kubeconfig
from anykube.content.model import CertificateRequest
from anykube.errors import StateError
from anykube.pki.authority import issue
from anykube.pki.store import SecretStore
from anykube.session import Doors, Folders, Session
from anykube.spec.load import load
from anykube.spec.model import Cluster
from anykube.state.clusters import SECRETS, folder
from anykube.state.record import RecordStore, new_record

POOLS = "{name: cp, roles: [control-plane, etcd], count: 3}, {name: worker, roles: [worker]}"
ONE, TWO, THREE = (f"https://10.9.0.1{number}:6443" for number in (1, 2, 3))
SHARED = "https://10.9.0.99:8443"


def cluster_of(endpoint: str = "{}", pools: str = POOLS, name: str = "demo") -> Cluster:
    return load(f"""
apiVersion: anykube.dev/v1alpha1
kind: Cluster
metadata: {{name: {name}}}
spec:
  kubernetes: {{version: "1.36.3"}}
  machines: {{provider: {{lxc: {{}}}}, pools: [{pools}]}}
  endpoint: {endpoint}
""")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A cluster that was brought up."""
    home = folder(tmp_path / "state", "demo")
    masters = ("system:masters",)
    requests = [
        CertificateRequest("ca/cluster", "", "cluster"),
        CertificateRequest("users/admin", "ca/cluster", "admin", masters, client=True),
        CertificateRequest("users/super-admin", "ca/cluster", "super", masters, client=True),
    ]
    issue(SecretStore(home / SECRETS), requests, datetime.now(UTC))
    addresses = {f"demo-cp-{number}": f"10.9.0.1{number}" for number in (1, 2, 3)}
    record = replace(new_record("demo"), addresses={**addresses, "demo-worker-1": "10.9.0.21"})
    RecordStore(home).save(replace(record, site={"virtual-ip": "10.9.0.99"}))
    return Folders(tmp_path / "state", tmp_path / "cache")


class Api:
    """An API of which some servers are ready."""

    def __init__(self, servers: tuple[str, ...], ready: set[str]) -> None:
        self._servers, self._ready = servers, ready

    async def readiness_of_each(self) -> Mapping[str, str]:
        return {url: "" if url in self._ready else "refused" for url in self._servers}

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    found: set[str] = set()
    doors: Any = Doors(kube=lambda servers, *_: Api(tuple(servers), found))  # type: ignore[arg-type]
    monkeypatch.setattr(Session, "doors", doors)
    return found


async def contexts(cluster: Cluster, folders: Folders) -> tuple[dict[str, str], str]:
    """The server of each context, the current one first, and the note."""
    found = await admin_kubeconfig(cluster, folders=folders)
    document = yaml.safe_load(found.content.reveal())
    servers = {item["name"]: item["cluster"]["server"] for item in document["clusters"]}
    assert document["current-context"] == document["contexts"][0]["name"]
    assert servers[document["contexts"][0]["context"]["cluster"]] == found.server
    return {item["name"]: servers[item["context"]["cluster"]] for item in document["contexts"]}, found.note


async def test_the_first_control_plane_that_is_ready(folders: Folders, ready: set[str]) -> None:
    ready |= {TWO, THREE}
    expected = {"admin@demo": TWO, "admin@demo-cp-1": ONE, "admin@demo-cp-2": TWO, "admin@demo-cp-3": THREE}
    assert await contexts(cluster_of(), folders) == (expected, "")
    ready.add(ONE)
    assert await contexts(cluster_of(), folders) == ({**expected, "admin@demo": ONE}, "")


async def test_nothing_answers_and_the_file_is_made_nevertheless(folders: Folders, ready: set[str]) -> None:
    found, note = await contexts(cluster_of(), folders)
    assert found["admin@demo"] == ONE
    assert note == f"No API server answers now. The kubeconfig names {ONE}: refused"


@pytest.mark.parametrize("kind", ["{kind: virtual-ip}", "{kind: external, address: 10.9.0.99, port: 8443}"])
async def test_a_shared_endpoint_is_named_although_it_is_silent(
    kind: str, folders: Folders, ready: set[str]
) -> None:
    ready |= {TWO, SHARED}
    found, note = await contexts(cluster_of(kind), folders)
    assert (found["admin@demo"], found["admin@demo-cp-2"], note) == (SHARED, TWO, "")
    ready.discard(SHARED)
    found, note = await contexts(cluster_of(kind), folders)
    assert found["admin@demo"] == SHARED
    assert (
        note == f"The endpoint {SHARED} does not answer (refused); until it does: --context admin@demo-cp-2"
    )


async def test_one_control_plane_needs_one_context(folders: Folders, ready: set[str]) -> None:
    ready.add(ONE)
    single = cluster_of(pools=POOLS.replace("3", "1"))
    assert await contexts(single, folders) == ({"admin@demo": ONE}, "")


async def test_nodes_that_are_only_in_the_file_are_not_named(folders: Folders, ready: set[str]) -> None:
    ready.add(ONE)
    found, _ = await contexts(cluster_of(pools=POOLS.replace("3", "5")), folders)
    assert sorted(found) == ["admin@demo", "admin@demo-cp-1", "admin@demo-cp-2", "admin@demo-cp-3"]


async def test_a_cluster_that_is_not_there(folders: Folders, ready: set[str]) -> None:
    for cluster in (cluster_of(name="other"), cluster_of(pools=POOLS.replace("name: cp", "name: plane"))):
        with pytest.raises(StateError, match="no administrator yet"):
            await admin_kubeconfig(cluster, folders=folders)


async def test_the_file_is_private(folders: Folders, ready: set[str]) -> None:
    found = await admin_kubeconfig(cluster_of(), folders=folders)
    path = write_kubeconfig(cluster_of(), found, folders=folders)
    assert path.read_bytes() == found.content.reveal()
    assert path.stat().st_mode & 0o777 == 0o600

"""What the LXC provider says should exist: stable, free of collisions, and changed when its inputs change."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from anykube.errors import ProviderError
from anykube.facts.artifacts import ArtifactLock, LockedArtifact
from anykube.facts.machines import SiteFacts
from anykube.facts.record import Record
from anykube.plan.blueprint import settings_digest
from anykube.plan.effects import EnsureSite
from anykube.providers.lxc import host, recipe
from anykube.providers.lxc.layout import NOTE, Layout, write_text
from anykube.providers.lxc.provider import LxcProvider
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

RECORD = Record("demo", "lineage")


def never(*_arguments: object) -> None:
    raise AssertionError("nothing is made here")


def make_cluster(workers: int = 1, subnet: str | None = None, pods: str = "10.244.0.0/16") -> Cluster:
    lxc = {} if subnet is None else {"subnet": subnet}
    pools = [
        {"name": "cp", "roles": ["control-plane", "etcd"], "memory": 16777216, "cpus": 0.5},
        {"name": "worker", "roles": ["worker"], "count": workers},
    ]
    document = {
        "apiVersion": "anykube.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "demo"},
        "spec": {
            "kubernetes": {"version": "1.36.3"},
            "network": {"pods": pods},
            "machines": {"provider": {"lxc": lxc}, "pools": pools},
        },
    }
    return Cluster.model_validate_json(json.dumps(document))


def make_provider(cluster: Cluster, folder: Path) -> LxcProvider:
    return LxcProvider(
        cluster,
        cache=folder / "cache",
        ssh_public_key=never,  # type: ignore[arg-type]
        artifact_path=never,  # type: ignore[arg-type]
        root=folder / "lxc",
    )


def make_node(folder: Path) -> None:
    """A container that is complete, as far as its provider can see."""
    node = Layout(folder / "lxc", folder / "cache", "demo").nodes / "demo-cp-1"
    node.mkdir(parents=True)
    write_text(node / NOTE, "{}")


def make_lock(digest: str = "0" * 64) -> ArtifactLock:
    artifact = LockedArtifact("kubelet", "1.36.3", "amd64", "binary", "gomod", digest, 5)
    return ArtifactLock("1.36.3", "amd64", {"kubelet": artifact})


def test_a_subnet_that_another_cluster_took_first_is_chosen_anew(tmp_path: Path) -> None:
    wanted = make_cluster()
    first = make_provider(wanted, tmp_path).blueprint(nodes(wanted), RECORD, None, ())
    subnet = first.choices["subnet"]
    begun = replace(RECORD, site=dict(first.choices), addresses=dict(first.addresses))
    again = make_provider(wanted, tmp_path).blueprint(nodes(wanted), begun, None, ())
    assert again.addresses == first.addresses
    later = make_provider(wanted, tmp_path).blueprint(nodes(wanted), begun, None, (subnet,))
    assert later.choices["subnet"] != subnet
    assert not set(later.addresses.values()) & set(first.addresses.values())
    # Once there is a node, the subnet stays, whoever routes it too.
    make_node(tmp_path)
    kept = make_provider(wanted, tmp_path).blueprint(nodes(wanted), begun, None, (subnet,))
    assert kept.choices["subnet"] == subnet


def test_parts_in_order_and_sizes(tmp_path: Path) -> None:
    cluster = make_cluster()
    drawn = make_provider(cluster, tmp_path).blueprint(nodes(cluster), RECORD, None, [])
    assert list(drawn.parts) == ["rootfs", "software", "network"]
    assert drawn.parts["software"] == {"lock": "pending"}
    assert drawn.parts["network"] == {"bridge": "ak-demo", "subnet": "10.81.0.0/24"}
    assert drawn.choices == {"subnet": "10.81.0.0/24", "virtual-ip": "10.81.0.254"}
    assert drawn.machines["demo-cp-1"].settings == {"cpus": "0.5", "memory": "16777216"}
    assert drawn.machines["demo-worker-1"].settings == {}
    assert drawn.creates


def test_the_record_is_kept_when_the_cluster_grows(tmp_path: Path) -> None:
    small, large = make_cluster(1), make_cluster(5)
    first = make_provider(small, tmp_path).blueprint(nodes(small), RECORD, None, [])
    addresses = {name: machine.address for name, machine in first.machines.items()}
    record = replace(RECORD, site=first.choices, addresses=addresses)
    # By now this machine has nodes, and routes the subnet itself.
    make_node(tmp_path)
    second = make_provider(large, tmp_path).blueprint(nodes(large), record, None, ["10.81.0.0/24"])
    assert second.choices == first.choices
    assert {name: second.machines[name].address for name in addresses} == addresses
    assert len({machine.address for machine in second.machines.values()}) == 6


def test_the_subnet_avoids_routes_pods_services_and_other_clusters(tmp_path: Path) -> None:
    cluster = make_cluster(pods="10.81.0.0/17")
    site = tmp_path / "lxc" / "other" / "site"
    site.mkdir(parents=True)
    note = {"cluster": "other", "settings": {"subnet": "10.82.0.0/24"}}
    write_text(site / "network.json", json.dumps(note))
    drawn = make_provider(cluster, tmp_path).blueprint(nodes(cluster), RECORD, None, ["10.82.1.0/25"])
    assert drawn.choices == {"subnet": "10.82.2.0/24", "virtual-ip": "10.82.2.254"}


def test_a_changed_artifact_is_another_software_layer(tmp_path: Path) -> None:
    cluster = make_cluster()
    digests = set()
    for lock in (None, make_lock("0" * 64), make_lock("1" * 64)):
        drawn = make_provider(cluster, tmp_path).blueprint(nodes(cluster), RECORD, lock, [])
        digests.add(settings_digest(drawn.parts["software"]))
    assert len(digests) == 3


def test_a_changed_recipe_is_another_root_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    identities = {recipe.settings("bookworm")["id"], recipe.settings("trixie")["id"]}
    for name, value in (
        ("PACKAGES", (*recipe.PACKAGES, "vim")),
        ("MASKED", recipe.MASKED[1:]),
        ("VERSION", "next"),
        ("FILES", {**recipe.FILES, "etc/x": ""}),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(recipe, name, value)
            identities.add(recipe.settings("bookworm")["id"])
    assert len(identities) == 6


async def test_observing_nothing_needs_no_root_and_changes_nothing(tmp_path: Path) -> None:
    assert await make_provider(make_cluster(), tmp_path).observe() == SiteFacts()
    assert list(tmp_path.iterdir()) == []


async def test_without_root_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ProviderError) as caught:
        await make_provider(make_cluster(), tmp_path).perform(EnsureSite("network", {}), never)
    assert "sudo" in str(caught.value.remedy)


async def test_missing_tools_are_named_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProviderError) as caught:
        await make_provider(make_cluster(), tmp_path).perform(EnsureSite("network", {}), never)
    assert caught.value.remedy == "apt-get install iproute2 lxc mmdebstrap nftables"


@pytest.mark.parametrize("folder", ["/with space", "/with:colon", "/with,comma", "relative"])
def test_folders_that_mount_options_cannot_hold(folder: str, tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="cannot use the folder"):
        Layout(tmp_path, Path(folder), "demo")


def test_this_machine_is_described() -> None:
    here = host.inspect()
    assert here.cgroup in (1, 2)
    assert here.memory > 100
    assert here.capabilities
    assert here.arch in ("amd64", "arm64")
    assert host.fresh(replace(here, distribution="debian", codename="trixie", cgroup=2), 7).systemd == 257
    assert host.fresh(replace(here, distribution="debian", codename="trixie", cgroup=1), 7).systemd == 252

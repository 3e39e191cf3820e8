"""Which providers there are: one folder each, one line here. Loaded when used, because most runs use one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from anykube.artifacts.store import Store
from anykube.pki.store import SecretStore
from anykube.providers.base import Provider
from anykube.spec.model import Cluster


def make_provider(cluster: Cluster, cache: Path, secrets: SecretStore, store: Store) -> Provider:
    """The provider that the object asks for."""
    return _PROVIDERS[cluster.spec.machines.provider.kind](cluster, cache, secrets, store)


def _lxc(cluster: Cluster, cache: Path, secrets: SecretStore, store: Store) -> Provider:
    from anykube.providers.lxc.provider import LxcProvider

    return LxcProvider(
        cluster,
        cache=cache,
        ssh_public_key=lambda: secrets.part("ssh", "public").reveal().decode(),
        artifact_path=store.path,
    )


def _machines(cluster: Cluster, _cache: Path, _secrets: SecretStore, _store: Store) -> Provider:
    from anykube.providers.machines.provider import MachinesProvider

    return MachinesProvider(cluster)


_PROVIDERS: dict[str, Callable[[Cluster, Path, SecretStore, Store], Provider]] = {
    "lxc": _lxc,
    "machines": _machines,
}
"""By the key under spec.machines.provider."""

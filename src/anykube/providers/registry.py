"""Which providers there are: one folder each, one line here. Loaded when used, because most runs use one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from anykube.artifacts.store import Store
from anykube.pki.store import SecretStore
from anykube.providers.base import Provider
from anykube.spec.model import Cluster, Machine

Departing = Callable[[], Mapping[str, Machine]]
"""Existing machines that are not in the object any more and are still to be reached."""


def make_provider(
    cluster: Cluster, cache: Path, secrets: SecretStore, store: Store, departing: Departing
) -> Provider:
    """The provider that the object asks for."""
    return _PROVIDERS[cluster.spec.machines.provider.kind](cluster, cache, secrets, store, departing)


def _lxc(cluster: Cluster, cache: Path, secrets: SecretStore, store: Store, _: Departing) -> Provider:
    from anykube.providers.lxc.provider import LxcProvider

    return LxcProvider(
        cluster,
        cache=cache,
        ssh_public_key=lambda: secrets.part("ssh", "public").reveal().decode(),
        artifact_path=store.path,
    )


def _machines(
    cluster: Cluster, _cache: Path, _secrets: SecretStore, _store: Store, departing: Departing
) -> Provider:
    from anykube.providers.machines.provider import MachinesProvider

    return MachinesProvider(cluster, departing)


_PROVIDERS: dict[str, Callable[[Cluster, Path, SecretStore, Store, Departing], Provider]] = {
    "lxc": _lxc,
    "machines": _machines,
}
"""By the key under spec.machines.provider."""

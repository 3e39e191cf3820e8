"""Turns rings of keys: one more is made, another one is used, the others are dropped. What handlers.py calls.

A ring is a CA, the key pair of service-account tokens, or the keys of encryption at rest (pki/kinds.py): its
first key is used, all are trusted. It is one file, so each turn happens as a whole or not at all. Which turn
is due is plan/rotation.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from anykube.content.model import CertificateRequest, SecretRequest
from anykube.errors import StateError
from anykube.pki import authority, kinds
from anykube.pki.store import SecretStore
from anykube.plan.effects import AddKey, DropKeys, KeyEffect, UseKey
from anykube.secret import Secret


def turn(store: SecretStore, effect: KeyEffect, now: datetime) -> None:
    """What the plan asks for."""
    match effect:
        case AddKey(request):
            add_key(store, request, now)
        case UseKey(secret, key):
            use_key(store, secret, key)
        case DropKeys(secret, keep):
            drop_keys(store, secret, keep)


def add_key(store: SecretStore, request: CertificateRequest | SecretRequest, now: datetime) -> None:
    """Make one more key, which is trusted and not used yet. A ring that has two stays as it is."""
    kind, ring = _ring(store, request.secret)
    if len(ring) == 1:
        made = authority.new_key(kind, request, now)
        store.turn(request.secret, kinds.joined(kind, [*ring.values(), made]))


def use_key(store: SecretStore, name: str, key: str) -> None:
    """Use this key from now on; the others stay trusted. StateError if the ring does not have it."""
    kind, ring = _ring(store, name)
    if next(iter(ring)) != key:
        others = [value for other, value in ring.items() if other != key]
        store.turn(name, kinds.joined(kind, [_key(name, ring, key), *others]))


def drop_keys(store: SecretStore, name: str, keep: str) -> None:
    """Keep this key only. It must be the one in use."""
    kind, ring = _ring(store, name)
    if next(iter(ring)) != keep:
        raise StateError(f"The key {keep[:16]} of {name} is not the one in use; nothing is dropped.")
    if len(ring) > 1:
        store.turn(name, kinds.joined(kind, [ring[keep]]))


def _ring(store: SecretStore, name: str) -> tuple[str, Mapping[str, Secret]]:
    kind, content = store.kind(name), store.content(name)
    if kind is None or content is None or not content.ring:
        raise StateError(f"The secret {name} is not here, or it is none that can be rotated.")
    return kind, content.ring


def _key(name: str, ring: Mapping[str, Secret], key: str) -> Secret:
    if key not in ring:
        raise StateError(
            f"The secret {name} does not have the key that is to be used.",
            evidence=[f"wanted: {key}", f"there: {', '.join(ring)}"],
            remedy="look again: anykube plan",
        )
    return ring[key]

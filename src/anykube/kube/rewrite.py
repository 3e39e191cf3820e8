"""Has the API write all Secrets anew, so that they are stored under the encryption key in use now. I/O.

An empty patch is enough: the API server reads the object, finds that it is stored under another key than the
first, and writes it. One that is stored as it should be is left alone. No content of a Secret comes to us.
https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/#ensure-all-secrets-are-encrypted
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from anykube.kube.client import KubeClient

AT_ONCE = 16
"""Each is a read and a write of etcd; what users do must get through as well."""

Progress = Callable[[int, int], Awaitable[None]]
"""How many of how many are done."""


async def rewrite_secrets(client: KubeClient, progress: Progress) -> None:
    """Every Secret that is there; one that is made meanwhile is under the new key. May be repeated."""
    names = await client.names("Secret")
    for done in range(0, len(names), AT_ONCE):
        await progress(done, len(names))
        await asyncio.gather(*(client.touch(name) for name in names[done : done + AT_ONCE]))

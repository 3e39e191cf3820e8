"""Backup and restore of one control plane, beside etcd's own tools used by hand for the same.

backup   `anykube backup create`, beside `etcdctl snapshot save` from this machine, restored once into a
         scratch folder (`etcdutl snapshot restore`): the proof that every archive of ours has had
restore  `anykube restore`, beside the same by hand on the node: API server and etcd stopped, `etcdutl
         snapshot restore` with bumped revisions, data exchanged, both started again, until /readyz answers

etcd holds as many MiB of random values more as `FILL_MIB` says.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from anykube.content.etcd import CLIENT_PORT
from anykube.content.paths import ETCD, install_path
from anykube.facts.artifacts import ArtifactLock
from anykube.facts.probe_script import ETCD_CLIENT
from anykube.pki.store import SecretStore
from anykube.state.clusters import SECRETS, folder
from anykube.transports.base import Transport
from bench.contest import Run
from bench.figures import Row, Say, by_name, load_average, ratios, spread
from bench.lab import Site, opened, site
from bench.shape import Shape
from bench.sides import PROGRAM, apply, must_be_right, noted_addresses, ours

SHAPE = Shape(1)
TARGET = 1.2
FILL_MIB = 256
SECONDS = 300.0
FILL = f"""
head -c 1000000 /dev/urandom | base64 -w 0 | head -c 1048576 >/tmp/value
for number in $(seq {FILL_MIB}); do {ETCD_CLIENT} put /filling/$number </tmp/value >/dev/null; done
"""
SNAPSHOT = "/root/bench.db"
BY_HAND = f"""
{ETCD_CLIENT} --command-timeout=60s snapshot save {SNAPSHOT} >/dev/null
"""
RESTORE = f"""
systemctl stop kube-apiserver etcd
rm -rf {ETCD}/new {ETCD}/old
name=$(sed -n 's/^ETCD_INITIAL_CLUSTER="\\([^=]*\\)=.*/\\1/p' /etc/etcd/members.env)
peer=$(sed -n 's/^ETCD_INITIAL_CLUSTER="[^=]*=\\(.*\\)"/\\1/p' /etc/etcd/members.env)
{install_path("etcdutl")} snapshot restore {SNAPSHOT} --name "$name" --initial-cluster "$name=$peer" \\
    --initial-advertise-peer-urls "$peer" --bump-revision 1000000000 --mark-compacted \\
    --data-dir {ETCD}/new >/dev/null 2>&1
chown -R etcd:etcd {ETCD}/new
mv {ETCD}/member {ETCD}/old && mv {ETCD}/new/member {ETCD}/member
systemctl start etcd kube-apiserver
until curl -skf https://127.0.0.1:6443/readyz >/dev/null; do sleep 0.05; done
"""
Found = dict[str, list[Run]]


async def measure(runs: int, lock: ArtifactLock, say: Say) -> Found:
    """As many pairs of each, one after the other on one cluster."""
    found: Found = {"anykube": [], "by hand": []}
    async with site("bench-b", SHAPE, lock) as made:
        await apply(made)
        known = await noted_addresses(made)
        await must_be_right(made, lambda: ours(made, known))
        async with opened(made) as session:
            transport = session.transport(made.planes[0])
            await _on(transport, FILL)
            for number in range(runs):
                kept, hand = made.folder / f"archives-{number}", _Hand(made, lock, known[0])
                load = load_average()
                backup, bare = await _anykube(made, "create", "--to", str(kept)), await hand.save()
                (archive,) = kept.glob("*.age")
                restore = await _restore(made, archive)
                await must_be_right(made, lambda: ours(made, known))
                await _on(transport, BY_HAND)
                bare_restore = await _on(transport, RESTORE)
                await must_be_right(made, lambda: ours(made, known))
                found["anykube"].append({"backup": backup, "restore": restore, "load": load})
                found["by hand"].append({"backup": bare, "restore": bare_restore, "load": load})
                shutil.rmtree(kept)
                say(f"backup {number + 1}/{runs}: {found['anykube'][-1]}, by hand {found['by hand'][-1]}")
    return found


def report(found: Found) -> list[Row]:
    """The ratios of the pairs."""
    load = spread(by_name(found["anykube"], "load")).median
    rows = []
    for what in ("backup", "restore"):
        mine, other = by_name(found["anykube"], what), by_name(found["by hand"], what)
        beside = (
            f"{spread(mine).median:.1f} s / {spread(other).median:.1f} s, {FILL_MIB} MiB, load {load:.1f}"
        )
        rows.append(Row(f"{what}, anykube / by hand", ratios(mine, other), "", TARGET, beside))
    return rows


class _Hand:
    """etcd's tools on this machine, with a certificate that etcd takes."""

    def __init__(self, made: Site, lock: ArtifactLock, address: str) -> None:
        store = SecretStore(folder(made.folders.state, made.cluster.name) / SECRETS)
        software = made.folders.cache / "artifacts/sha256"
        self._control, self._util = (
            software / lock.artifacts[name].sha256 for name in ("etcdctl", "etcdutl")
        )
        self._folder = Path(tempfile.mkdtemp(dir=made.folder))
        server = f"nodes/{made.planes[0]}/etcd-server"
        self._client = [f"--endpoints=https://{address}:{CLIENT_PORT}"]
        for file, secret, part in (
            ("cacert", "ca/etcd", "certificate"),
            ("cert", server, "certificate"),
            ("key", server, "key"),
        ):
            (self._folder / file).write_bytes(store.part(secret, part).reveal())
            self._client.append(f"--{file}={self._folder / file}")

    async def save(self) -> float:
        """Seconds for a snapshot that was restored once."""
        started = time.monotonic()
        snapshot = str(self._folder / "snapshot.db")
        await _run([str(self._control), *self._client, "snapshot", "save", snapshot])
        await _run(
            [str(self._util), "snapshot", "restore", snapshot, "--data-dir", str(self._folder / "data")]
        )
        return time.monotonic() - started


async def _anykube(made: Site, *arguments: str) -> float:
    started = time.monotonic()
    await _run([str(PROGRAM), "backup", *arguments, "-f", str(made.file)], made.environment)
    return time.monotonic() - started


async def _restore(made: Site, archive: Path) -> float:
    key = made.folder / "key"
    store = SecretStore(folder(made.folders.state, made.cluster.name) / SECRETS)
    key.write_bytes(store.part("backup-key", "key").reveal())
    arguments = ["restore", str(archive), "--identity", str(key), "--yes", "-f", str(made.file)]
    started = time.monotonic()
    await _run([str(PROGRAM), *arguments], made.environment)
    return time.monotonic() - started


async def _on(transport: Transport, script: str) -> float:
    started = time.monotonic()
    done = await transport.run(["sh", "-c", f"set -e\n{script}"], seconds=SECONDS)
    if done.status:
        raise RuntimeError(f"by hand: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return time.monotonic() - started


async def _run(argv: Sequence[str], environment: dict[str, str] | None = None) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{argv[0]} ended with {process.returncode}: {said.decode()[-1000:]}")

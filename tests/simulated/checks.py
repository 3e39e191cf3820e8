"""What must be true of a site, whatever was done to the runs that made it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.simulated.site import NAME, Site
from tests.simulated.trees import tree

from anykube.content.etcd import BORN, MEMBERS
from anykube.content.paths import INPUTS, LEDGER, OWNER, STATE
from anykube.pki.store import SecretStore
from anykube.state.record import RecordStore
from anykube.testing import SimulatedHost

AUTHORITIES = ("ca/cluster", "ca/etcd", "ca/front-proxy", "service-account", "encryption-config")
OUR_OWN = tuple(f"{path.removeprefix('/')}" for path in (STATE,))
MEMBERS_TEXT = 'ETCD_INITIAL_CLUSTER="node-1=https://192.0.2.1:2380"\nETCD_INITIAL_CLUSTER_STATE=existing\n'
BORN_TEXT = "ETCD_INITIAL_CLUSTER_STATE=existing\n"


@dataclass(frozen=True, slots=True)
class Identity:
    """What no interruption may change: once something is known, it stays."""

    lineage: str
    epoch: int
    authorities: dict[str, str]

    def continues(self, earlier: Identity) -> None:
        """Fail unless this is the same cluster later on."""
        if earlier.lineage:
            assert self.lineage == earlier.lineage, "the cluster has another lineage"
        assert self.epoch >= earlier.epoch, "an epoch went back"
        for name, sha256 in earlier.authorities.items():
            assert self.authorities.get(name) == sha256, f"{name} was made again"


def identity(site: Site, state: Path | None = None) -> Identity:
    """The identity as the state folder has it now."""
    folder = (state or site.state) / NAME
    record = RecordStore(folder).load()
    facts = SecretStore(folder / "secrets").facts()
    authorities = {
        name: hashlib.sha256(repr(sorted(facts[name].parts.items())).encode()).hexdigest()
        for name in AUTHORITIES
        if name in facts
    }
    return Identity(record.lineage if record else "", record.epoch if record else 0, authorities)


def temporaries(host: SimulatedHost) -> list[str]:
    """Files that a script makes on the way and must not leave."""
    found = [
        *host.root.rglob("*.anykube-new"),
        *host.path(STATE).rglob("*.new"),
        *host.path(INPUTS).glob(".*"),
    ]
    return [str(path.relative_to(host.root)) for path in found]


def finished(site: Site, *, starts: bool = True) -> None:
    """Fail unless the cluster is whole and nothing is lying about. starts: whether every unit must have been
    started exactly once."""
    now = identity(site)
    assert set(now.authorities) == set(AUTHORITIES)
    for name, host in site.hosts.items():
        assert temporaries(host) == [], f"left on {name}"
        lineage, epoch = host.path(OWNER).read_text().split()
        assert (lineage, int(epoch) <= now.epoch) == (now.lineage, True)
        _accounted(host, site.fresh_trees[name])
        _runs_with_what_is_there(host)
        if starts:
            _started_once(host)
    assert site.hosts["node-1"].path(MEMBERS).read_text() == MEMBERS_TEXT
    assert site.hosts["node-1"].path(BORN).read_text() == BORN_TEXT
    assert not list(site.state.rglob("*.tmp")), "a temporary file was left in the state folder"


def _accounted(host: SimulatedHost, fresh: dict[str, tuple[str, str]]) -> None:
    """The ledger lists every file and folder that is new, but for what is in a folder of data."""
    ledger = set(host.path(LEDGER).read_text().splitlines())
    data = [line.removeprefix("data /") for line in ledger if line.startswith("data ")]
    for path, (_, content) in tree(host).items():
        in_data = any(path.startswith(f"{folder}/") for folder in data)
        if path in fresh or (path.startswith(OUR_OWN) and f"file /{path}" not in ledger):
            continue
        if "multi-user.target.wants" in path:
            line = f"unit {Path(path).name}" if content != "folder" else ""
        else:
            line = f"{'directory' if content == 'folder' else 'file'} /{path}"
        assert not line or in_data or line in ledger, f"{line} is not in the ledger of {host.name}"


def _runs_with_what_is_there(host: SimulatedHost) -> None:
    """Every unit was started with the files as they are now."""
    records = list(host.path(INPUTS).iterdir())
    assert records
    for record in records:
        for line in record.read_text().splitlines():
            sha256, path = line.split(maxsplit=1)
            now = hashlib.sha256(host.path(path).read_bytes()).hexdigest()
            assert sha256 == now, f"{record.name} on {host.name} runs with another {path}"


def _started_once(host: SimulatedHost) -> None:
    history = Counter(host.unit_history)
    starts = {line: count for line, count in history.items() if line.startswith("start ")}
    assert starts, f"nothing was ever started on {host.name}"
    assert all(count == 1 for count in starts.values()), f"started again on {host.name}: {history}"
    assert not [line for line in history if line.startswith("stop ")], host.unit_history

"""Every test of the command line has folders of its own, and lets no setting of the caller in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.unit.cli.command import anykube

MACHINES = """
apiVersion: anykube.dev/v1alpha1
kind: Cluster
metadata: {name: metal}
spec:
  kubernetes: {version: "1.36.3"}
  machines:
    provider:
      machines:
        key: KEY
        hosts:
        - {name: one, address: ADDRESS, port: 1, pool: node, hostKey: ssh-ed25519 HOSTKEY}
    pools:
    - {name: node, roles: [control-plane, etcd, worker]}
  artifacts: {source: mirror, mirror: "https://127.0.0.1:1"}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty; state and cache are beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ANYKUBE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ANYKUBE_CACHE_DIR", str(tmp_path / "cache"))
    for variable in ("ANYKUBE_CLUSTER", "NO_COLOR", "_ANYKUBE_COMPLETE"):
        monkeypatch.delenv(variable, raising=False)
    return folder


@pytest.fixture
def lxc(here: Path) -> Path:
    """The default object, under a name that no cluster on this machine has."""
    file = here / "cluster.yaml"
    assert anykube("init", "-y", "--name", "no-such-cluster-here", "-f", str(file)).status == 0
    return file


@pytest.fixture
def metal(here: Path) -> Path:
    """One machine that answers nothing: a closed port of this one."""
    import asyncssh

    found = subprocess.run(["ip", "-json", "-4", "address"], capture_output=True, text=True, check=True)
    own = [entry["local"] for link in json.loads(found.stdout) for entry in link["addr_info"]]
    address = next((address for address in own if not address.startswith("127.")), None)
    if address is None:
        pytest.skip("this machine has no address but loopback")

    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(here / "key"))
    public = key.export_public_key().decode().split()[1]
    file = here / "metal.yaml"
    # The random key goes in last: one in some thousands contains the name of another blank.
    text = MACHINES.replace("HOSTKEY", "<public>").replace("KEY", str(here / "key"))
    file.write_text(text.replace("ADDRESS", address).replace("<public>", public))
    return file

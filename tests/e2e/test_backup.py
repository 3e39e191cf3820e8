"""Backups: a node makes them by itself, into S3; they are proven here; their age and their failures show."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from tests.e2e.story import MACHINES, VERSION, Story, eventually

from anykube.backup import age
from anykube.content.backup import SERVICE
from anykube.content.paths import BACKUPS

pytestmark = pytest.mark.e2e
POOL = {"name": "node", "roles": ["control-plane", "etcd", "worker"]}
NODE = "e2e-backup-node-1"
BUCKET = "archives"


def write(story: Story, **backup: Any) -> None:
    machines = {"provider": {"lxc": {}}, "pools": [POOL]}
    story.write(kubernetes={"version": VERSION}, machines=machines, backup={"keep": 2, **backup})


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """One machine with a schedule, and a key of the cluster's own."""
    write(story)
    story.apply()
    story.kubectl("create", "configmap", "before")
    return story


@pytest.fixture(scope="module")
def bucket(cluster: Story) -> Iterator[dict[str, str]]:
    """A server of S3 where nodes reach this machine, and what spec.backup says of it."""
    import boto3

    gateway = json.loads(cluster.on(NODE, "ip", "-j", "route", "show", "default"))[0]["gateway"]
    server = ThreadedMotoServer(ip_address=gateway, port=0, verbose=False)
    server.start()
    url = f"http://{gateway}:{server.get_host_and_port()[1]}"
    boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    ).create_bucket(Bucket=BUCKET)
    credentials = cluster.folder / "credentials"
    credentials.touch(mode=0o600)
    credentials.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    yield {"bucket": BUCKET, "prefix": "some/where", "endpoint": url, "credentials": str(credentials)}
    server.stop()


def backup(story: Story) -> str:
    """Let the node make one now; its name. One that failed before is not waited for."""
    story.on(NODE, "systemctl", "restart", SERVICE)
    return story.on(NODE, "cat", f"{BACKUPS}/last").split()[1]


def seen(story: Story) -> dict[str, Any]:
    found: dict[str, Any] = story.run("status", "-c", story.name, "-o", "json").json["status"]["backup"]
    return found


def test_a_node_makes_one_that_is_proven_with_the_clusters_own_key(cluster: Story, tmp_path: Path) -> None:
    name = backup(cluster)
    cluster.must_be_settled()
    (tmp_path / name).write_bytes(Path(_delta(cluster), BACKUPS.lstrip("/"), name).read_bytes())
    said = cluster.run("backup", "verify", str(tmp_path / name), "-c", cluster.name).stderr
    assert "can be restored" in said
    assert 0 <= seen(cluster)["age"] < 60
    assert cluster.run("status", "-c", cluster.name, "--check").status == 0
    key = tmp_path / "key"
    key.write_text(cluster.run("backup", "key", "-c", cluster.name).stdout)
    cluster.run("backup", "verify", str(tmp_path / name), "--identity", str(key))


def test_one_made_from_here_is_proven_and_warns_of_the_key(cluster: Story, tmp_path: Path) -> None:
    made = cluster.run("backup", "create", "-c", cluster.name, "--to", str(tmp_path))
    assert "KEEP THAT KEY ELSEWHERE" in made.stderr
    assert Path(made.stdout.strip()).stat().st_mode & 0o777 == 0o600
    assert (
        "can be restored" in cluster.run("backup", "verify", "-c", cluster.name, "--to", str(tmp_path)).stderr
    )


def test_archives_in_s3_are_for_the_users_key_and_the_newest_stay(
    cluster: Story, bucket: dict[str, str], tmp_path: Path
) -> None:
    identity = age.new_identity()
    (tmp_path / "key").write_bytes(identity.reveal())
    write(cluster, recipients=[age.recipient_of(identity)], to={"s3": bucket})
    cluster.apply()
    cluster.must_be_settled()
    names: list[str] = []
    while len(names) < 3:  # a name tells seconds apart
        names += {backup(cluster)} - {*names}
    rows = cluster.run("backup", "list", "-c", cluster.name, "-o", "json").json["items"]
    assert [row["name"] for row in rows] == [names[2], names[1]]
    cluster.run("backup", "verify", "-c", cluster.name, "--identity", str(tmp_path / "key"))
    refused = cluster.run("backup", "verify", "-c", cluster.name, status=1)
    assert "somebody else" in refused.stderr


def test_a_failure_and_an_old_age_show(cluster: Story, bucket: dict[str, str]) -> None:
    good = backup(cluster)
    cluster.on(
        NODE, "sh", "-c", "sed -i 's|^URL=.*|URL=http://127.0.0.1:1/none|' /etc/anykube/backup/settings"
    )
    cluster.on(NODE, "systemctl", "restart", "--no-block", SERVICE)
    eventually(lambda: "" if seen(cluster)["failed"] else "no failure shows")
    found = seen(cluster)
    assert "S3 takes no archive" in found["failed"][NODE]
    assert found["archive"] == good
    old = int(time.time()) - 86400
    cluster.on(NODE, "sh", "-c", f"echo '{old} {good}' >{BACKUPS}/last")
    assert "TOO OLD" in cluster.run("status", "-c", cluster.name).stdout
    cluster.run("status", "-c", cluster.name, "--check", status=3)
    cluster.apply()
    backup(cluster)
    assert not seen(cluster)["failed"]
    cluster.must_be_settled()


def _delta(story: Story) -> Path:
    """Where the writes of the node's container are on this machine."""
    return MACHINES / story.name / "nodes" / NODE / "delta"

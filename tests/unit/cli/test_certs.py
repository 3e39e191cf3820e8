"""anykube certs: a node that does not answer is a row; exit statuses for monitoring; refusals."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.cli.command import anykube

from anykube.content.model import CertificateRequest
from anykube.paths import state_dir
from anykube.pki.authority import issue
from anykube.pki.store import SecretStore
from anykube.state.clusters import SECRETS, folder

CA = CertificateRequest("ca/cluster", "", "metal cluster CA", days=3650)
USER = CertificateRequest("users/admin", "ca/cluster", "anykube-admin", client=True)


def keep(*requests: CertificateRequest, age: float = 0) -> None:
    """Have these in the secrets of the cluster metal, issued so many days ago."""
    store = SecretStore(folder(state_dir(), "metal") / SECRETS)
    issue(store, requests, datetime.now(UTC) - timedelta(days=age))


def test_a_cluster_without_certificates(metal: Path) -> None:
    answer = anykube("certs", "-f", str(metal))
    assert answer.status == 0
    assert "metal has no certificates yet" in answer.out


def test_a_node_that_does_not_answer_is_a_row(metal: Path) -> None:
    keep(CA, USER)
    answer = anykube("certs", "-f", str(metal), "-o", "json", "--check")
    assert answer.status == 3
    found = json.loads(answer.out)
    assert (found["kind"], found["healthy"]) == ("CertificateList", False)
    silent = [item for item in found["items"] if item["node"] == "one"]
    assert {item["state"] for item in silent} == {"not seen"}
    assert all("no SSH connection" in item["note"] for item in silent)
    kept = {item["place"]: item["state"] for item in found["items"] if item["where"] == "kept"}
    assert kept == {"ca/cluster": "ok", "users/admin": "ok"}
    assert anykube("certs", "-f", str(metal)).status == 0, "only --check has a status of its own"


def test_what_is_due_is_told_with_what_to_do(metal: Path) -> None:
    keep(CA, USER, age=300)
    out = anykube("certs", "-f", str(metal)).out
    assert "due: anykube apply" in out
    assert "1 end: users/admin" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("requests", "--out", "csr"), "has authorities of its own"),
        (("import", "csr"), "has authorities of its own"),
        (("renew", "--all", "--yes"), "There is no record of metal here"),
    ],
)
def test_refusals(metal: Path, arguments: tuple[str, ...], words: str) -> None:
    answer = anykube("certs", *arguments, "-f", str(metal))
    assert answer.status in (1, 64)
    assert words in answer.err
    assert "  do  " in answer.err

"""Authorities of somebody else: openssl signs what was asked for, and everything wrong is told at once."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.e2e.openssl_ca import make_authorities, sign, sign_all

from anykube.content.model import CertificateRequest
from anykube.errors import PlanError, StateError
from anykube.pki.external import PENDING, import_certificates, write_requests
from anykube.pki.store import SecretStore
from anykube.plan.certificates import refuse_unsigned, wanting

AUTHORITIES = tuple(
    CertificateRequest(f"ca/{name}", "", f"demo {name} CA") for name in ("cluster", "etcd", "front-proxy")
)
APISERVER = CertificateRequest(
    "nodes/demo-cp-1/apiserver",
    "ca/cluster",
    "kube-apiserver",
    dns_names=("kubernetes", "demo-cp-1"),
    addresses=("10.96.0.1", "::1"),
    server=True,
)
KUBELET = CertificateRequest(
    "nodes/demo-cp-1/kubelet", "ca/cluster", "system:node:demo-cp-1", ("system:nodes",), client=True
)
MEMBER = CertificateRequest(
    "nodes/demo-cp-1/etcd-peer", "ca/etcd", "demo-cp-1", dns_names=("demo-cp-1",), server=True, client=True
)
LEAVES = (APISERVER, KUBELET, MEMBER)
ALL = (*AUTHORITIES, *LEAVES)


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path / "secrets")


@pytest.fixture
def asked(tmp_path: Path, store: SecretStore) -> Path:
    """A folder with requests, and three authorities that can sign them (keys beside it, in `keys`)."""
    folder = tmp_path / "out"
    write_requests(store, folder, LEAVES)
    make_authorities(tmp_path / "keys", folder)
    return folder


def entry(folder: Path, request: CertificateRequest) -> dict[str, object]:
    entries = json.loads((folder / "requests.json").read_text())
    return next(one for one in entries if one["request"] == f"{request.secret}.csr")


def problems(store: SecretStore, folder: Path, now: datetime | None = None) -> list[str]:
    with pytest.raises(StateError) as caught:
        import_certificates(store, folder, ALL, now or datetime.now(UTC))
    assert "ca/cluster" not in store.names(), "all or nothing"
    return list(caught.value.evidence)


def test_what_openssl_signed_is_taken_and_wanted_no_more(asked: Path, store: SecretStore) -> None:
    assert sign_all(asked.parent / "keys", asked) == len(LEAVES)
    taken = import_certificates(store, asked, ALL, datetime.now(UTC))
    assert set(taken) == {request.secret for request in LEAVES}
    assert not [name for name in store.names() if name.startswith(PENDING)]
    refuse_unsigned(ALL, store.facts(), datetime.now(UTC))
    assert store.part("ca/etcd", "certificate").reveal() == (asked / "ca/etcd.crt").read_bytes()
    assert "key" not in store.facts()["ca/etcd"].parts
    again = import_certificates(store, asked, ALL, datetime.now(UTC))
    assert again == ()


def test_requests_say_what_they_are_for(asked: Path) -> None:
    text = subprocess.run(
        ["openssl", "req", "-in", asked / f"{KUBELET.secret}.csr", "-noout", "-text", "-verify"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "O = system:nodes, CN = system:node:demo-cp-1" in text
    assert "TLS Web Client Authentication" in text
    assert "TLS Web Server Authentication" not in text


def test_a_key_waits_until_its_certificate_has_come(asked: Path, store: SecretStore) -> None:
    sign_all(asked.parent / "keys", asked)
    write_requests(store, asked, LEAVES)
    import_certificates(store, asked, ALL, datetime.now(UTC))
    before = store.part(KUBELET.secret, "key").reveal()
    write_requests(store, asked, [KUBELET])
    assert store.part(PENDING + KUBELET.secret, "key").reveal() != before, "a renewal has a new key"


def test_everything_that_is_wrong_is_told_at_once(asked: Path, store: SecretStore) -> None:
    keys = asked.parent / "keys"
    sign_all(keys, asked)
    sign(keys, asked, entry(asked, MEMBER), authority="cluster")
    (asked / f"{KUBELET.secret}.crt").write_bytes((asked / f"{MEMBER.secret}.crt").read_bytes())
    (asked / f"{APISERVER.secret}.crt").write_text("not a certificate")
    found = problems(store, asked)
    assert f"{APISERVER.secret}.crt: is no certificate in PEM form" in found
    assert f"{KUBELET.secret}.crt: is for another key than the request" in found
    assert f"{KUBELET.secret}.crt: has another subject than system:node:demo-cp-1, O=system:nodes" in found
    assert f"{KUBELET.secret}.crt: has names that were not asked for: demo-cp-1" in found
    assert f"{MEMBER.secret}.crt: is not signed by ca/etcd.crt" in found


def test_names_and_usages_that_a_signer_left_out(asked: Path, store: SecretStore) -> None:
    keys = asked.parent / "keys"
    sign_all(keys, asked)
    request, signed = asked / f"{APISERVER.secret}.csr", asked / f"{APISERVER.secret}.crt"
    by = ("-CA", asked / "ca/cluster.crt", "-CAkey", keys / "cluster.key")
    subprocess.run(
        ["openssl", "x509", "-req", "-in", request, *by, "-out", signed], check=True, capture_output=True
    )
    found = problems(store, asked)
    assert f"{APISERVER.secret}.crt: lacks the names 10.96.0.1, ::1, demo-cp-1, kubernetes" in found
    assert f"{APISERVER.secret}.crt: lacks the usage serverAuth" in found


def test_dates(asked: Path, store: SecretStore) -> None:
    keys = asked.parent / "keys"
    sign_all(keys, asked)
    sign(keys, asked, entry(asked, KUBELET), days="2000")
    assert f"{KUBELET.secret}.crt: ends after ca/cluster.crt does" in problems(store, asked)
    late = problems(store, asked, datetime.now(UTC) + timedelta(days=301))
    assert any(line.startswith(f"{MEMBER.secret}.crt: ended on ") for line in late)
    early = problems(store, asked, datetime.now(UTC) - timedelta(days=1))
    assert any(line.startswith("ca/cluster.crt: is not valid before ") for line in early)


def test_one_authority_for_everything_is_refused(asked: Path, store: SecretStore) -> None:
    sign_all(asked.parent / "keys", asked)
    (asked / "ca/etcd.crt").write_bytes((asked / "ca/cluster.crt").read_bytes())
    assert any("could then also write to etcd" in line for line in problems(store, asked))


def test_an_authority_does_not_change_in_passing(asked: Path, store: SecretStore) -> None:
    sign_all(asked.parent / "keys", asked)
    import_certificates(store, asked, ALL, datetime.now(UTC))
    make_authorities(asked.parent / "others", asked)
    with pytest.raises(StateError) as caught:
        import_certificates(store, asked, ALL, datetime.now(UTC))
    assert "ca/etcd.crt: is another authority than the one that the cluster uses" in caught.value.evidence


def test_apply_refuses_while_anything_is_wanting(asked: Path, store: SecretStore) -> None:
    with pytest.raises(PlanError, match="6 certificates are wanting"):
        refuse_unsigned(ALL, store.facts(), datetime.now(UTC))
    sign_all(asked.parent / "keys", asked)
    now = datetime.now(UTC)
    import_certificates(store, asked, ALL, now)
    due = wanting(ALL, store.facts(), now + timedelta(days=201), due=True)
    assert set(due) == {request.secret for request in LEAVES}
    with pytest.raises(PlanError) as caught:
        refuse_unsigned(ALL, store.facts(), now + timedelta(days=301))
    assert "anykube certs requests" in (caught.value.remedy or "")

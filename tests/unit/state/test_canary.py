"""Real secrets are made, used and failed with; no byte of them may be in what people see or tools save."""

from __future__ import annotations

import base64
import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from anykube.content.model import CertificateRequest, File, SecretPart, SecretRequest
from anykube.errors import AnykubeError, StateError
from anykube.events import StepFailed
from anykube.pki import authority, kinds, kubeconfig
from anykube.pki.store import SecretStore
from anykube.plan.effects import GenerateSecrets, IssueCertificates, PutFiles
from anykube.plan.model import Phase, PhasePlan, Plan, Step
from anykube.secret import Secret
from anykube.state.journal import start_run
from anykube.state.planfile import SavedPlan, save_plan

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CERTIFICATES = (
    CertificateRequest("ca/cluster", "", "kubernetes", days=3650),
    CertificateRequest("nodes/a/kubelet", "ca/cluster", "system:node:a", client=True),
)
OTHERS = (
    SecretRequest("service-account", "key-pair"),
    SecretRequest("ssh/a", "ssh-key"),
    SecretRequest("encryption", "encryption-config"),
)


def canaries(store: SecretStore) -> set[str]:
    """Pieces of every secret part, in the forms in which they could leak."""
    pieces: set[str] = set()
    for name, part in (
        *((request.secret, "key") for request in (*CERTIFICATES, *OTHERS[:2])),
        ("encryption", "value"),
    ):
        value = store.part(name, part).reveal()
        pieces.update(line for line in value.decode().splitlines() if len(line) > 40 and "---" not in line)
        pieces.add(base64.b64encode(value).decode()[40:100])
    document = yaml.safe_load(store.part("encryption", "value").reveal())
    pieces.add(document["resources"][0]["providers"][0]["secretbox"]["keys"][0]["secret"])
    return pieces


def plan_with_secrets() -> Plan:
    files = tuple(
        File(f"/etc/{index}", SecretPart(request.secret, "key")) for index, request in enumerate(OTHERS)
    )
    effects = (IssueCertificates(CERTIFICATES), GenerateSecrets(OTHERS), PutFiles("a", files))
    return Plan(
        "demo", (PhasePlan(Phase.BOOTSTRAP, (Step("x", Phase.BOOTSTRAP, "a", "", "", (), effects),)),)
    )


def failures(store: SecretStore) -> list[AnykubeError]:
    """Every way to fail with a secret in hand."""
    errors: list[AnykubeError] = []
    for path in sorted(path for path in store.folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for damaged in (content[:-40], content[:60] + b"\x00\t!" + content[61:], b"a: [" + content):
            path.write_bytes(damaged)
            with pytest.raises(StateError) as caught:
                store.facts()
            errors.append(caught.value)
        path.write_bytes(content)
    for request in OTHERS:
        with pytest.raises(StateError) as caught:
            part = "value" if request.kind == kinds.ENCRYPTION_CONFIG else "key"
            store.put(f"new/{request.kind}", kinds.CERTIFICATE, store.part(request.secret, part))
        errors.append(caught.value)
    return errors


def test_no_secret_is_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    store = SecretStore(tmp_path / "demo" / "secrets")
    authority.issue(store, CERTIFICATES, NOW)
    authority.generate(store, OTHERS)
    parts = [store.part("ca/cluster", "certificate"), *(store.part("ca/cluster", "key") for _ in "12")]
    config = kubeconfig.render("demo", "https://x", parts[0], parts[1], parts[2], "admin")
    errors = failures(store)
    save_plan(tmp_path / "plan.json", SavedPlan(plan_with_secrets()))
    with start_run(tmp_path / "demo", NOW) as journal:
        for error in errors:
            journal(StepFailed("x", "bootstrap", "a", error.code, str(error)))
            journal.evidence("a", "".join(traceback.format_exception(error)))
        journal.evidence("a", store.part("ca/cluster", "key").reveal().decode())
    seen = [
        *capsys.readouterr(),
        caplog.text,
        repr((parts, config, store, store.facts(), store.contents(), plan_with_secrets())),
        *("".join(traceback.format_exception(error)) for error in errors),
        (tmp_path / "plan.json").read_text(),
        *(path.read_text() for path in journal.folder.iterdir()),
    ]
    for piece in canaries(store):
        assert not any(piece in text for text in seen)


def test_the_canary_would_be_heard(tmp_path: Path) -> None:
    store = SecretStore(tmp_path / "secrets")
    authority.issue(store, CERTIFICATES, NOW)
    authority.generate(store, OTHERS)
    pieces = canaries(store)
    for name, part in (("ca/cluster", "key"), ("ssh/a", "key"), ("encryption", "value")):
        text = store.part(name, part).reveal().decode()
        assert any(piece in text for piece in pieces)
    assert "canary" not in repr(Secret(b"canary"))

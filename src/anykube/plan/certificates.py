"""Certificates and other secrets: which are missing, or no longer what they should be.

Everything is issued on this machine before a node starts, so that all nodes can start at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anykube.content.model import CertificateRequest, SecretPart, SecretRequest
from anykube.facts.cluster import Facts
from anykube.facts.secrets import CertificateFacts, SecretFacts
from anykube.plan.effects import Effect, GenerateSecrets, IssueCertificates
from anykube.plan.model import LOCAL, Change, Phase, Step
from anykube.plan.rules import own_clock_is_doubtful

STEP = f"{LOCAL}/certificates"
PARTS = ("certificate", "key", "public", "bundle", "value")


def plan_certificates(
    facts: Facts, secrets: Sequence[SecretRequest], certificates: Sequence[CertificateRequest]
) -> Step:
    """One step for all that must be made; a CA or a key that exists is never made again."""
    generate = tuple(request for request in secrets if request.secret not in facts.secrets)
    reasons: dict[str, str] = {}
    for request in certificates:
        reason = _why(request, facts, reasons)
        if reason:
            reasons[request.secret] = reason
    if not generate and not reasons:
        return Step(STEP, Phase.BOOTSTRAP, LOCAL, "certificates", "all are valid")
    changes = (
        *(Change("create", "secret", request.secret, "missing") for request in generate),
        *(Change(_action(reason), "certificate", name, reason) for name, reason in reasons.items()),
    )
    effects: list[Effect] = []
    if generate:
        effects.append(GenerateSecrets(generate))
    if reasons:
        effects.append(IssueCertificates(tuple(r for r in certificates if r.secret in reasons)))
    reason = f"{len(changes)} to be made"
    return Step(STEP, Phase.BOOTSTRAP, LOCAL, "certificates", reason, changes, tuple(effects))


def reissued(step: Step) -> frozenset[SecretPart]:
    """All parts of the secrets that the step will make or replace: files that hold them will change."""
    names: set[str] = set()
    for effect in step.effects:
        if isinstance(effect, GenerateSecrets | IssueCertificates):
            names.update(request.secret for request in effect.requests)
    return frozenset(SecretPart(name, part) for name in names for part in PARTS)


def _action(reason: str) -> str:
    return "create" if reason == "missing" else "update"


def _why(request: CertificateRequest, facts: Facts, reasons: Mapping[str, str]) -> str:
    existing = facts.secrets.get(request.secret)
    if existing is None or existing.certificate is None:
        return "missing"
    if request.is_authority:
        return ""
    if request.authority in reasons:
        return "its CA is new"
    return _leaf_reason(request, existing.certificate, facts.secrets.get(request.authority), facts)


def _leaf_reason(
    request: CertificateRequest, found: CertificateFacts, authority: SecretFacts | None, facts: Facts
) -> str:
    if authority is None or authority.certificate is None:
        return "its CA is missing"
    if found.issuer != (request.issuer or authority.certificate.fingerprint):
        return "issued by another CA"
    if (found.common_name, set(found.organizations)) != (request.common_name, set(request.organizations)):
        return "its subject differs"
    names = (set(found.dns_names), set(found.addresses))
    if names != (set(request.dns_names), set(request.addresses)):
        return "its names differ"
    if (found.server, found.client) != (request.server, request.client):
        return "its usages differ"
    ends_with_authority = found.not_after >= authority.certificate.not_after
    if facts.now >= found.due and not ends_with_authority and not own_clock_is_doubtful(facts):
        return f"ends on {found.not_after:%Y-%m-%d}"
    return ""

"""Certificates and other secrets: which are missing, or no longer what they should be.

Everything is issued on this machine before a node starts, so that all nodes can start at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from anykube.content.model import CertificateRequest, SecretPart, SecretRequest
from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.secrets import CertificateFacts, SecretFacts
from anykube.plan.effects import Effect, GenerateSecrets, IssueCertificates
from anykube.plan.model import LOCAL, Change, Phase, Step
from anykube.plan.rules import own_clock_is_doubtful

STEP = f"{LOCAL}/certificates"
SIGN = "anykube certs requests --out DIR, have them signed, anykube certs import DIR"
SHOWN = 10
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


def wanting(
    requests: Sequence[CertificateRequest],
    secrets: Mapping[str, SecretFacts],
    now: datetime,
    *,
    due: bool = False,
) -> Mapping[str, str]:
    """What others have to sign, and why: certificates that are missing, not as requested, or have ended; with
    `due` also those that should be renewed. Authorities only when they are missing."""
    reasons: dict[str, str] = {}
    for request in requests:
        found, authority = secrets.get(request.secret), secrets.get(request.authority)
        if found is None or found.certificate is None:
            reasons[request.secret] = "missing"
        elif not request.is_authority:
            end = found.certificate.due if due else found.certificate.not_after
            reason = _mismatch(request, found.certificate, authority)
            if not reason and now >= end:
                reason = f"{'ends' if due else 'ended'} on {found.certificate.not_after:%Y-%m-%d}"
            if reason:
                reasons[request.secret] = reason
    return reasons


def refuse_unsigned(
    requests: Sequence[CertificateRequest], secrets: Mapping[str, SecretFacts], now: datetime
) -> None:
    """PlanError while certificates are wanting that only others can sign."""
    if reasons := wanting(requests, secrets, now):
        shown = [f"{name}: {reason}" for name, reason in reasons.items()]
        more = [f"and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
        raise PlanError(
            f"{len(reasons)} certificates are wanting that authorities of yours have to sign.",
            evidence=[*shown[:SHOWN], *more],
            remedy=SIGN,
        )


def signing_note(
    requests: Sequence[CertificateRequest], secrets: Mapping[str, SecretFacts], now: datetime
) -> tuple[str, ...]:
    """What a person should have others sign in time."""
    due = wanting(requests, secrets, now, due=True)
    return (f"{len(due)} certificates should be renewed: {SIGN}",) if due else ()


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
    if reason := _mismatch(request, found, authority):
        return reason
    if (found.server, found.client) != (request.server, request.client):
        return "its usages differ"
    end = authority.certificate.not_after if authority and authority.certificate else found.not_after
    if facts.now >= found.due and found.not_after < end and not own_clock_is_doubtful(facts):
        return f"ends on {found.not_after:%Y-%m-%d}"
    return ""


def _mismatch(request: CertificateRequest, found: CertificateFacts, authority: SecretFacts | None) -> str:
    """Why a certificate is none for this request, whatever its dates. Others may have added usages."""
    if authority is None or authority.certificate is None:
        return "its CA is missing"
    if found.issuer != (request.issuer or authority.certificate.fingerprint):
        return "issued by another CA"
    if (found.common_name, set(found.organizations)) != (request.common_name, set(request.organizations)):
        return "its subject differs"
    names = (set(found.dns_names), set(found.addresses))
    if names != (set(request.dns_names), set(request.addresses)):
        return "its names differ"
    if (request.server and not found.server) or (request.client and not found.client):
        return "its usages differ"
    return ""

"""What the API does when keys change: tells pods whom to trust, forgets old CAs, stores Secrets anew. Pure.

Part of the addons phase. Each is seen, not remembered, so a run that was killed leaves it to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from anykube.facts.cluster import Facts
from anykube.facts.record import Record
from anykube.facts.secrets import SecretFacts
from anykube.plan.effects import DeleteObjects, Effect, RewriteSecrets, WaitFor
from anykube.plan.model import CLUSTER, Change, Phase, Step
from anykube.plan.rotation import AUTHORITIES, KEYS, turned

PUBLISHED = f"{CLUSTER}/published CA"
PUBLISHED_SECONDS = 60.0
"""kube-controller-manager has a second to elect its leader anew, and writes one ConfigMap a namespace."""
REQUEST_CAS = "ConfigMap/kube-system/extension-apiserver-authentication"
"""Where aggregated API servers read whose certificates they accept. API servers only ever add to it; when it
is gone they write it with what they trust themselves."""


def plan_distrust(facts: Facts, record: Record) -> tuple[Step, ...]:
    """Steps of the addons phase. Rings that are yet to turn (plan/rotation.py) are seen as they will be."""
    secrets = turned(facts.secrets, record)
    return (_published(facts, secrets), _forgotten(facts, secrets), _rewritten(facts, record, secrets))


def trusted_by_pods(secrets: Mapping[str, SecretFacts]) -> str:
    """A short digest that changes when pods must be replaced: they keep what they read at their start of the
    CA, and a token that is signed with a key which goes. '' before there is any."""
    authority, tokens = (secrets.get(name) for name in (AUTHORITIES["cluster"], KEYS["service-account"]))
    if authority is None or tokens is None:
        return ""
    return authority.parts.get("bundle", "")[:8] + tokens.parts.get("public", "")[:8]


def _published(facts: Facts, secrets: Mapping[str, SecretFacts]) -> Step:
    """A pod that starts before would not trust API servers whose certificates come from the new CA."""
    authority = secrets.get(AUTHORITIES["cluster"])
    wanted = authority.parts.get("bundle", "") if authority else ""
    outdated = facts.kubernetes.root_cas - {wanted}
    if not outdated:
        return _step(PUBLISHED, "CA for pods", "is the one that nodes have")
    reason = "not all namespaces have the CA that nodes have"
    change = Change("wait", "condition", "ConfigMap kube-root-ca.crt", reason)
    wait = WaitFor("ca-published", "", PUBLISHED_SECONDS)
    return _step(PUBLISHED, "CA for pods", reason, (change,), (wait,))


def _forgotten(facts: Facts, secrets: Mapping[str, SecretFacts]) -> Step:
    identity = f"{CLUSTER}/CAs of requests"
    known = {key for name in AUTHORITIES.values() if name in secrets for key in secrets[name].keys}
    if not facts.kubernetes.request_cas - known:
        return _step(identity, "CAs of requests", "are those that nodes have")
    reason = "holds a CA that is trusted no more; API servers write it anew"
    change = Change("delete", "object", REQUEST_CAS, reason)
    return _step(identity, "CAs of requests", reason, (change,), (DeleteObjects((REQUEST_CAS,)),))


def _rewritten(facts: Facts, record: Record, secrets: Mapping[str, SecretFacts]) -> Step:
    identity, name = f"{CLUSTER}/Secrets", KEYS["encryption"]
    config = secrets.get(name)
    if name not in record.rotations or config is None or not config.keys:
        return _step(identity, "Secrets", "no encryption key is being replaced")
    if reason := "; ".join(_stored_otherwise(facts.at_rest, config.keys[0])):
        change = Change("update", "objects", "Secrets", reason)
        return _step(identity, "Secrets", reason, (change,), (RewriteSecrets(),))
    return _step(identity, "Secrets", "all are stored under the key in use")


def _stored_otherwise(at_rest: Mapping[str, int] | None, key: str) -> Iterator[str]:
    if at_rest is None:
        yield "how they are stored cannot be seen"
        return
    for other, count in sorted(at_rest.items()):
        if other != key:
            yield f"{count} under the key {other}" if other else f"{count} not encrypted"


def _step(
    identity: str,
    title: str,
    reason: str,
    changes: tuple[Change, ...] = (),
    effects: tuple[Effect, ...] = (),
) -> Step:
    return Step(identity, Phase.ADDONS, CLUSTER, title, reason, changes, effects)

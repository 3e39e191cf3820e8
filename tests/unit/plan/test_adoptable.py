"""What was sealed must still fit the cluster that lives: a change since then is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.plan.test_membership import cluster
from tests.unit.plan.test_restore import born

from anykube.content.paths import PKI
from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, Unreachable
from anykube.plan.adoptable import refuse_outdated
from anykube.plan.restorable import newest_run, refuse_foreign

WORLD = born("three")
FACTS = WORLD.facts()


def refusal(facts: Facts, shape: str = "three", lineage: str = "lineage") -> tuple[str, ...]:
    with pytest.raises(PlanError) as caught:
        refuse_outdated(cluster(shape), facts, WORLD.blueprint(), lineage)
    return caught.value.evidence


def test_a_cluster_as_it_was_sealed() -> None:
    refuse_outdated(WORLD.cluster, FACTS, WORLD.blueprint(), "lineage")


def test_an_authority_that_was_replaced_since() -> None:
    host = FACTS.hosts["demo-cp-1"]
    assert isinstance(host, HostFacts)
    path = f"{PKI}/ca.crt"
    files = {**host.files, path: replace(host.files[path], sha256="another")}
    facts = replace(FACTS, hosts={**FACTS.hosts, host.name: replace(host, files=files)})
    assert refusal(facts) == (f"ca/cluster on demo-cp-1 ({path}) is another one",)


def test_members_and_nodes_that_came_or_went() -> None:
    facts = FACTS
    with pytest.raises(PlanError) as caught:
        refuse_outdated(cluster("one"), facts, born("one").blueprint(), "lineage")
    said = "\n".join(caught.value.evidence)
    assert "etcd has a member demo-cp-2, which the object does not have" in said
    assert "there is a Node demo-cp-3, which the object does not have" in said


def test_certificates_of_single_nodes_do_not_matter() -> None:
    secrets = {
        name: replace(secret, parts=dict.fromkeys(secret.parts, "x")) if name.startswith("nodes/") else secret
        for name, secret in FACTS.secrets.items()
    }
    refuse_outdated(WORLD.cluster, replace(FACTS, secrets=secrets), WORLD.blueprint(), "lineage")


def test_no_machine_that_answers() -> None:
    silent = {name: Unreachable(name, "no answer") for name in FACTS.hosts}
    assert "demo-cp-1: no answer" in refusal(replace(FACTS, hosts=silent))


def test_machines_of_another_cluster() -> None:
    refuse_foreign(FACTS, "lineage")
    with pytest.raises(PlanError, match="belong to another cluster") as caught:
        refuse_foreign(FACTS, "another")
    assert "demo-cp-1 belongs to lineage lineage" in caught.value.evidence
    assert newest_run(FACTS) == 1

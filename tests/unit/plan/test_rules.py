"""Edits of the object that a running cluster would not survive are refused, with the way out."""

from __future__ import annotations

import json

import pytest

from anykube.errors import PlanError
from anykube.plan.rules import FIXED, refuse_forbidden
from anykube.spec.load import load
from anykube.spec.model import Cluster


def cluster(**changes: object) -> Cluster:
    spec: dict[str, object] = {
        "kubernetes": {"version": "1.36.1"},
        "machines": {
            "provider": {"lxc": {}},
            "pools": [{"name": "a", "roles": ["control-plane", "etcd", "worker"]}],
        },
    }
    document = {"apiVersion": "anykube.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "demo"}}
    return load(json.dumps({**document, "spec": {**spec, **changes}}), "test")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"network": {"pods": "10.200.0.0/16"}}, "network.pods"),
        ({"network": {"services": "10.201.0.0/16"}}, "network.services"),
        ({"network": {"domain": "example.internal"}}, "network.domain"),
        ({"security": {"encryptionAtRest": False}}, "security.encryptionAtRest"),
        ({"security": {"externalAuthorities": True}}, "security.externalAuthorities"),
    ],
)
def test_what_a_running_cluster_would_not_survive(changes: dict[str, object], word: str) -> None:
    with pytest.raises(PlanError, match=word) as caught:
        refuse_forbidden(cluster(**changes), cluster())
    assert caught.value.remedy
    refuse_forbidden(cluster(**changes), None)


def test_every_fixed_field_is_tried_above() -> None:
    assert set(FIXED) == {
        "network.pods",
        "network.services",
        "network.domain",
        "security.externalAuthorities",
    }


def test_other_edits_are_allowed() -> None:
    refuse_forbidden(cluster(security={"audit": False}, addons={"metrics": {}}), cluster())
    refuse_forbidden(cluster(), cluster(security={"encryptionAtRest": False}))

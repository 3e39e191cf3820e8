"""Authorities and keys are replaced on three control planes, with writers running. Part of `make soak`."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence

import pytest
from tests.e2e import faults
from tests.e2e.proof import Proof, proving
from tests.e2e.shapes import shape
from tests.e2e.story import Story

pytestmark = pytest.mark.soak

SEED = int(os.environ.get("ANYKUBE_E2E_SEED") or time.time())
SAMPLES = int(os.environ.get("ANYKUBE_E2E_SAMPLES") or 3)
STEPS = 110
"""About how many beginnings and ends of steps a stage has."""
CA = ("certs", "rotate-ca")
ENCRYPTION = ("certs", "rotate-key", "encryption")
TOKENS = ("certs", "rotate-key", "service-account", "--now")


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """Three control planes and one worker."""
    shape(story, planes=3)
    story.apply()
    return story


@pytest.fixture(scope="module")
def proof(cluster: Story) -> Iterator[Proof]:
    """Writers run all the time."""
    with proving(cluster) as made:
        yield made


def arguments(cluster: Story, command: Sequence[str], *more: str) -> tuple[str, ...]:
    """A command line for this cluster."""
    return (*command, *more, "-c", cluster.name, "--yes")


def test_all_authorities_stage_by_stage(proof: Proof) -> None:
    """Who holds what was handed out before a stage goes on writing through it."""
    cluster = proof.story
    for stage in ("trust", "use", "distrust"):
        with proof.operation(f"rotate-ca all, {stage}", rotates=True):
            cluster.run(*arguments(cluster, CA, "--stage", "next"))
            # Users fetch their kubeconfig between two stages; those of etcd are its API servers only.
            proof.keys.refresh()


@pytest.mark.parametrize("command", [ENCRYPTION, TOKENS], ids=["encryption", "service-account"])
def test_keys(proof: Proof, command: Sequence[str]) -> None:
    with proof.operation(" ".join(command)):
        proof.story.run(*arguments(proof.story, command))


@pytest.mark.parametrize("command", [CA, ENCRYPTION], ids=["authorities", "encryption"])
def test_killed_again_and_again(proof: Proof, command: Sequence[str]) -> None:
    cluster = proof.story
    print(f"ANYKUBE_E2E_SEED={SEED}")
    chosen = random.Random(f"{SEED} {command}")
    for stage in ("trust", "use", "distrust"):
        argv = arguments(cluster, command, "--stage", "next")
        with proof.operation(f"{' '.join(command)}, {stage}, killed -9", rotates=True):
            for moment in sorted(chosen.sample(range(1, STEPS), SAMPLES)):
                killed = faults.killed_at(cluster, argv, moment)
                print(f"{stage}: killed at", killed or "its end")
                if not killed:
                    break
            else:
                cluster.run(*argv)
            proof.keys.refresh()

"""Sites of simulated hosts: one per file of tests, put back to a kept state for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.simulated.site import DryRun, Site, dry_run, opened

from anykube.testing import why_unavailable

WHY = why_unavailable()


@pytest.fixture(scope="session")
def _site() -> Iterator[Site]:
    if WHY:
        pytest.skip(WHY)
    with opened(2) as site:
        yield site


@pytest.fixture
def fresh(_site: Site) -> Site:
    """Two hosts on which nothing was done."""
    _site.restore("fresh")
    return _site


@pytest.fixture(scope="session")
def _brought_up(_site: Site) -> Site:
    _site.restore("fresh")
    _site.bring_up = dry_run(_site)
    _site.save("up")
    return _site


@pytest.fixture
def dry(_brought_up: Site) -> DryRun:
    """What a bring-up that nothing disturbs does."""
    assert _brought_up.bring_up
    return _brought_up.bring_up


@pytest.fixture
def up(_brought_up: Site) -> Site:
    """Two hosts with a cluster on them."""
    _brought_up.restore("up")
    return _brought_up

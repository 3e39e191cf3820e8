"""Lets the tests of this folder import release_server.py by its full name, and runs a server."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.unit.artifacts.release_server import ReleaseServer, make_certificate, running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that is its own CA, and its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def releases(certificate: tuple[Path, Path]) -> AsyncIterator[ReleaseServer]:
    """A running release server."""
    async with running(*certificate) as server:
        yield server

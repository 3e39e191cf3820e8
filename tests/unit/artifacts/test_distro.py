"""Distribution packages: what apt knows is asked without the network; the download itself is in tests/e2e."""

from __future__ import annotations

import shutil

import pytest

from anykube.artifacts.service import arch
from anykube.artifacts.sources.base import Request
from anykube.artifacts.sources.distro import PACKAGES, DistroSource, Packages
from anykube.errors import ArtifactError
from anykube.spec import catalog

pytestmark = pytest.mark.skipif(shutil.which("apt-cache") is None, reason="neither Debian nor Ubuntu")
RUNC = Request("runc", "1.5.2", "1.36.3", arch(), ("runc",))
SOURCE = DistroSource()
"""Shared: it remembers what apt said, which takes apt a second."""


async def test_runc_is_known_and_has_a_stable_fingerprint() -> None:
    assert await SOURCE.available(RUNC)
    first = await SOURCE.fingerprint(RUNC)
    assert first is not None
    assert first == await DistroSource().fingerprint(RUNC)


async def test_packages_are_for_this_machine_only() -> None:
    other = "arm64" if arch() == "amd64" else "amd64"
    request = Request("runc", "1.5.2", "1.36.3", other, ("runc",))
    assert not await SOURCE.available(request)
    assert await SOURCE.fingerprint(request) is None


async def test_what_is_too_old_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "runc", Packages(PACKAGES["runc"].files, (99, 0)))
    assert not await SOURCE.available(RUNC)


async def test_components_without_packages_are_not_offered() -> None:
    request = Request("kubernetes", "1.36.3", "1.36.3", arch(), ("kubelet",))
    assert not await SOURCE.available(request)
    assert await SOURCE.fingerprint(request) is None


async def test_an_unknown_package_is_named() -> None:
    with pytest.raises(ArtifactError, match="does not know no-such-package-anywhere"):
        await SOURCE.candidates(["runc", "no-such-package-anywhere"])


async def test_a_closure_has_the_package_and_its_libraries() -> None:
    names = await SOURCE.closure("nftables")
    assert {"nftables", "libnftables1", "libc6"} <= set(names)


def test_every_file_belongs_to_its_component() -> None:
    for component, packages in PACKAGES.items():
        assert set(packages.files) <= set(catalog.COMPONENTS[component])

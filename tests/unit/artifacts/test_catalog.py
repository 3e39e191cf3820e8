"""The catalog is complete: whatever it offers can be had, and every name leads to a component."""

from __future__ import annotations

import re

import pytest

from anykube.artifacts.images import RECIPES as IMAGE_RECIPES
from anykube.artifacts.sources.gomod import MODULES
from anykube.artifacts.sources.recipes import RECIPES
from anykube.errors import ArtifactError
from anykube.spec import catalog


def test_the_default_is_the_newest_version() -> None:
    numbers = [tuple(map(int, version.split("."))) for version in catalog.VERSIONS]
    assert numbers == sorted(numbers, reverse=True)
    assert catalog.VERSIONS[0] == catalog.DEFAULT_VERSION
    assert catalog.MINORS == ("1.36", "1.35", "1.34")


@pytest.mark.parametrize("version", catalog.VERSIONS)
def test_every_version_has_its_modules_pinned(version: str) -> None:
    release = catalog.release(version)
    for component in RECIPES:
        folder = MODULES / f"{component}-{release.version_of(component)}"
        text = (folder / "go.mod").read_text()
        assert (folder / "go.sum").stat().st_size > 0
        pinned = set(re.findall(r"^\t?(?:require )?\S+ v(\S+)", text, re.MULTILINE))
        assert release.version_of(component) in pinned, f"{folder.name} pins another version"


def test_every_pinned_module_is_in_use() -> None:
    used = {
        f"{component}-{catalog.release(version).version_of(component)}"
        for version in catalog.VERSIONS
        for component in RECIPES
    }
    assert {folder.name for folder in MODULES.iterdir()} == used


def test_recipes_and_catalog_name_the_same_binaries() -> None:
    for component, recipe in RECIPES.items():
        wanted = {name for name in catalog.COMPONENTS[component] if not catalog.is_image(name)}
        assert set(recipe.packages) == wanted


def test_every_image_has_a_recipe_of_known_parts() -> None:
    assert set(IMAGE_RECIPES) == set(catalog.IMAGES)
    for recipe in IMAGE_RECIPES.values():
        assert set(recipe.binaries) <= set(catalog.ARTIFACTS)


def test_groups_have_known_names_and_no_kubeadm() -> None:
    groups = (catalog.NODE_BINARIES, catalog.CONTROL_PLANE_BINARIES, catalog.ETCD_BINARIES)
    for group in (*groups, catalog.CNI_BINARIES, catalog.IMAGES):
        assert set(group) <= set(catalog.ARTIFACTS)
        assert "kubeadm" not in group


def test_names_lead_to_components() -> None:
    assert catalog.component_of("etcdctl") == "etcd"
    assert catalog.component_of("image-flannel") == "flannel"
    assert catalog.image_reference("coredns", "1.15.0") == "anykube.local/coredns:1.15.0"


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ArtifactError, match=r"1\.36\.3, 1\.36\.1"):
        catalog.release("1.30.0")
    with pytest.raises(ArtifactError, match="kubelet"):
        catalog.component_of("kublet")

"""What our images are made of: a binary of the component, and small parts from distribution packages.

image-pause           catatonit, which waits and reaps
image-coredns         coredns, CA certificates (to forward over TLS)
image-flannel         flanneld, nft and its libraries (EnableNFTables), busybox (sh, cp), CA certificates
image-metrics-server  metrics-server
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anykube.artifacts import elf
from anykube.artifacts.image import Content, Image, Link
from anykube.errors import ArtifactError
from anykube.spec import catalog

RECIPE_VERSION = "1"
"""Part of every image's fingerprint: raise it when a change here changes what is in an image."""

NOBODY = "65535:65535"
_CERTIFICATES = "usr/share/ca-certificates"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_LIBRARY_FOLDERS = ("lib", "usr/lib")
_APPLETS = ("sh", "cat", "cp", "ls", "mkdir", "mv", "rm")


@dataclass(frozen=True, slots=True)
class ImageRecipe:
    """`binaries` are artifacts of ours; `packages` are Debian packages, `with_dependencies` those that are
    taken with all that they depend on."""

    entrypoint: tuple[str, ...]
    binaries: Mapping[str, str]
    packages: tuple[str, ...] = ()
    with_dependencies: tuple[str, ...] = ()
    tools: Mapping[str, str] | None = None
    certificates: bool = False
    applets: bool = False
    user: str = ""


RECIPES: Mapping[str, ImageRecipe] = {
    "image-pause": ImageRecipe(
        entrypoint=("/pause", "-P"),
        binaries={},
        packages=("catatonit",),
        tools={"/pause": "usr/bin/catatonit"},
        user=NOBODY,
    ),
    "image-coredns": ImageRecipe(
        entrypoint=("/coredns",),
        binaries={"coredns": "/coredns"},
        packages=("ca-certificates",),
        certificates=True,
    ),
    "image-flannel": ImageRecipe(
        entrypoint=("/opt/bin/flanneld",),
        binaries={"flanneld": "/opt/bin/flanneld"},
        packages=("busybox-static", "ca-certificates"),
        with_dependencies=("nftables",),
        tools={"/usr/sbin/nft": "usr/sbin/nft"},
        certificates=True,
        applets=True,
    ),
    "image-metrics-server": ImageRecipe(
        entrypoint=("/metrics-server",), binaries={"metrics-server": "/metrics-server"}, user=NOBODY
    ),
}


def assemble(name: str, reference: str, arch: str, binaries: Mapping[str, Path], root: Path) -> Image:
    """The image `name` from binaries of ours (by artifact) and a tree of unpacked packages."""
    recipe = RECIPES[name]
    files: dict[str, Content | Link] = {
        place: Content(binaries[artifact]) for artifact, place in recipe.binaries.items()
    }
    for place, source in (recipe.tools or {}).items():
        program = root / source
        files[place] = Content(program)
        files |= _libraries(program, root)
    if recipe.certificates:
        files[_BUNDLE] = Content(_certificates(root), 0o644)
    if recipe.applets:
        files["/bin/busybox"] = Content(_first(root, "bin/busybox", "usr/bin/busybox"))
        files |= {f"/bin/{applet}": Link("busybox") for applet in _APPLETS}
    return Image(reference, arch, files, recipe.entrypoint, recipe.user)


def reference(name: str, release: catalog.Release) -> str:
    """The image name of an image artifact in a release."""
    component = catalog.component_of(name)
    return catalog.image_reference(component, release.version_of(component))


def _libraries(program: Path, root: Path) -> dict[str, Content | Link]:
    """The shared libraries that a program loads, theirs too, and the dynamic loader."""
    try:
        first = elf.read(program)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{program.name} from its package is not a program: {error}.") from error
    files: dict[str, Content | Link] = {}
    loader = first.interpreter
    waiting, seen = list(first.needed), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        library = _library(name, root)
        waiting += elf.read(library).needed
        files[f"/usr/lib/{library.parent.name}/{name}"] = Content(library.resolve())
    if loader:
        files[loader] = Content(_library(Path(loader).name, root).resolve())
    return files


def _library(name: str, root: Path) -> Path:
    for folder in _LIBRARY_FOLDERS:
        for found in sorted((root / folder).glob(f"*-linux-*/{name}")):
            return found
    raise ArtifactError(f"The distribution's packages lack the library {name}.")


def _certificates(root: Path) -> bytes:
    found = sorted((root / _CERTIFICATES).rglob("*.crt"))
    if not found:
        raise ArtifactError("The distribution's package ca-certificates has no certificates.")
    return b"".join(path.read_bytes().rstrip(b"\n") + b"\n" for path in found)


def _first(root: Path, *places: str) -> Path:
    for place in places:
        if (root / place).is_file():
            return root / place
    raise ArtifactError(f"The distribution's packages lack {places[0]}.")

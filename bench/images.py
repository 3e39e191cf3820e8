"""What kubeadm needs besides: its own binary, and images of the control plane, made of the same binaries."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from anykube.artifacts import images
from anykube.artifacts.image import Content, Image, write
from anykube.artifacts.pins import index_key
from anykube.artifacts.service import arch, fetch, ignore
from anykube.artifacts.sources.distro import DistroSource
from anykube.artifacts.store import Store
from anykube.facts.artifacts import ArtifactLock, LockedArtifact
from anykube.paths import cache_dir
from anykube.plan.artifacts import needed
from anykube.spec.catalog import DEFAULT_VERSION, REGISTRY, release
from anykube.spec.load import load
from bench.lab import cluster_text
from bench.shape import Shape

FORMAT = "2"
"""Raise it when an image here is made differently from the same binaries."""
PROGRAMS = "/usr/local/bin"
PATH = f"{PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin"
STATIC_PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd")


async def software(version: str = DEFAULT_VERSION) -> ArtifactLock:
    """The lock for both sides: what anykube uses, kubeadm, and the images of its static pods."""
    store = Store(cache_dir() / "artifacts")
    names = {*needed(load(cluster_text("bench", Shape(1, 1)), "bench")), *STATIC_PODS, "kubeadm", "flanneld"}
    lock = await fetch(version, sorted(names), arch=arch(), store=store, report=ignore)
    made = [await _image(name, lock, store) for name in STATIC_PODS]
    used = {name: item for name, item in lock.artifacts.items() if name != "flanneld"}
    return ArtifactLock(lock.kubernetes, lock.arch, used | {item.name: item for item in made})


def tag(program: str, version: str) -> str:
    """The tag by which kubeadm of this version asks for an image."""
    return release(version).etcd if program == "etcd" else f"v{version}"


async def _image(program: str, lock: ArtifactLock, store: Store) -> LockedArtifact:
    name, binary = f"image-{program}", lock.artifacts[program]
    reference = f"{REGISTRY}/{program}:{tag(program, lock.kubernetes)}"
    key = index_key("bench", "\n".join((FORMAT, reference, binary.sha256)), name)
    stored = store.recall(key)
    if stored is None:
        with store.workdir() as workdir:
            image = await _content(program, reference, lock, store, workdir)
            archive = workdir / f"{name}.tar"
            await asyncio.to_thread(write, image, archive)
            added = await asyncio.to_thread(store.add, archive, kind="image", arch=lock.arch)
        stored = replace(added, version=binary.version)
        store.remember(key, stored)
    return LockedArtifact(
        name, binary.version, lock.arch, "image", "built", stored.sha256, stored.size, reference
    )


async def _content(program: str, reference: str, lock: ArtifactLock, store: Store, workdir: Path) -> Image:
    place = f"{PROGRAMS}/{program}"
    files = {place: Content(store.path(lock.artifacts[program].sha256))}
    environment = {"PATH": PATH}
    if program != "kube-proxy":
        return Image(reference, lock.arch, files, (place,), environment=environment)
    # kube-proxy calls nft; the image of flannel has it, with its libraries. nft must know the names of
    # protocols besides: without them a second kube-proxy takes the entries of the first for strange ones,
    # and its removal of these takes its own away.
    recipe, distro = images.RECIPES["image-flannel"], DistroSource()
    closures = [await distro.closure(package) for package in recipe.with_dependencies]
    packages = dict.fromkeys([*recipe.packages, "netbase", *(name for names in closures for name in names)])
    root = await distro.unpack(tuple(packages), workdir)
    binaries = {"flanneld": store.path(lock.artifacts["flanneld"].sha256)}
    flannel = images.assemble("image-flannel", reference, lock.arch, binaries, root)
    tools = {path: content for path, content in flannel.files.items() if path != "/opt/bin/flanneld"}
    files["/etc/protocols"] = Content(root / "etc/protocols", 0o644)
    return Image(reference, lock.arch, {**tools, **files}, (place,), environment=environment)

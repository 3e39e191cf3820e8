"""Images: the same parts give the same bytes, and what was damaged is noticed. (e2e: ctr imports them.)"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.artifacts.release_server import make_program

from anykube.artifacts import elf, images, inspection
from anykube.artifacts.image import Content, Image, Link, write
from anykube.errors import ArtifactError

REFERENCE = "anykube.local/thing:1.2.3"


def image(tmp_path: Path, arch: str = "amd64") -> Image:
    program = tmp_path / "program"
    program.write_bytes(make_program(arch))
    return Image(
        REFERENCE,
        arch,
        {
            "/usr/bin/thing": Content(program),
            "/etc/thing.conf": Content(b"a = 1\n", 0o644),
            "/bin/sh": Link("busybox"),
        },
        entrypoint=("/usr/bin/thing", "--serve"),
        user="65535:65535",
        environment={"HOME": "/"},
    )


def blob(archive: tarfile.TarFile, digest: str) -> bytes:
    stream = archive.extractfile(inspection.blob_name(digest))
    assert stream is not None
    data = stream.read()
    assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    return data


def opened(path: Path) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The index entry, the config and the layer of an image."""
    with tarfile.open(path) as archive:
        stream = archive.extractfile("index.json")
        assert stream is not None
        entry = json.load(stream)["manifests"][0]
        manifest = json.loads(blob(archive, entry["digest"]))
        config = json.loads(blob(archive, manifest["config"]["digest"]))
        return entry, config, blob(archive, manifest["layers"][0]["digest"])


def test_an_image_has_what_was_put_in(tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    write(image(tmp_path), target)
    entry, config, layer = opened(target)
    assert entry["annotations"]["io.containerd.image.name"] == REFERENCE
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "1.2.3"
    assert config["config"]["Entrypoint"] == ["/usr/bin/thing", "--serve"]
    assert config["config"]["User"] == "65535:65535"
    assert "HOME=/" in config["config"]["Env"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    (tmp_path / "layer.tar").write_bytes(layer)
    with tarfile.open(tmp_path / "layer.tar") as content:
        entries = {member.name: member for member in content}
        stream = content.extractfile("usr/bin/thing")
        assert stream is not None
        assert stream.read() == make_program()
    assert list(entries)[:4] == ["bin", "etc", "usr", "usr/bin"]
    assert (entries["usr/bin/thing"].mode, entries["etc/thing.conf"].mode) == (0o755, 0o644)
    assert entries["bin/sh"].linkname == "busybox"
    assert {(member.uid, member.gid, member.mtime) for member in entries.values()} == {(0, 0, 0)}


def test_the_same_parts_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    write(image(tmp_path), first)
    later = time.time() + 1000
    made = image(tmp_path)
    os.utime(tmp_path / "program", (later, later))
    shuffled = replace(made, files=dict(reversed(list(made.files.items()))))
    write(shuffled, second)
    assert first.read_bytes() == second.read_bytes()


def test_a_whole_image_passes_and_another_machine_does_not(tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    write(image(tmp_path, "arm64"), target)
    inspection.check(target, kind="image", arch="arm64")
    with pytest.raises(ArtifactError, match="for arm64, wanted is amd64"):
        inspection.check(target, kind="image", arch="amd64")


def test_a_flipped_bit_or_a_cut_in_any_blob_is_noticed(tmp_path: Path) -> None:
    target, damaged = tmp_path / "image.tar", tmp_path / "damaged.tar"
    write(image(tmp_path), target)
    whole = target.read_bytes()
    with tarfile.open(target) as archive:
        spots = [member.offset_data for member in archive if member.name.startswith("blobs/")]
    assert len(spots) == 3
    for spot in spots:
        for data in (whole[:spot] + bytes([whole[spot] ^ 1]) + whole[spot + 1 :], whole[: spot + 1]):
            damaged.write_bytes(data)
            with pytest.raises(ArtifactError, match="not a whole image"):
                inspection.check(damaged, kind="image", arch="amd64")


def package_tree(root: Path) -> None:
    """What the unpacked packages of image-flannel look like, taken from this machine where it has them."""
    nft = Path(shutil.which("nft") or "")
    (root / "usr/sbin").mkdir(parents=True)
    shutil.copy(nft, root / "usr/sbin/nft")
    waiting = [nft]
    while waiting:
        program = elf.read(waiting.pop())
        loaders = [Path(program.interpreter).name] if program.interpreter else []
        for name in (*program.needed, *loaders):
            found = next(Path("/usr/lib").glob(f"*-linux-gnu/{name}"))
            target = root / "usr/lib" / found.parent.name / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, target)
                waiting.append(found)
    (root / "bin").mkdir()
    (root / "bin/busybox").write_bytes(make_program())
    certificates = root / "usr/share/ca-certificates/mozilla"
    certificates.mkdir(parents=True)
    (certificates / "b.crt").write_text("second")
    (certificates / "a.crt").write_text("first\n")


@pytest.mark.skipif(shutil.which("nft") is None, reason="this machine has no nft")
def test_flannel_brings_nft_with_all_its_libraries(tmp_path: Path) -> None:
    root, flanneld = tmp_path / "root", tmp_path / "flanneld"
    package_tree(root)
    flanneld.write_bytes(make_program())
    made = images.assemble("image-flannel", REFERENCE, "amd64", {"flanneld": flanneld}, root)
    names = {Path(path).name for path in made.files}
    assert {"libc.so.6", "libnftables.so.1", "nft", "flanneld", "busybox"} <= names
    loader = elf.read(root / "usr/sbin/nft").interpreter
    assert loader in made.files
    assert made.files["/bin/cp"] == Link("busybox")
    assert made.files["/etc/ssl/certs/ca-certificates.crt"] == Content(b"first\nsecond\n", 0o644)


@pytest.mark.skipif(shutil.which("nft") is None, reason="this machine has no nft")
def test_a_missing_library_is_named(tmp_path: Path) -> None:
    root, flanneld = tmp_path / "root", tmp_path / "flanneld"
    package_tree(root)
    flanneld.write_bytes(make_program())
    next((root / "usr/lib").rglob("libnftables.so.1")).unlink()
    with pytest.raises(ArtifactError, match=r"lack the library libnftables\.so\.1"):
        images.assemble("image-flannel", REFERENCE, "amd64", {"flanneld": flanneld}, root)

"""The kubeconfig is what kubectl expects, and its file is private and never written through a link."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest
import yaml

from anykube.errors import StateError
from anykube.pki import kubeconfig
from anykube.secret import Secret


def rendered() -> Secret:
    return kubeconfig.render(
        "demo", "https://10.81.0.11:6443", Secret(b"CA"), Secret(b"CERT"), Secret(b"KEY"), "admin"
    )


def test_one_cluster_one_user_one_context() -> None:
    document = yaml.safe_load(rendered().reveal())
    assert (document["apiVersion"], document["kind"]) == ("v1", "Config")
    context = {item["name"]: item["context"] for item in document["contexts"]}[document["current-context"]]
    cluster = {item["name"]: item["cluster"] for item in document["clusters"]}[context["cluster"]]
    user = {item["name"]: item["user"] for item in document["users"]}[context["user"]]
    assert cluster["server"] == "https://10.81.0.11:6443"
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"CA"
    assert base64.b64decode(user["client-certificate-data"]) == b"CERT"
    assert base64.b64decode(user["client-key-data"]) == b"KEY"


def test_other_ways_have_contexts_of_their_own() -> None:
    others = {"demo-cp-1": "https://10.81.0.11:6443", "demo-cp-2": "https://10.81.0.12:6443"}
    parts = (Secret(b"CA"), Secret(b"CERT"), Secret(b"KEY"))
    document = yaml.safe_load(kubeconfig.render("demo", "https://vip:8443", *parts, "admin", others).reveal())
    assert document["current-context"] == "admin@demo"
    servers = {item["name"]: item["cluster"]["server"] for item in document["clusters"]}
    assert {
        item["name"]: (servers[item["context"]["cluster"]], item["context"]["user"])
        for item in document["contexts"]
    } == {
        "admin@demo": ("https://vip:8443", "admin"),
        "admin@demo-cp-1": ("https://10.81.0.11:6443", "admin"),
        "admin@demo-cp-2": ("https://10.81.0.12:6443", "admin"),
    }
    assert all(item["cluster"]["certificate-authority-data"] == "Q0E=" for item in document["clusters"])


def test_the_file_is_private_and_replaces_an_open_one(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = tmp_path / "new" / "config"
        kubeconfig.write(path, rendered())
        path.chmod(0o644)
        kubeconfig.write(path, rendered())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == rendered().reveal()
    assert [entry.name for entry in path.parent.iterdir()] == ["config"]


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    link = tmp_path / "config"
    link.symlink_to(target)
    with pytest.raises(StateError, match="symbolic link"):
        kubeconfig.write(link, rendered())
    assert target.read_text() == "mine"
    assert link.is_symlink()


def test_a_folder_in_its_place_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    with pytest.raises(StateError, match="config"):
        kubeconfig.write(tmp_path / "config", rendered())
    assert [entry.name for entry in tmp_path.iterdir()] == ["config"]

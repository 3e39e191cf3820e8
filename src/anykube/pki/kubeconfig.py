"""The user's way in: a kubeconfig with everything embedded, and the private file that holds it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import yaml

from anykube.errors import StateError
from anykube.secret import Secret
from anykube.state.files import reported, write_file


def render(
    cluster_name: str,
    server: str,
    ca_pem: Secret,
    cert_pem: Secret,
    key_pem: Secret,
    user: str,
    others: Mapping[str, str] | None = None,
) -> Secret:
    """A kubeconfig with one user and the context '<user>@<cluster>'.

    `others`: more ways to the same cluster, URLs by name, each with a context '<user>@<name>'.
    """
    servers = {cluster_name: server, **(others or {})}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"certificate-authority-data": _embed(ca_pem), "server": url}}
            for name, url in servers.items()
        ],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": _embed(cert_pem), "client-key-data": _embed(key_pem)},
            }
        ],
        "contexts": [
            {"name": f"{user}@{name}", "context": {"cluster": name, "user": user}} for name in servers
        ],
        "current-context": f"{user}@{cluster_name}",
        "preferences": {},
    }
    return Secret(yaml.safe_dump(document, sort_keys=False).encode())


def write(path: Path, kubeconfig: Secret) -> None:
    """Write the file in one move, readable by its owner only. A symbolic link in its place is refused: it
    could put the key into a folder that others can read."""
    if path.is_symlink():
        raise StateError(
            f"{path} is a symbolic link; the kubeconfig is not written through it.",
            evidence=[f"it points to {path.readlink()}"],
            remedy="Remove the link, or name the file that it points to.",
        )
    with reported("made", path.parent):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(path, kubeconfig.reveal())


def _embed(pem: Secret) -> str:
    return base64.b64encode(pem.reveal()).decode()

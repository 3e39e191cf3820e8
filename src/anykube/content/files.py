"""Kinds of files that several components put on a node, with the modes that CIS asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

from anykube.content.model import ArtifactFile, File, SecretPart, Text
from anykube.content.paths import PKI, install_path

CERTIFICATE_MODE = "644"
CONFIG_MODE = "600"
KEY_MODE = "600"
BINARY_MODE = "755"


class _PlainDumper(yaml.SafeDumper):
    """Without anchors: a list used twice is written twice, as a person would."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def binary(artifact: str) -> File:
    """An executable from the lock."""
    return File(install_path(artifact), ArtifactFile(artifact), BINARY_MODE)


def certificate(path: str, secret: str, owner: str = "root:root") -> File:
    """A public certificate."""
    return File(path, SecretPart(secret, "certificate"), CERTIFICATE_MODE, owner)


def authority(path: str, secret: str, owner: str = "root:root") -> File:
    """The certificates of a CA that are trusted: more than one while it is being replaced."""
    return File(path, SecretPart(secret, "bundle"), CERTIFICATE_MODE, owner)


def key(path: str, secret: str, owner: str = "root:root") -> File:
    """A private key."""
    return File(path, SecretPart(secret, "key"), KEY_MODE, owner)


def certificate_and_key(
    name: str, secret: str, folder: str = PKI, owner: str = "root:root"
) -> tuple[File, File]:
    """`<folder>/<name>.crt` and `<folder>/<name>.key`."""
    return certificate(f"{folder}/{name}.crt", secret, owner), key(f"{folder}/{name}.key", secret, owner)


def yaml_config(path: str, data: Mapping[str, Any]) -> File:
    """A configuration file built as data."""
    return File(path, Text(_yaml(json.dumps(data))), CONFIG_MODE)


@lru_cache(maxsize=256)
def _yaml(data: str) -> str:
    """JSON as YAML. Nodes of a pool share most files, and writing YAML is most of what a plan costs."""
    return str(
        yaml.dump(
            json.loads(data),
            Dumper=_PlainDumper,
            sort_keys=False,
            default_flow_style=False,
            allow_unicode=True,
        )
    )

"""An authority that is not anykube: openssl signs the requests in a folder, as an administrator would."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

AUTHORITIES = ("cluster", "etcd", "front-proxy")


def make_authorities(keys: Path, folder: Path) -> None:
    """Three self-signed authorities: keys in one place, certificates in the folder of the requests."""
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "ca").mkdir(parents=True, exist_ok=True)
    for name in AUTHORITIES:
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/O=Example/CN=Example {name} CA", "-days", "1000"),
            *(
                "-addext",
                "basicConstraints=critical,CA:TRUE",
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
            ),
            *("-keyout", str(keys / f"{name}.key"), "-out", str(folder / "ca" / f"{name}.crt")),
        )


def sign_all(keys: Path, folder: Path) -> int:
    """Sign what requests.json lists, with the extensions that were asked for. How many there were."""
    entries = json.loads((folder / "requests.json").read_text())
    for entry in entries:
        sign(keys, folder, entry)
    return len(entries)


def sign(
    keys: Path, folder: Path, entry: dict[str, object], *, authority: str = "", days: str = "300"
) -> None:
    """Sign one request, with the authority that it asks for or with another."""
    name = authority or Path(str(entry["authority"])).stem
    _openssl(
        *("x509", "-req", "-in", str(folder / str(entry["request"])), "-copy_extensions", "copyall"),
        *("-CA", str(folder / "ca" / f"{name}.crt"), "-CAkey", str(keys / f"{name}.key"), "-days", days),
        *("-out", str(folder / str(entry["certificate"]))),
    )


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"openssl {' '.join(arguments)}: {done.stderr}"

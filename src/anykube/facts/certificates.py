"""Certificates as they lie on a host: how they are asked for, how the answer is read, and what was seen.

observe/certificates.py sends `script()` and gives what comes back to `parse`; plan/inventory.py judges. Of
files only certificates are printed, and the lines of a kubeconfig that name or hold one: a key never leaves
its host.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from anykube.errors import AnswerError
from anykube.facts.secrets import CertificateFacts

FOLDERS = ("/etc/kubernetes", "/etc/etcd", "/var/lib/kubelet/pki", "/var/lib/kube-proxy", "/root/.kube")
"""Where certificates and kubeconfigs are on a node, also those that others put there."""
FILE_LIMIT = 300
ANSWER_LIMIT = 4 * 1024 * 1024

_TEXT = f"""
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
echo '@anykube-certificates'
date +%s
find {" ".join(FOLDERS)} -maxdepth 3 -type f -size -64k \\( -name '*.crt' -o -name '*.pem' \\
    -o -name '*.cert' -o -name '*.conf' -o -name '*.kubeconfig' -o -name config \\) 2>/dev/null |
sort | head -n {FILE_LIMIT} |
while IFS= read -r path; do
    printf '@file %s\\n' "$path"
    awk '/^-----BEGIN /{{ on = ($0 == "-----BEGIN CERTIFICATE-----") }}
        on {{ print }}
        /^-----END /{{ on = 0 }}
        /^[ -]*client-certificate(-data)?: /{{ print "= " $0 }}' "$path"
done
echo '@end'
"""
_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,76}\n){1,400}-----END CERTIFICATE-----\n"
)
_NAMED = re.compile(r"= [ -]*client-certificate: \"?(/[\x20-\x7e]{1,1000}?)\"?")
_HELD = re.compile(r"= [ -]*client-certificate-data: \"?([A-Za-z0-9+/=]{1,60000})\"?")


class Where(StrEnum):
    """What kind of place a certificate was seen at."""

    KEPT = "kept"
    """Among the secrets on this machine."""
    FILE = "file"
    KUBECONFIG = "kubeconfig"
    PORT = "port"
    """Shown by a process to those who connect."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One certificate where it was seen. `node`: '' is this machine. `place`: name of a secret, path, or
    'host:port'. `trouble`: why it could not be seen."""

    node: str
    where: Where
    place: str
    certificate: CertificateFacts | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file on a host: the certificates in it as PEM, and paths of others that it names (a kubeconfig)."""

    path: str
    certificates: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def where(self) -> Where:
        """A kubeconfig is known by its name: those of anykube hold no certificate, they name files."""
        return Where.FILE if self.path.endswith((".crt", ".pem", ".cert")) else Where.KUBECONFIG


@dataclass(frozen=True, slots=True)
class HostCertificates:
    """What one host answered. `clock`: seconds since the epoch, by its own clock."""

    clock: float
    files: tuple[FoundFile, ...]


def script() -> list[str]:
    """The argument list that prints all certificates of a host."""
    return ["sh", "-c", _TEXT, "anykube-certificates"]


def parse(name: str, text: str) -> HostCertificates:
    """The files in an answer of `script`; those without any certificate are left out."""
    _, _, body = text[: ANSWER_LIMIT + 1].partition("@anykube-certificates\n")
    whole, ended, _ = body.rpartition("@end\n")
    clock, _, _ = whole.partition("\n")
    if len(text) > ANSWER_LIMIT or not ended or not re.fullmatch("[0-9]{1,12}", clock):
        raise AnswerError(
            f"{name}: the list of its certificates is not understood.",
            evidence=[f"{len(text)} characters, ending in {text[-80:]!r}"],
            remedy="Look whether the login shell or a wrapper on that host prints or changes output.",
        )
    blocks = whole.split("@file ")[1:]
    files = (_file(*block.split("\n", 1)) for block in blocks if "\n" in block)
    return HostCertificates(float(clock), tuple(file for file in files if file.certificates or file.names))


def _file(path: str, content: str) -> FoundFile:
    named = tuple(match[1] for line in content.split("\n") if (match := _NAMED.fullmatch(line)))
    return FoundFile(path, (*_PEM.findall(content), *_held(content)), named)


def _held(content: str) -> Iterator[str]:
    """Certificates that a kubeconfig holds in itself."""
    for line in content.split("\n"):
        if match := _HELD.fullmatch(line):
            try:
                yield base64.b64decode(match[1], validate=True).decode("ascii")
            except (binascii.Error, UnicodeDecodeError):
                continue


def named_by(files: Sequence[FoundFile]) -> Mapping[str, tuple[str, ...]]:
    """For each kubeconfig that names files: the certificates in them that were found."""
    contents = {file.path: file.certificates for file in files}
    return {
        file.path: tuple(pem for name in file.names for pem in contents.get(name, ()))
        for file in files
        if file.names
    }

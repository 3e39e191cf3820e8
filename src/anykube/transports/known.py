"""Host keys that the user has already accepted: for a machine that no record or object pins."""

from __future__ import annotations

from pathlib import Path

from anykube.errors import HostKeyError

KNOWN_HOSTS = Path(".ssh/known_hosts")


def known_key(host: str, port: int) -> str:
    """The public key of a host in ~/.ssh/known_hosts, as one line. HostKeyError if it has none."""
    import asyncssh

    file = Path.home() / KNOWN_HOSTS
    try:
        found = asyncssh.match_known_hosts(str(file), host, "", port)[0]
    except (OSError, ValueError):
        found = []
    if not found:
        raise HostKeyError(
            f"The host key of {host} is not known, so anybody could answer there.",
            evidence=[f"looked in {file}"],
            remedy="read it on the machine (/etc/ssh/ssh_host_ed25519_key.pub) and give it with --host-key",
        )
    return found[0].export_public_key().decode().strip()

"""Encryption of archives in the age format (age-encryption.org/v1): the only module that knows pyrage.

Nodes do the same with the distribution's `age`. Every 64 KiB are authenticated, and so is the end: what was
cut or altered does not decrypt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import IO

import pyrage
from pyrage import x25519

from anykube.errors import BackupError
from anykube.secret import Secret

_IDENTITY = re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]{58}")
_NO_MATCH = "No matching keys found"
"""What age's library says when none of the identities is a recipient's."""


def new_identity() -> Secret:
    """A new key pair, as the line that age-keygen prints for it."""
    return Secret(str(x25519.Identity.generate()).encode())


def recipient_of(identity: Secret) -> str:
    """The public key of an identity: 'age1…'. ValueError if it is none."""
    try:
        return str(x25519.Identity.from_str(identity.reveal().decode().strip()).to_public())
    except (pyrage.IdentityError, UnicodeDecodeError):
        raise ValueError("not an identity of age") from None


def identities(text: bytes, source: str) -> tuple[Secret, ...]:
    """The identities in a file as age-keygen writes it: a line each, comments begin with '#'."""
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found or not all(_IDENTITY.fullmatch(line) for line in found):
        raise BackupError(
            f"{source} holds no identity of age.",
            remedy="give the file that age-keygen wrote, or what `anykube backup key` printed",
        )
    return tuple(Secret(line.encode()) for line in found)


def encrypt(source: IO[bytes], target: IO[bytes], recipients: Iterable[str]) -> None:
    """Encrypt all of a stream, so that any of the recipients ('age1…') can decrypt it."""
    try:
        keys = [x25519.Recipient.from_str(recipient) for recipient in recipients]
    except pyrage.RecipientError as error:
        raise BackupError("A recipient of backups is not a key of age.", evidence=[str(error)]) from None
    if not keys:
        raise BackupError("There is nobody to encrypt the backup for.", remedy="set spec.backup.recipients")
    pyrage.encrypt_io(source, target, keys)


def decrypt(source: IO[bytes], target: IO[bytes], keys: Sequence[Secret], what: str) -> None:
    """Decrypt all of a stream. BackupError if it is not whole, altered, or for somebody else.

    What was written to `target` counts only if this returns.
    """
    if not keys:
        raise BackupError(
            f"There is no identity here that could decrypt {what}.", remedy="give one: --identity FILE"
        )
    parsed = [x25519.Identity.from_str(key.reveal().decode().strip()) for key in keys]
    try:
        pyrage.decrypt_io(source, target, parsed)
    except pyrage.DecryptError as error:
        if _NO_MATCH in str(error):
            raise _not_for_us(keys, what) from None
        raise _damaged(what, error) from None
    except OSError as error:
        # A failing disk raises with a number; what is cut off does not.
        if error.errno:
            raise
        raise _damaged(what, error) from None


def _not_for_us(keys: Sequence[Secret], what: str) -> BackupError:
    return BackupError(
        f"{what} is encrypted for somebody else.",
        evidence=[f"tried the identity of {recipient_of(key)}" for key in keys],
        remedy="give the identity of one of its recipients: --identity FILE",
    )


def _damaged(what: str, error: Exception) -> BackupError:
    return BackupError(
        f"{what} is cut off, altered or no archive.",
        evidence=[str(error)[:300]],
        remedy="use another archive: anykube backup list",
    )

"""Where archives are: a folder of this machine, or a bucket of S3. One small interface for both.

Nothing appears under its final name before all of it is there: a folder renames, S3 completes an upload.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from anykube.backup.names import Entry, entry
from anykube.errors import BackupError, UsageError
from anykube.secret import Secret
from anykube.state.files import reported, sync_folder

CONNECT_SECONDS, READ_SECONDS, TRIES = 10, 60, 4
PART_BYTES = 64 * 1024 * 1024
"""Larger archives are sent in parts; an upload that is not completed shows nowhere."""
SCHEME = "s3://"


class Place(Protocol):
    """A place for archives. Every failure is a BackupError."""

    @property
    def name(self) -> str:
        """As a person writes it."""
        ...

    def entries(self) -> Sequence[Entry]:
        """All archives there, of whatever cluster, the oldest first."""
        ...

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A private folder to write an archive into, from which `put` is cheap."""
        ...

    def put(self, archive: Path) -> None:
        """Take an archive from staging."""
        ...

    @contextmanager
    def got(self, name: str) -> Iterator[Path]:
        """An archive as a file of this machine, while the block lasts."""
        ...

    def delete(self, name: str) -> None:
        """Remove an archive; one that is gone is fine."""
        ...


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, made when the first archive comes."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def entries(self) -> Sequence[Entry]:
        """Files with the name of an archive."""
        if not self.path.exists():
            return ()
        with reported("read", self.path):
            found = (entry(path.name, path.stat().st_size) for path in self.path.iterdir() if path.is_file())
            return sorted((item for item in found if item), key=lambda item: (item.taken, item.name))

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """In the folder itself, so that it has the space and a rename is enough."""
        with reported("made", self.path):
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder = tempfile.TemporaryDirectory(prefix=".anykube-", dir=self.path)
        with folder as name:
            yield Path(name)

    def put(self, archive: Path) -> None:
        """Rename it."""
        with reported("written", self.path):
            archive.rename(self.path / archive.name)
            sync_folder(self.path)

    @contextmanager
    def got(self, name: str) -> Iterator[Path]:
        """The file itself."""
        path = self.path / name
        if not path.is_file():
            raise _missing(name, self.name)
        yield path

    def delete(self, name: str) -> None:
        """Remove the file."""
        with reported("removed", self.path / name):
            (self.path / name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of S3. `key` is the access key and its secret; None: as the AWS tools find them."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    key: tuple[str, Secret] | None = None

    @property
    def name(self) -> str:
        """Its URL."""
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def entries(self) -> Sequence[Entry]:
        """Objects below the prefix with the name of an archive."""
        with self._client() as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
            objects = [item for page in pages for item in page.get("Contents", ())]
        found = (entry(item["Key"].removeprefix(self.prefix), item["Size"]) for item in objects)
        return sorted((item for item in found if item), key=lambda item: (item.taken, item.name))

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A temporary folder."""
        with tempfile.TemporaryDirectory(prefix="anykube-archive-") as name:
            yield Path(name)

    def put(self, archive: Path) -> None:
        """Send it with checksums that the server compares, then ask for its size."""
        from boto3.s3.transfer import TransferConfig

        target = {"Bucket": self.bucket, "Key": self.prefix + archive.name}
        with self._client() as client:
            client.upload_file(
                str(archive),
                **target,
                ExtraArgs={"ChecksumAlgorithm": "SHA256"},
                Config=TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES),
            )
            size = client.head_object(**target)["ContentLength"]
        if size != archive.stat().st_size:
            raise BackupError(f"{self.name} has {size} bytes of {archive.name}, not all of it.")

    @contextmanager
    def got(self, name: str) -> Iterator[Path]:
        """A copy of the object."""
        with self.staging() as folder:
            with self._client() as client:
                client.download_file(self.bucket, self.prefix + name, str(folder / name))
            yield folder / name

    def delete(self, name: str) -> None:
        """Remove the object."""
        with self._client() as client:
            client.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        import boto3
        from boto3.exceptions import Boto3Error
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        retries = {"max_attempts": TRIES, "mode": "standard"}
        style = {"addressing_style": "path"} if self.endpoint else {}
        config = Config(
            signature_version="s3v4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries=retries,
            s3=style,
        )
        key, secret = self.key or (None, None)
        try:
            yield boto3.client(
                "s3",
                endpoint_url=self.endpoint,
                region_name=self.region,
                aws_access_key_id=key,
                aws_secret_access_key=secret.reveal().decode() if secret else None,
                config=config,
            )
        except (ClientError, BotoCoreError, Boto3Error) as error:
            raise BackupError(
                f"{self.name} does not do what it was asked.",
                evidence=[str(error)[:300]],
                remedy="check bucket, region and credentials, and that the server can be reached",
            ) from error


def place(text: str) -> Place:
    """The place in the text of a person: a path, or s3://BUCKET/PREFIX with credentials as the AWS tools find
    them (AWS_ENDPOINT_URL for a server that is not Amazon's)."""
    if not text.startswith(SCHEME):
        return Folder(Path(text).expanduser().absolute())
    parts = urlsplit(text)
    if not parts.netloc:
        raise UsageError(f"{text[:80]} names no bucket.", remedy="write s3://BUCKET/PREFIX")
    prefix = parts.path.strip("/")
    return Bucket(parts.netloc, f"{prefix}/" if prefix else "")


def _missing(name: str, where: str) -> BackupError:
    return BackupError(f"There is no archive {name} in {where}.", remedy="anykube backup list")

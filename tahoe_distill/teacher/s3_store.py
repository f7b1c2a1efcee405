"""One bucket of S3, asked with a signature and without: what lies where, whatever the store lets a stranger see."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tahoe_distill.lazy import how_to_install

_DENIED = ("403", "401", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")
_MISSING = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")


@dataclass(frozen=True)
class StoredFile:
    """An object of a bucket: its key, its bytes, and the store's mark of its content."""

    key: str
    bytes: int
    etag: str


class Unreachable(OSError):
    """No answer from the store."""


class Store:
    """One bucket; signed requests where there are credentials, unsigned ones where there are none or they are refused.

    Args:
        bucket: Its name.
        url: What the user named, for messages.
        known: Names of files to ask for one by one where the bucket gives no list.

    Raises:
        ImportError: Without boto3.
    """

    def __init__(self, bucket: str, url: str, known: Iterable[str] = ()):
        try:
            from boto3.session import Session
        except ImportError as error:
            raise ImportError(f"{url}: reading S3 needs boto3; it comes with {how_to_install('train')}") from error
        self.bucket, self.url, self._known = bucket, url, tuple(known)
        session = Session()
        signed = session.get_credentials() is not None
        self._clients = [_client(session, signed=kind) for kind in ((True, False) if signed else (False,))]

    def ask(self, action: str, **options: Any) -> Any:
        """What a client's method gives, ``None`` where there is no such thing.

        Raises:
            PermissionError: When the store refuses, signed and unsigned.
            Unreachable: When it does not answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        refusal: Exception | None = None
        for client in self._clients:
            try:
                return getattr(client, action)(Bucket=self.bucket, **options)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in _MISSING:
                    return None
                if code not in _DENIED:
                    raise OSError(f"{self.url}: the store cannot give it ({error})") from error
                refusal = error
            except BotoCoreError as error:
                raise Unreachable(f"{self.url}: the store cannot be reached ({error})") from error
        raise PermissionError(
            f"{self.url}: the store refuses to show it ({refusal}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of "
            "someone who may read it, or ask its owner"
        ) from refusal

    def files(self, prefix: str) -> dict[str, StoredFile]:
        """The objects right below a prefix, by name; those with a known name where the store gives no list."""
        try:
            return {entry.key.removeprefix(prefix): entry for entry in self._listed(prefix)}
        except PermissionError:
            found = {name: self._one(prefix + name) for name in self._known}
            if not any(found.values()):
                raise
            return {name: entry for name, entry in found.items() if entry is not None}

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders below a prefix, none where the store gives no list."""
        try:
            pages = self._pages(prefix)
            return [part["Prefix"].removeprefix(prefix) for page in pages for part in page.get("CommonPrefixes", ())]
        except PermissionError:
            return []

    def one(self, prefix: str, name: str) -> dict[str, StoredFile]:
        """One object and those beside it, by name; without it nothing."""
        found = self._one(prefix + name)
        return {} if found is None else {**self._beside(prefix), name: found}

    def _beside(self, prefix: str) -> dict[str, StoredFile]:
        try:
            return self.files(prefix)
        except PermissionError:
            return {}

    def _one(self, key: str) -> StoredFile | None:
        try:
            found = self.ask("head_object", Key=key)
        except PermissionError:
            # So a store answers where nobody may know what is not there.
            return None
        return None if found is None else StoredFile(key, found["ContentLength"], found["ETag"].strip('"'))

    def _listed(self, prefix: str) -> Iterator[StoredFile]:
        for page in self._pages(prefix):
            for entry in page.get("Contents", ()):
                yield StoredFile(entry["Key"], entry["Size"], entry["ETag"].strip('"'))

    def _pages(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        more: dict[str, Any] = {}
        while True:
            page = self.ask("list_objects_v2", Prefix=prefix, Delimiter="/", **more) or {}
            yield page
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}


def _client(session: Any, *, signed: bool) -> Any:
    from botocore import UNSIGNED
    from botocore.config import Config

    options: dict[str, Any] = {} if signed else {"signature_version": UNSIGNED}
    config = Config(connect_timeout=10, retries={"mode": "standard", "max_attempts": 5}, **options)
    # The variable that streaming reads, so that cells and teacher can lie in one store.
    region = session.region_name or "us-east-1"
    return session.client("s3", endpoint_url=os.environ.get("S3_ENDPOINT_URL"), region_name=region, config=config)

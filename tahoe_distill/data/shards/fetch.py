"""Files from stores: streaming's downloaders, and public S3 buckets without credentials."""

import os
from collections.abc import Mapping
from typing import Any

from streaming.base.storage import CloudDownloader, S3Downloader


class PublicS3Downloader(S3Downloader):
    """Unsigned requests where there are no credentials.

    Streaming means to do that too, but waits for an error that boto3 raises only later, with the first request.
    """

    def _create_s3_client(self, unsigned: bool = False, timeout: float = 60) -> Any:
        from boto3.session import Session

        return super()._create_s3_client(unsigned or Session().get_credentials() is None, timeout)


def downloader(remote: str | None) -> CloudDownloader:
    """A streaming downloader for ``remote``, a folder or file of any store that streaming knows, or ``None``."""
    is_s3 = remote is not None and remote.startswith("s3://")
    return PublicS3Downloader() if is_s3 else CloudDownloader.get(remote)


def fetch(remote: str, local: str, timeout: float = 60) -> None:
    """Copy one file from ``remote`` to ``local`` unless it is there already.

    Raises:
        OSError: When the store does not give it.
    """
    try:
        downloader(remote).download(remote, local, timeout)
    # Each store's library raises errors of its own.
    except Exception as error:
        raise OSError(f"{remote} cannot be fetched to {local} ({type(error).__name__}: {error})") from error


def local_file(source: str | os.PathLike[str] | Mapping[str, str]) -> str | os.PathLike[str]:
    """The path of a file that is named by its path, or by ``{local, remote}`` and fetched where it is not there yet.

    Raises:
        OSError: When the store does not give it.
    """
    if isinstance(source, (str, os.PathLike)):
        return source
    if source.get("remote") and not os.path.isfile(source["local"]):
        fetch(source["remote"], source["local"])
    return source["local"]

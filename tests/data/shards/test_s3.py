"""Shards in S3: a real server on loopback, with and without credentials, whole and damaged."""

import pytest
from streaming.base.storage import S3Downloader

from tahoe_distill.data.shards.reader import ShardError
from tests.helpers.loaders import cells_read
from tests.helpers.s3_server import forget_credentials, new_bucket, s3_server, use_s3

pytest.importorskip("moto.server", reason="needs moto[server]")


# Importing upstream's package, as other tests do, replaces methods of this class by ones that never sign a request.
AS_RELEASED = {name: method for name, method in vars(S3Downloader).items() if callable(method)}


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as address:
        yield address


@pytest.fixture
def acl():
    return "private"


@pytest.fixture
def bucket(endpoint, shards, monkeypatch, tmp_path, acl):
    """A bucket with the training shards, and the environment of a user with credentials for it."""
    for name, method in AS_RELEASED.items():
        monkeypatch.setattr(S3Downloader, name, method)
    use_s3(endpoint, monkeypatch, tmp_path)
    bucket = new_bucket(endpoint)
    for path in (shards / "train").rglob("*"):
        if path.is_file():
            key = f"set/train/{path.relative_to(shards / 'train')}"
            bucket.upload_file(str(path), key, ExtraArgs={"ACL": acl})
    return bucket


def in_bucket(bucket, local):
    """The set in the bucket, as a data set's options."""
    streams = {"s3": {"remote": f"s3://{bucket.name}/set", "local": str(local), "split": "train"}}
    return {"streams": streams, "download_timeout": 20}


@pytest.mark.parametrize("workers", [0, 2])
def test_with_credentials(bucket, vocab, tmp_path, workers):
    assert cells_read(in_bucket(bucket, tmp_path / "cache"), vocab, workers) == 72


@pytest.mark.parametrize("acl", ["public-read"])
def test_without_credentials(bucket, vocab, tmp_path, monkeypatch):
    forget_credentials(monkeypatch)
    assert cells_read(in_bucket(bucket, tmp_path / "cache"), vocab) == 72


def test_a_private_bucket_without_credentials_is_told(bucket, vocab, tmp_path, monkeypatch):
    forget_credentials(monkeypatch)
    with pytest.raises(ShardError, match="check the bucket path or the bucket permission"):
        cells_read(in_bucket(bucket, tmp_path / "cache"), vocab)


def flipped(data):
    return data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_damage_is_named(bucket, vocab, tmp_path, damage, workers):
    shard = bucket.Object("set/train/chunk-000002/shard.00000.mds")
    data = shard.get()["Body"].read()
    if damage == "missing":
        shard.delete()
    else:
        shard.put(Body=data[:-9] if damage == "cut" else flipped(data))
    with pytest.raises(ShardError, match="chunk-000002/shard.00000.mds"):
        cells_read(in_bucket(bucket, tmp_path / "cache"), vocab, workers)
    # What was bad is not kept: once the store is mended, the next run reads it.
    shard.put(Body=data)
    assert cells_read(in_bucket(bucket, tmp_path / "cache"), vocab) == 72


def test_no_such_set(bucket, vocab, tmp_path):
    bucket.objects.filter(Prefix="set/").delete()
    with pytest.raises(ShardError, match=rf"s3://{bucket.name}/set/train/index.json -> .*cannot be used"):
        cells_read(in_bucket(bucket, tmp_path / "cache"), vocab)

"""Teachers in S3: a real server on loopback, with and without credentials, changed, damaged and out of reach."""

import os

import pytest
import torch
from boto3.s3.transfer import TransferConfig

from tahoe_distill import load_teacher
from tahoe_distill.teacher import s3, s3_store
from tahoe_distill.teacher.s3 import download_from_s3
from tahoe_distill.teacher.s3_store import Store
from tests.helpers.s3_server import forget_credentials, new_bucket, s3_server, use_s3

pytest.importorskip("moto.server", reason="needs moto[server]")


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(endpoint, monkeypatch, tmp_path):
    use_s3(endpoint, monkeypatch, tmp_path)
    return new_bucket(endpoint)


@pytest.fixture
def put(bucket):
    """A function that puts a folder's files below a prefix."""

    def put(folder, prefix, acl="private"):
        for path in folder.iterdir():
            bucket.upload_file(str(path), f"{prefix}/{path.name}", ExtraArgs={"ACL": acl})
        return f"s3://{bucket.name}/{prefix}"

    return put


@pytest.fixture
def checkpoint(tmp_path, release, model):
    """Folder of a Composer checkpoint and its release's settings, as a training run leaves them."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("vocab.json", "model_config.yml", "collator_config.yml"):
        (folder / name).write_bytes((release / name).read_bytes())
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state": {"model": tensors}}, folder / "best-model.pt")
    return folder


def same(teacher, model):
    theirs = teacher.model.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in model.state_dict().items())


def no_more(*arguments):
    raise AssertionError("fetched again")


def test_a_release_is_fetched_once(put, release, model, tmp_path, monkeypatch):
    url = put(release, "ckpts/70m")
    teacher = load_teacher(url, cache_dir=tmp_path / "cache")
    assert same(teacher, model) and teacher.source == url
    monkeypatch.setattr(s3, "_fetch", no_more)
    assert same(load_teacher(f"{url}/", cache_dir=tmp_path / "cache"), model)


def test_one_of_several_sizes(put, release, model, tmp_path):
    put(release, "all/70m-model")
    url = put(release, "all/1b-model").removesuffix("/1b-model")
    place = download_from_s3(url, "1b", cache_dir=tmp_path / "cache")
    assert sorted(path.name for path in place.iterdir()) == sorted(path.name for path in release.iterdir())
    with pytest.raises(ValueError, match="no size was given; found the sizes 1b, 70m"):
        download_from_s3(url, cache_dir=tmp_path / "cache")
    with pytest.raises(ValueError, match="found no size '3b'; found the sizes 1b, 70m"):
        download_from_s3(url, "3b", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("name", ["", "/best-model.pt"])
def test_a_composer_checkpoint_and_its_settings(put, checkpoint, model, tmp_path, name):
    url = put(checkpoint, "runs/one")
    assert same(load_teacher(url + name, cache_dir=tmp_path / "cache"), model)


def test_of_several_checkpoints_one_has_to_be_named(put, checkpoint, tmp_path):
    (checkpoint / "ep1.pt").write_bytes(b"later")
    with pytest.raises(ValueError, match=r"has several checkpoints; name one: best-model.pt, ep1.pt"):
        download_from_s3(put(checkpoint, "runs/one"), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("credentials", [False, True])
def test_public_files_need_no_signature_and_no_list(put, release, model, tmp_path, monkeypatch, credentials):
    """Of a bucket whose list is private; credentials that it does not know stand in nobody's way."""
    url = put(release, "open", acl="public-read")
    if credentials:
        refuse_signed(monkeypatch)
    else:
        forget_credentials(monkeypatch)
    assert same(load_teacher(url, cache_dir=tmp_path / "cache"), model)


def refuse_signed(monkeypatch):
    """Have the store refuse what is signed, as one does where the signer is nobody's."""
    from botocore.exceptions import ClientError

    client = s3_store._client

    def choosy(session, *, signed):
        found = client(session, signed=signed)
        if signed:
            error = ClientError({"Error": {"Code": "InvalidAccessKeyId"}}, "HeadObject")
            found.meta.events.register("before-send", lambda **_: (_ for _ in ()).throw(error))
        return found

    monkeypatch.setattr(s3_store, "_client", choosy)


def test_a_private_bucket_is_told(put, release, tmp_path, monkeypatch):
    url = put(release, "closed")
    forget_credentials(monkeypatch)
    with pytest.raises(PermissionError, match="refuses to show it .* set AWS_ACCESS_KEY_ID"):
        load_teacher(url, cache_dir=tmp_path / "cache")


def test_nothing_there(bucket, tmp_path):
    with pytest.raises(FileNotFoundError, match="found no teacher there; expected a folder with vocab.json"):
        load_teacher(f"s3://{bucket.name}/nowhere", cache_dir=tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="found no teacher there"):
        load_teacher("s3://no-such-bucket-here/nowhere", cache_dir=tmp_path / "cache")
    with pytest.raises(ValueError, match="expected s3://bucket/folder"):
        load_teacher(f"s3://{bucket.name}", cache_dir=tmp_path / "cache")


def test_what_changed_in_the_store_is_another_version(put, release, tmp_path, edit_weights):
    first = download_from_s3(put(release, "r"), cache_dir=tmp_path / "cache")
    edit_weights(release, model__gene_encoder__enc_norm__bias=torch.full((8,), 3.0))
    second = download_from_s3(put(release, "r"), cache_dir=tmp_path / "cache")
    assert first != second and first.is_dir()
    assert (second / "model.safetensors").read_bytes() == (release / "model.safetensors").read_bytes()


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data[:-3] + b"xyz"])
def test_what_was_damaged_on_the_way_is_refused_and_fetched_again(put, release, model, tmp_path, monkeypatch, damage):
    ask = Store.ask

    def damaging(store, action, **options):
        found = ask(store, action, **options)
        if action == "download_file" and options["Filename"].endswith("model.safetensors"):
            with open(options["Filename"], "r+b") as file:
                data = file.read()
                file.seek(0)
                file.truncate()
                file.write(damage(data))
        return found

    url = put(release, "r")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "ask", damaging)
        with pytest.raises(OSError, match=r"model.safetensors: expected .*, got .*; it was changed on the way"):
            load_teacher(url, cache_dir=tmp_path / "cache")
    assert same(load_teacher(url, cache_dir=tmp_path / "cache"), model)


def test_large_files_in_parts_are_checked_too(bucket, tmp_path):
    content = os.urandom(6 << 20)
    (tmp_path / "big").write_bytes(content)
    parts = TransferConfig(multipart_threshold=1, multipart_chunksize=5 << 20)
    bucket.upload_file(str(tmp_path / "big"), "big", Config=parts)
    store = Store(bucket.name, "s3://x/y")
    entry = store.files("")["big"]
    assert entry.etag.endswith("-2") and s3._part_bytes(store, entry) == 5 << 20
    assert s3._etag(tmp_path / "big", 5 << 20) == entry.etag
    (tmp_path / "big").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert s3._etag(tmp_path / "big", 5 << 20) != entry.etag


def test_a_kill_loses_no_more_than_the_file_it_was_at(put, release, tmp_path, monkeypatch):
    url, ask, asked = put(release, "r"), Store.ask, []

    def killed(store, action, **options):
        if action == "download_file":
            asked.append(os.path.basename(options["Filename"]))
            if len(asked) == 3:
                # What boto leaves of a file that it was at.
                with open(f"{options['Filename']}.6eF5b5da", "wb") as file:
                    file.write(b"half")
                raise KeyboardInterrupt
        return ask(store, action, **options)

    monkeypatch.setattr(Store, "ask", killed)
    with pytest.raises(KeyboardInterrupt):
        download_from_s3(url, cache_dir=tmp_path / "cache")
    place = download_from_s3(url, cache_dir=tmp_path / "cache")
    assert len(asked) == 5 and len(set(asked)) == 4
    assert sorted(path.name for path in place.iterdir()) == sorted(path.name for path in release.iterdir())


def test_out_of_reach_the_last_version_counts(put, release, model, tmp_path, monkeypatch, caplog):
    url = put(release, "r")
    load_teacher(url, cache_dir=tmp_path / "cache")
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert same(load_teacher(url, cache_dir=tmp_path / "cache"), model)
    assert "taking what was fetched last" in caplog.text
    with pytest.raises(OSError, match="cannot be reached .* nothing was fetched before"):
        load_teacher(url, cache_dir=tmp_path / "other")

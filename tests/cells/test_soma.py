"""A SOMA experiment is read as the h5ad that it was made of, from a folder and from an object store."""

import numpy as np
import pytest

from tahoe_distill.cells import expand_inputs, match_genes, open_cells, soma_address
from tahoe_distill.cells.formats import identity_of, whole_name
from tahoe_distill.cells.soma import Address, settings
from tests.helpers.s3_server import new_bucket, s3_server_apart, use_s3
from tests.helpers.tiny_student import tiny_cells, tiny_vocab

pytest.importorskip("tiledbsoma")
FILTER = 'tissue == "lung" and not is_secondary'


@pytest.fixture(scope="module")
def adata():
    cells = tiny_cells(40)
    cells.obs["tissue"] = ["lung", "blood"] * 20
    cells.obs["is_secondary"] = [False, False, True, False] * 10
    return cells


@pytest.fixture(scope="module")
def experiment(adata, tmp_path_factory):
    from tests.helpers.somas import write_soma

    return write_soma(adata, tmp_path_factory.mktemp("soma") / "cells of a lab")


def meant(adata):
    return adata[(adata.obs["tissue"] == "lung") & ~adata.obs["is_secondary"]]


def test_all_cells_are_those_of_the_file(adata, experiment):
    with open_cells(experiment) as cells:
        assert cells.n_obs == 40 and cells.obs["soma_joinid"].tolist() == list(range(40))
        assert list(cells.obs.index) == list(adata.obs_names)
        rows = cells.rows(3, 21)
        assert rows.has_canonical_format
        np.testing.assert_array_equal(rows.toarray(), adata.X[3:21].toarray())
        assert sum(part.sum() for part in cells.values()) == adata.X.sum()
        assert match_genes(cells, tiny_vocab()).count == 60


def test_a_filter_leaves_the_cells_that_are_meant(adata, experiment):
    with open_cells(soma_address(experiment, obs_filter=FILTER)) as cells:
        assert list(cells.obs.index) == list(meant(adata).obs_names)
        np.testing.assert_array_equal(cells.rows(2, 9).toarray(), meant(adata).X[2:9].toarray())
        assert cells.obs_column("drug").tolist() == meant(adata).obs["drug"].tolist()
        assert 0 < cells.width() <= 70 and (cells.sample() > 0).all()


def test_rows_without_values_stay_empty(adata, tmp_path):
    from tests.helpers.somas import write_soma

    few = adata[:6].copy()
    few.X = few.X.multiply(np.array([[1], [1], [0], [1], [1], [1]])).tocsr()
    few.X.eliminate_zeros()
    with open_cells(write_soma(few, tmp_path / "few", layer="counts"), layer="counts") as cells:
        np.testing.assert_array_equal(cells.rows(0, 6).toarray(), few.X.toarray())


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"obs_filter": 'tisue == "lung"'}, "unknown column of obs 'tisue'; did you mean 'tissue'"),
        ({"obs_filter": 'tissue == "liver"'}, "no cell fits 'tissue == \"liver\"', of 40"),
        ({"obs_filter": "tissue == 3"}, "cannot be filtered by 'tissue == 3'"),
        ({"obs_filter": "tissue = 3"}, "cannot be read .invalid syntax"),
        ({"measurement": "RNN"}, "unknown measurement 'RNN'; did you mean 'RNA'"),
    ],
)
def test_cells_that_cannot_be_meant(experiment, chosen, message):
    with pytest.raises(ValueError, match=message):
        open_cells(soma_address(experiment, **chosen))


def test_what_is_no_experiment(experiment, tmp_path):
    with pytest.raises(ValueError, match="unknown layer of RNA 'rwa'; did you mean 'raw'"):
        open_cells(experiment, layer="rwa")
    with pytest.raises(ValueError, match="is a SOMADataFrame; expected a SOMAExperiment"):
        open_cells(f"{experiment}/obs")
    with pytest.raises(ValueError, match="is a SOMACollection of RNA; expected"):
        open_cells(f"{experiment}/ms")
    with pytest.raises(ValueError, match="no such SOMA"):
        open_cells(f"soma://{tmp_path}/nothing")
    with pytest.raises(ValueError, match="obs_filter .* are for SOMA experiments"):
        soma_address(tmp_path / "cells.h5ad", obs_filter="tissue")
    with pytest.raises(ValueError, match="no option 'obs_filtr': did you mean 'obs_filter'"):
        open_cells(f"soma://{experiment}?obs_filtr=x")


def test_an_address_means_the_same_everywhere(experiment, tmp_path, monkeypatch):
    address = soma_address(experiment, obs_filter=FILTER)
    assert Address.read(address) == Address(experiment, "RNA", FILTER)
    assert expand_inputs([address, experiment, address]) == [address, experiment]
    monkeypatch.chdir(tmp_path)
    assert whole_name("soma://here") == f"soma://{tmp_path}/here?measurement=RNA"
    assert whole_name(address) == address and identity_of(address) == identity_of(experiment) != ""
    assert identity_of("soma://here") == "" and whole_name("cells.h5ad") == f"{tmp_path}/cells.h5ad"


def test_an_experiment_in_an_object_store(adata, tmp_path, monkeypatch):
    from tests.helpers.somas import write_soma

    with s3_server_apart() as endpoint:
        use_s3(endpoint, monkeypatch, tmp_path)
        bucket = new_bucket(endpoint).name
        found = settings()
        assert found["vfs.s3.scheme"] == "http" and "vfs.s3.no_sign_request" not in found
        uri = write_soma(adata, f"s3://{bucket}/census/cells", **found)
        with open_cells(soma_address(uri, obs_filter=FILTER)) as cells:
            np.testing.assert_array_equal(cells.rows(0, 10).toarray(), meant(adata).X.toarray())
        assert len(identity_of(uri)) == 16
        with pytest.raises(ValueError, match="no such SOMA"):
            open_cells(f"s3://{bucket}/census/others")
    monkeypatch.setenv("TILEDB_VFS_S3_CONNECT_MAX_TRIES", "1")
    with pytest.raises(OSError, match=f"s3://{bucket}/census/cells cannot be read .*AWS_ENDPOINT_URL"):
        open_cells(uri)


def test_strangers_ask_without_a_signature(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert settings()["vfs.s3.no_sign_request"] == "true" and settings()["vfs.s3.region"] == "us-west-2"
    monkeypatch.setenv("TILEDB_VFS_S3_NO_SIGN_REQUEST", "false")
    assert "vfs.s3.no_sign_request" not in settings()

"""What a student is to give: a teacher's vectors as `embed` has them, and what is refused of vectors that are given."""

import numpy as np
import pytest
from tqdm.auto import tqdm

from tahoe_distill import embed
from tahoe_distill.cells import open_cells
from tahoe_distill.fitting.rows import encoded
from tahoe_distill.fitting.targets import Given, check_given, label


def test_labels_are_what_embed_gives(fit_cells, counted, teacher):
    tokens = np.arange(counted.counts.shape[1])
    windows = encoded(teacher.processor, tokens, [counted.counts[:60], counted.counts[60:]])
    found = label(teacher, windows, len(counted), bar=tqdm(disable=True))
    expected = embed(fit_cells, (teacher.model, teacher.processor), normalize=False, copy=True).obsm["X_tx1"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((139, 4)), r"a row for each of the 140 cells, found an array of \(139, 4\)"),
        (np.ones(140), r"found an array of \(140,\)"),
        (np.ones((140, 0)), "rows without any value"),
        (np.full((140, 2), "x"), "found values of type"),
        (np.ones((140, 4)), "all 140 vectors are the same"),
        (np.where(np.arange(280).reshape(140, 2) == 6, np.nan, 1), "of 1 of 140 cells are NaN or infinite.* cell 3"),
    ],
)
def test_what_is_no_vector_of_these_cells_is_refused(vectors, message):
    with pytest.raises(ValueError, match=f"given: .*{message}"):
        check_given(vectors, 140, "given")


def test_vectors_from_a_file_and_from_obsm(fit_cells, tmp_path):
    np.save(tmp_path / "x.npy", fit_cells.obsm["X_kind"])
    np.savez(tmp_path / "x.npz", x=fit_cells.obsm["X_kind"])
    (tmp_path / "text.npy").write_text("no array")
    with open_cells(fit_cells) as cells:
        file, key = Given.from_file(tmp_path / "x.npy", cells), Given.from_obsm(cells, "X_kind")
        np.testing.assert_array_equal(file.vectors, key.vectors)
        assert (file.source, key.source) == ("x.npy", "obsm['X_kind']")
        with pytest.raises(ValueError, match="expected one array .*found several"):
            Given.from_file(tmp_path / "x.npz", cells)
        with pytest.raises(ValueError, match="as numpy.save writes it"):
            Given.from_file(tmp_path / "text.npy", cells)
        with pytest.raises(FileNotFoundError, match="expected a .npy"):
            Given.from_file(tmp_path / "none.npy", cells)
        with pytest.raises(ValueError, match="obsm has no array 'X_none'"):
            Given.from_obsm(cells, "X_none")

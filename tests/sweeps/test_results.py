"""Figures, page and tables of a sweep, and a paper's from results alone."""

import pandas as pd
import pytest

from tahoe_distill.cli.main import main
from tahoe_distill.evaluation.page import can_draw
from tahoe_distill.metrics.tables import latex
from tahoe_distill.sweeps.confirm import Confirmation, check_confirm, confirm
from tahoe_distill.sweeps.figures import importance, trial_figures
from tahoe_distill.sweeps.page import write_page
from tahoe_distill.sweeps.process import RunFolder
from tahoe_distill.sweeps.results import COLUMNS, best_of, interval_over_seeds, read_trials, write_results

needs_altair = pytest.mark.skipif(not can_draw(), reason="needs Altair")


@pytest.fixture
def trials():
    """Nine settings of width, which counts, and tau, which does not; sizes grow with the width."""
    rows = [
        {
            "name": f"tx1-d{d}-tau{tau}", "state": "complete", "metric": "eval/knn_overlap", "mode": "max",
            "value": d / 100 + tau / 1000, "low": d / 100 - 0.01, "high": d / 100 + 0.01, "runs": 3,
            "parameters": 1000 * d, "seconds": 9.0, "error": None, "setting:d": d, "setting:tau": tau,
        }
        for d in (64, 32, 16) for tau in (4, 2, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_interval_over_seeds_is_students():
    from scipy.stats import t

    values = [0.5, 0.6, 0.8, 0.55]
    expected = t.interval(0.95, 3, loc=pd.Series(values).mean(), scale=pd.Series(values).sem())
    assert interval_over_seeds(values) == pytest.approx(expected) and interval_over_seeds([0.5]) is None


@needs_altair
def test_figures_show_each_dimension_what_mattered_and_the_front(trials):
    against, mattered, size = trial_figures(trials, "s")
    assert [figure.name for figure in (against, mattered, size)] == ["s-against", "s-importance", "s-pareto"]
    assert len(against.panels) == 2 and against.title == "eval/knn_overlap against d and tau"
    shares = importance(trials)
    assert shares["d"] > 0.9 and sum(shares.values()) == pytest.approx(1.0)
    rows = next(iter(size.panels[0]["datasets"].values()))
    # The best of each width costs no more than its rivals.
    assert {row["name"] for row in rows if row["best"]} == {"tx1-d64-tau4", "tx1-d32-tau4", "tx1-d16-tau4"}
    assert trial_figures(trials.assign(state="failed")) == []


@needs_altair
def test_the_page_says_what_is_best_how_sure_and_what_failed(open_study, work, run, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run["fake"]["fails_at"] = 5
    study = open_study(seeds=2, space={"lr": {"key": "optimizer.lr", "values": [3, 2, 5]}})
    work(study, jobs=2)
    table, best = write_results(study)
    found = Confirmation("fidelity/knn_overlap_10", True, 90, "other.h5ad", {"17": 0.5}, {"17": 0.4}, 0.1, 0.05, 0.15)
    (path,) = write_page(study, table, best, confirmation=found)
    text = path.read_text(encoding="utf-8")
    assert "Best: lr 3" in text and "95 % over seeds" in text and "one that fails" in text
    assert "On cells that the sweep did not see: better than the base" in text and "+0.1000" in text


def test_a_verdict_needs_an_interval_beside_zero():
    def verdict(low, high, higher=True):
        return Confirmation("m", higher, 9, "f", {}, {}, 0.0, low, high).verdict

    assert [verdict(0.1, 0.2), verdict(-0.2, -0.1), verdict(-0.1, 0.1)] == ["better", "worse", "no different"]
    assert [verdict(0.1, 0.2, False), verdict(-0.2, -0.1, False)] == ["worse", "better"]


def test_best_and_base_are_compared_on_the_same_other_cells(open_study, work, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "other.h5ad").write_text("cells")
    study = open_study(
        seeds=2, space={"lr": {"key": "optimizer.lr", "values": [3]}}, confirm={"adata": str(tmp_path / "other.h5ad")}
    )
    check_confirm(study)
    work(study)
    seen = {}

    def judge(students, section):
        seen.update(students=[path.parent.name for path in students], section=section)
        values = {f"s{n}": 0.9 if n < 2 else 0.5 for n in range(4)}
        subjects = {name: {"role": "student", "values": {"fidelity/knn_overlap_10": v}} for name, v in values.items()}
        cells = pd.DataFrame({f"{name}/knn_overlap_10": [v - 0.1, v + 0.1] * 20 for name, v in values.items()})
        return {"subjects": subjects, "higher_is_better": {"fidelity/knn_overlap_10": True}}, cells

    found = confirm(study, best_of(study), judge)
    assert seen["students"] == ["tx1-lr3-s17", "tx1-lr3-s18", "tx1-base-s17", "tx1-base-s18"]
    # What is hard for both does not widen the interval: each cell differs by the same.
    assert (found.difference, found.low, found.high, found.verdict) == pytest.approx(
        (0.4, 0.4, 0.4, "better"), abs=1e-9
    )
    assert (study.folder / "confirm.json").is_file()


def test_cells_that_the_trials_are_judged_by_cannot_confirm(open_study, tmp_path):
    for name in ("seen", "same"):
        (tmp_path / f"{name}.h5ad").write_text("cells")
    trial = {"settings": {"callbacks.evaluate": {"adata": str(tmp_path / "seen.h5ad")}}}
    study = open_study(trial=trial, confirm={"adata": str(tmp_path / "same.h5ad")})
    with pytest.raises(ValueError, match="what was chosen by them cannot be confirmed by them"):
        check_confirm(study)


def test_parameters_are_counted_from_the_files(tmp_path):
    import torch
    from safetensors.torch import save_file

    folder = RunFolder(tmp_path)
    assert folder.parameters() is None
    folder.student.mkdir()
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, folder.student / "model.safetensors")
    assert folder.parameters() == 17


@needs_altair
def test_figures_of_a_paper_from_files_alone(trials, tmp_path, capsys):
    folder = tmp_path / "temperature"
    folder.mkdir()
    trials.reindex(columns=[*COLUMNS, "setting:d", "setting:tau"]).to_csv(folder / "trials.csv", index=False)
    out = tmp_path / "paper"
    assert main(["figures", str(folder), "--out", str(out)]) == 0
    names = {path.name for path in out.iterdir()}
    stem = "temperature-trials"
    assert names == {f"{stem}-{kind}.svg" for kind in ("against", "importance", "pareto")} | {
        f"{stem}.md",
        f"{stem}.tex",
    }
    assert (
        (out / f"{stem}.tex")
        .read_text()
        .startswith("\\begin{tabular}{lrrrrr}\n\\toprule\nsetting & eval/knn\\_overlap")
    )
    assert main(["figures", str(tmp_path / "none"), "--out", str(out)]) == 1
    assert "is no result: expected a metrics.json" in capsys.readouterr().err


def test_another_table_is_refused(tmp_path):
    (tmp_path / "trials.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="found no column name"):
        read_trials(tmp_path)


def test_latex_escapes_what_it_would_read_otherwise():
    text = latex(["a_b", "50 %"], [["x & y", "1 … 2"]])
    assert text.splitlines()[2] == r"a\_b & 50 \% \\" and r"x \& y & 1 \ldots{} 2 \\" in text

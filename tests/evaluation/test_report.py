"""The report: what it says, and what a browser makes of it."""

import re

import numpy as np
import pandas as pd
import pytest

from tahoe_distill.evaluation import maps, page, report
from tahoe_distill.evaluation.record import read_cells, write_record
from tahoe_distill.evaluation.report import write_report
from tahoe_distill.lazy import how_to_install
from tests.helpers.browser import CHROMIUM, open_page

needs_altair = pytest.mark.skipif(not page.can_draw(), reason="figures need altair and vl-convert-python")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
FIGURES = ["numbers", "maps", "labels", "confusion", "speed"]


@pytest.fixture
def folder(tmp_path, judged, record):
    """A folder of its own with that evaluation."""
    write_record(judged, record, tmp_path)
    return tmp_path


@needs_altair
def test_the_report_and_its_images(folder):
    files = write_report(folder, images="svg")
    assert [file.name for file in files] == ["report.html", *(f"{name}.svg" for name in FIGURES)]
    assert all(file.stat().st_size > 1000 for file in files)
    html = files[0].read_text(encoding="utf-8")
    assert re.findall(r'<figure id="(\w+)"', html) == FIGURES
    assert files[0].stat().st_size < 2_000_000
    # The label that would be markup is text wherever it stands.
    assert "<b>bold</b>" not in html


@needs_altair
def test_without_altair_all_else_is_written_and_the_way_to_it_told(folder, monkeypatch, caplog):
    monkeypatch.setattr(report, "can_draw", lambda: False)
    assert write_report(folder) == []
    assert how_to_install("evaluate") in caplog.text
    assert not (folder / "report.html").exists()


def test_every_verdict_stands_on_top_in_words(record):
    for verdict, answer in zip(record["verdicts"], (True, None)):
        verdict["replaces_teacher"] = answer
    html = report.report(record, [])
    assert html.index('notice good"><strong>Yes: may near replace the teacher') < html.index("<h2>")
    assert 'notice unsure"><strong>Cannot be told: may far replace' in html


def test_a_control_that_did_not_fail_is_in_red(record):
    for control in record["controls"]:
        control["failed_as_it_must"] = True
    assert "do not trust" not in report.report(record, [])
    record["controls"][0] |= {"failed_as_it_must": False, "value": 0.9, "must_be_below": 0.5}
    html = report.report(record, [])
    assert 'notice bad"><strong>The control “permuted genes (near)” did not fail: do not trust these numbers' in html
    assert "is 0.900, where less than 0.500 was expected" in html


def test_what_was_left_out_and_every_number_are_there(record):
    record["skipped"] = [{"evaluator": "genes", "subject": name, "reason": "<no genes>"} for name in ("a", "b")]
    record["notes"] = ["3 cells have no label"]
    html = report.report(record, [])
    assert "genes (a, b): &lt;no genes&gt;" in html and "3 cells have no label" in html
    for subject in record["subjects"].values():
        assert all(f">{metric} " in html for metric in subject["values"])


@pytest.mark.parametrize("count", [40, 100])
def test_maps_show_a_sample_of_many_cells_and_turn_students_onto_the_teacher(judged, monkeypatch, count):
    monkeypatch.setattr(maps, "MOST_POINTS", count)
    turn = np.array([[0.0, 1.0], [1.0, 0.0]])
    places = iter([np.arange(2.0 * min(count, 60)).reshape(-1, 2) ** 1.1 for _ in range(3)])
    first = []

    def umap(vectors, *, seed):
        mine = next(places)
        first.append(mine)
        return mine if len(first) == 1 else mine @ turn

    monkeypatch.setattr(maps, "umap", umap)
    before = {name: dict(numbers) for name, numbers in judged.cells.items()}
    try:
        maps.add_maps(judged)
        shown = {
            name: np.stack([judged.cells[name][f"umap_{axis}"] for axis in "12"], 1) for name in ("teacher", "near")
        }
    finally:
        judged.cells = before
    assert np.isfinite(shown["teacher"]).all(axis=1).sum() == min(count, 60)
    np.testing.assert_allclose(shown["near"], shown["teacher"], atol=2e-3)


def test_too_few_cells_have_no_map_and_that_is_said(judged, monkeypatch):
    monkeypatch.setattr(maps, "MOST_POINTS", 10)
    before = list(judged.notes)
    try:
        maps.add_maps(judged)
        assert "10 cells are too few" in judged.notes[-1]
    finally:
        judged.notes = before


def test_real_coordinates_keep_groups_apart():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], 40)
    vectors = rng.normal(size=(80, 8)) * 0.1 + np.eye(8)[groups]
    places = maps.umap(vectors.astype(np.float32), seed=0)
    centers = [places[groups == group].mean(axis=0) for group in (0, 1)]
    spread = max(places[groups == group].std() for group in (0, 1))
    assert np.linalg.norm(centers[0] - centers[1]) > 2 * spread


def test_more_labels_than_colours_share_the_last():
    column = pd.Series([f"type {number}" for number in range(30) for _ in range(31 - number)] + [""])
    shown = pd.Series(maps._few(column))
    assert shown.nunique() == 20
    assert set(shown[column == "type 29"]) == {"other"} and set(shown[column == "type 0"]) == {"type 0"}


def test_a_share_keeps_its_colour_whichever_others_are_there():
    data = pd.DataFrame({"c0": ["a", "b", "c"], "c1": maps._bins(pd.Series([0.7, 0.95, 1.0]))})
    assert data["c1"].tolist() == ["60–80 %", "80–100 %", "80–100 %"]
    first, second, third = maps.palette(data, ["c1"])[:3]
    assert f"by === 'c1' ? '{maps._SHARES[3]}'" in first and f"by === 'c1' ? '{maps._SHARES[4]}'" in second
    assert third == f"'{maps._COLORS[2]}'"


@needs_altair
def test_cells_without_labels_are_told_apart_by_the_teachers_clusters(folder, record):
    from tahoe_distill.evaluation.figures import figures

    cells = read_cells(folder).drop(columns=["label", "judged"])
    for subject in record["subjects"].values():
        subject["tables"] = {}
        subject["values"] = {k: v for k, v in subject["values"].items() if not k.startswith(("annotation", "cost"))}
    found = {figure.name: figure for figure in figures(record, cells)}
    assert list(found) == ["numbers", "maps", "labels"]
    assert "cluster of the teacher" in found["labels"].caption


@needs_altair
@needs_browser
def test_a_browser_draws_every_figure_and_nothing_leaves_the_page(folder, tmp_path):
    write_report(folder)
    # Colours by another label, and a brush over a corner of the first map.
    script = """
    const select = document.querySelector("select");
    select.selectedIndex = select.options.length - 1;
    select.dispatchEvent(new Event("change"));
    const map = window.figures.find((figure) => figure.spec.concat);
    await map.drawn.view.runAsync();
    const root = document.documentElement.dataset;
    root.by = map.drawn.view.signal("by");
    root.options = [...select.options].map((option) => option.text).join("|");
    root.cells = map.spec.datasets[map.spec.data.name].length;
    root.bold = document.querySelectorAll("b").length;
    const canvas = map.place.querySelector("canvas"), box = canvas.getBoundingClientRect();
    const path = [["move", 20, 40], ["down", 20, 40], ["move", 60, 90], ["move", 150, 200], ["up", 150, 200]];
    for (const [kind, x, y] of path) {
      const at = { bubbles: true, clientX: box.left + x, clientY: box.top + y, buttons: 1, pointerId: 1, view: window };
      canvas.dispatchEvent(new PointerEvent(`pointer${kind}`, at));
      await map.drawn.view.runAsync();
    }
    root.brushed = map.drawn.view.data("brush_store").map((chosen) => chosen.unit).join();
    """
    opened = open_page(folder / "report.html", tmp_path, script=script)
    assert opened.console == []
    assert opened.requests == []
    panels = opened.dom.count('class="chart"')
    assert panels == opened.dom.count('data-drawn="yes"') >= 9
    found = dict(re.findall(r'data-(by|options|cells|bold|brushed)="([^"]*)"', opened.dom))
    options = found["options"].split("|")
    assert options[:3] == ["label", "batch", "neighbours kept by near"]
    assert found["by"] == f"c{len(options) - 1}"
    assert found["cells"] == "60" and found["bold"] == "0"
    # The one choice holds for all maps, which share their rows.
    assert found["brushed"] == "map0"

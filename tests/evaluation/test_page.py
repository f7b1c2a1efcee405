"""The builder of pages: whatever is put into a page is text, never markup or script."""

import json
import re

import pytest
from markupsafe import Markup

from tahoe_distill.evaluation import page as pages
from tahoe_distill.evaluation.page import facts, folded, items, notice, page, paragraph, section, table

HOSTILE = "</script><script>alert(1)</script>\"'&\u2028"


@pytest.mark.parametrize(
    "block",
    [
        paragraph(HOSTILE),
        notice("bad", HOSTILE, HOSTILE),
        items([HOSTILE]),
        table(["", HOSTILE], [(HOSTILE, HOSTILE)], marks={HOSTILE: "student"}),
        facts([(HOSTILE, HOSTILE)]),
        folded(HOSTILE, paragraph(HOSTILE)),
        section(HOSTILE, paragraph(HOSTILE)),
    ],
    ids=["paragraph", "notice", "items", "table", "facts", "folded", "section"],
)
def test_texts_are_escaped_in_every_block(block):
    assert "alert(1)" in block and "<script" not in block
    assert "<script" not in page(HOSTILE, [block], lead=HOSTILE)


def test_json_in_a_script_cannot_end_it_and_stays_the_same():
    text = pages._script_json({"label": HOSTILE})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"label": HOSTILE}


def test_tables_are_packed_by_columns():
    rows = [{"label": "a", "x": 1.5}, {"label": "b", "x": None}, {"label": "a", "x": 2}]
    packed = pages._packed({"mark": "point", "datasets": {"d": rows, "none": []}})
    assert packed["mark"] == "point" and packed["datasets"]["none"] == {}
    assert packed["datasets"]["d"] == {
        "label": {"levels": ["a", "b"], "codes": [0, 1, 0]},
        "x": {"values": [1.5, None, 2]},
    }


def test_a_number_that_is_none_never_reaches_a_page():
    with pytest.raises(ValueError, match="not JSON compliant"):
        pages._script_json({"x": float("nan")})


def test_a_page_forbids_every_request_and_carries_the_libraries_only_for_figures():
    bare = page("Bare", [paragraph("nothing to draw")])
    assert "default-src 'none'" in bare and "vegaEmbed" not in bare
    assert bare.startswith("<!DOCTYPE html>") and bare.count("<h1>") == 1
    pytest.importorskip("vl_convert", reason="figures need vl-convert-python")
    drawn = page("Drawn", [Markup('<div class="chart"></div>')])
    assert "vegaEmbed" in drawn
    # Only where the libraries and the page's own script end.
    assert drawn.count("</script") == 2


def test_an_image_of_each_kind(tmp_path):
    altair = pytest.importorskip("altair", reason="figures need Altair")
    import pandas as pd

    chart = altair.Chart(pd.DataFrame({"x": [1, 2]})).mark_point().encode(x="x:Q")
    figure = pages.Figure("f", "Title", "Caption.", (pages.to_spec(chart), pages.to_spec(chart)))
    png, svg = (figure.write(tmp_path, kind) for kind in ("png", "svg"))
    assert png.read_bytes().startswith(b"\x89PNG") and svg.read_text().startswith("<svg")
    # Both panels, side by side.
    assert int(re.search(r'width="(\d+)', svg.read_text())[1]) > 2 * 380

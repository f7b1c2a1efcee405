"""Pages of figures and tables in one HTML file: no network, light and dark, wide and narrow.

Blocks are :class:`markupsafe.Markup`; whatever else is put into them is escaped. Figures are Vega-Lite, drawn by the
libraries that vl-convert carries and the page holds in itself.
"""

import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from tahoe_distill.lazy import how_to_install

if TYPE_CHECKING:
    import altair

HOW_TO_GET = f"figures and report.html need Altair: {how_to_install('evaluate')}"
# Of one panel in an image, in pixels; on a page panels are as wide as there is room.
_IMAGE_WIDTH, _IMAGE_SCALE = 380, 2.0
# The page needs nothing from anywhere, so the browser is told to fetch nothing. Vega compiles its expressions.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:"
)


def can_draw() -> bool:
    """Whether what figures need is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("altair", "vl_convert"))


@dataclass(frozen=True)
class Figure:
    """One figure: panels beside each other, or below each other where there is no room.

    Args:
        name: Of its image file, without ending.
        title: Its heading.
        caption: How to read it, in sentences.
        panels: Vega-Lite specifications, of charts without a width. A chart whose views are linked is one panel with
            ``concat``, whose views share the width.
    """

    name: str
    title: str
    caption: str
    panels: tuple[dict[str, Any], ...] = field(repr=False)

    def html(self) -> Markup:
        """As a block of a page."""
        charts = Markup("").join(
            Markup('<div class="chart" role="img" aria-label="{}"><script type="application/json">{}</script></div>')
            .format(f"{self.title}: {self.caption}", _script_json(_packed(panel)))
            for panel in self.panels
        )  # fmt: skip
        kind = "panels" if len(self.panels) > 1 else "panels single"
        return Markup('<figure id="{}"><h3>{}</h3><div class="{}">{}</div><figcaption>{}</figcaption></figure>').format(
            self.name, self.title, kind, charts, self.caption
        )

    def write(self, folder: Path, kind: str) -> Path:
        """Write it as an image.

        Args:
            folder: Where.
            kind: ``png`` or ``svg``.

        Returns:
            The file.
        """
        import vl_convert

        spec = self._as_one()
        path = folder / f"{self.name}.{kind}"
        version, config = _vega_lite(), {"background": "white", "legend": {"columns": 5}}
        if kind == "png":
            path.write_bytes(vl_convert.vegalite_to_png(spec, vl_version=version, config=config, scale=_IMAGE_SCALE))
        else:
            text = vl_convert.vegalite_to_svg(spec, vl_version=version, config=config)
            path.write_text(text, encoding="utf-8")
        return path

    def _as_one(self) -> dict[str, Any]:
        """All panels as one specification of fixed width."""
        if len(self.panels) == 1 and "concat" in self.panels[0]:
            spec = self.panels[0]
            return {**spec, "concat": [{**view, "width": _IMAGE_WIDTH} for view in spec["concat"]]}
        outer = ("$schema", "autosize", "config", "datasets")
        views = [
            {**{key: value for key, value in panel.items() if key not in outer}, "width": _IMAGE_WIDTH}
            for panel in self.panels
        ]
        datasets = {name: rows for panel in self.panels for name, rows in panel.get("datasets", {}).items()}
        merged = {"concat": views, "columns": 2, "resolve": {"scale": {"color": "independent", "y": "independent"}}}
        return {"$schema": self.panels[0]["$schema"], "datasets": datasets, **merged}


def to_spec(chart: "altair.TopLevelMixin") -> dict[str, Any]:
    """The Vega-Lite specification of an Altair chart, with all its rows."""
    import altair

    with altair.data_transformers.enable("default", max_rows=None):
        spec = chart.to_dict()
    # Colours and fonts are the page's.
    spec.pop("config", None)
    return spec


def write_images(figures: Iterable[Figure], folder: Path, kind: str) -> list[Path]:
    """Write each figure as an image.

    Args:
        figures: What to write.
        folder: Where; there already.
        kind: ``png`` or ``svg``.

    Returns:
        The files.
    """
    return [figure.write(folder, kind) for figure in figures]


def page(title: str, blocks: Sequence[Markup], *, lead: str = "") -> str:
    """A whole HTML file.

    Args:
        title: Its name and first heading.
        blocks: What it holds, in order.
        lead: A sentence under the heading.
    """
    here = files("tahoe_distill.evaluation")
    css, script = (here.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    body = Markup("\n").join(blocks)
    scripts = [_libraries(), script] if 'class="chart"' in body else []
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>",
            f"<style>{css}</style></head>",
            f"<body><main><header><h1>{escape(title)}</h1><p>{escape(lead)}</p></header>",
            str(body),
            "</main>",
            *(f"<script>{text}</script>" for text in scripts),
            "</body></html>\n",
        ]
    )


def section(title: str, *blocks: Markup) -> Markup:
    """Blocks under a heading."""
    return Markup("<section><h2>{}</h2>{}</section>").format(title, Markup("\n").join(blocks))


def paragraph(*sentences: str) -> Markup:
    """Sentences."""
    return Markup("<p>{}</p>").format(" ".join(sentences))


def notice(kind: str, head: str, *sentences: str) -> Markup:
    """A box that is seen first.

    Args:
        kind: ``good``, ``bad``, ``unsure`` or ``plain``.
        head: What it says in a few words.
        *sentences: Why.
    """
    text = Markup("").join(Markup("<p>{}</p>").format(sentence) for sentence in sentences)
    return Markup('<div class="notice {}"><strong>{}</strong>{}</div>').format(kind, head, text)


def items(texts: Iterable[str]) -> Markup:
    """A list; nothing where there is nothing."""
    inside = Markup("").join(Markup("<li>{}</li>").format(text) for text in texts)
    return Markup("<ul>{}</ul>").format(inside) if inside else Markup("")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, marks: Mapping[str, str] | None = None) -> Markup:
    """A table whose first column stays in sight when it is moved sideways.

    Args:
        head: Names of the columns.
        rows: Texts.
        marks: Kind of some columns by name, as a class of their style: ``teacher``, ``student``, ``baseline``,
            ``control``.
    """
    kinds = [(marks or {}).get(name, "") for name in head]
    top = Markup("").join(Markup('<th class="{}">{}</th>').format(*pair) for pair in zip(kinds, head, strict=True))
    lines = []
    for first, *rest in rows:
        cells = Markup("").join(Markup('<td class="{}">{}</td>').format(*pair) for pair in zip(kinds[1:], rest))
        lines.append(Markup('<tr><th scope="row">{}</th>{}</tr>').format(first, cells))
    return Markup('<div class="wide"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>').format(
        top, Markup("").join(lines)
    )


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """What is known, a name and a text on each line."""
    lines = (Markup('<tr><th scope="row">{}</th><td>{}</td></tr>').format(*pair) for pair in pairs)
    return Markup('<div class="wide texts"><table><tbody>{}</tbody></table></div>').format(Markup("").join(lines))


def folded(summary: str, *blocks: Markup) -> Markup:
    """Blocks that are shown when asked for."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, Markup("\n").join(blocks))


@cache
def _libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    # Inside a page the end of a script is its first `</script`, even in a string.
    bundle: str = vl_convert.javascript_bundle(vl_version=_vega_lite())  # type: ignore[call-arg]
    return bundle.replace("</script", "<\\/script")


def _vega_lite() -> str:
    """The version that Altair writes, as vl-convert names it."""
    from altair.vegalite import SCHEMA_VERSION

    return ".".join(SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def _script_json(content: Any) -> Markup:
    """JSON that is safe inside a script element, whatever texts it holds."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _packed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification with its tables by columns, texts as numbers in a list: a third of the size of rows."""
    tables = {name: _columns(rows) for name, rows in spec.get("datasets", {}).items()}
    return {**spec, "datasets": tables}


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        if all(isinstance(value, str) for value in values):
            levels = {value: place for place, value in enumerate(dict.fromkeys(values))}
            columns[name] = {"levels": list(levels), "codes": [levels[value] for value in values]}
        else:
            columns[name] = {"values": values}
    return columns

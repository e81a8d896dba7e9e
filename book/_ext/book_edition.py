"""Sphinx extension of this book: what an edition was built from, numbers with their intervals, and quiet, light pages."""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from lungseg_utils.book.glued import glued_values

LOGGER = logging.getLogger(__name__)
NOTEBOOKS = Path("book/results")
# The theme's FontAwesome program draws the same icons as its fonts, a second time and for a quarter of a page's weight;
# the preload of fonts across origins is an error where a page is opened as a file.
_SUPERFLUOUS = re.compile(
    r'\s*<script src="[^"]*vendor/fontawesome/[^"]*"></script>'
    r'|\s*<link rel="preload" as="script" href="[^"]*vendor/fontawesome/[^"]*"\s*/?>'
    r'|\s*<link rel="preload" as="font"[^>]*>'
)

# Spaces where no line may end: "80 %", "30 mm", "n = 2", "[0.65, 0.77]", "0.65 … 0.77"; one side may be a glued value, a node of its own.
_HELD = re.compile(
    r"(?:(?<=\d)|^) (?=(?:%|mm|cm|s|min|h|MB|GB)(?:\W|$))"
    r"|(?<=\b[nkp]) (?=[=<>≤≥])|(?<=[=<>≤≥≈]) (?=\d|$)|(?<=[\d∞],) (?=[-−]?[\d.∞]+\])|(?<=\d) (?=… \d)|(?<=\d …) (?=\d)"
)
_CELL = re.compile(r"(?<=>)[^<]+(?=</t[dh]>)")

_MEANS_NOTHING = "This edition shows that everything runs. Its models were trained for seconds: its numbers mean nothing."

# Docutils calls it a list of entries that, by their own role, belong to no list.
_MISNAMED = ('<div role="list" class="citation-list">', '<div class="citation-list">')


def read_build_info(source: Path) -> dict[str, Any]:
    """`build_info.json` as the workflow wrote it; "unknown" where it is missing."""
    path = source / NOTEBOOKS / "build_info.json"
    info = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {"profile": "unknown", "commit": "unknown", "date": "unknown", "real_data": [], "real_data_missing": []} | info


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def real_data_sentence(info: dict[str, Any]) -> str:
    """Which real CTs this edition holds and which it lacks, in one or two sentences."""
    here, missing = info["real_data"], info["real_data_missing"]
    if not here:
        wanted = f" ({_listed(missing)})" if missing else ""
        return (
            f"This edition was built without any real CT{wanted}: the files have to be fetched under licenses of their own "
            "(`make data`), and were not there. Its tables of real cases are empty."
        )
    text = f"This edition shows real CTs of {_listed(here)}, case by case, without means, intervals or ranks."
    return text + (f" Those of {_listed(missing)} were not there when it was built, so their rows are missing." if missing else "")


def _substitutions(info: dict[str, Any]) -> dict[str, str]:
    summary = info.get("profile_summary", "")
    return {
        "profile": info["profile"],
        "profile_summary": summary,
        "commit": info["commit"][:12],
        "date": info["date"],
        "real_data": real_data_sentence(info),
        **info.get("words", {}),
    }


def _footer(info: dict[str, Any]) -> str:
    text = f"Profile {info['profile']}, commit {info['commit'][:12]}, {info['date']}."
    license = "Text and figures CC BY 4.0, code Apache-2.0."
    return f'<p class="edition">{html.escape(text)} {license}</p>'


def use_build_info(app: Sphinx, config: Any) -> None:
    """Make the facts of the edition available to all pages, and put them at the foot of each."""
    info = read_build_info(Path(app.srcdir))
    config.myst_substitutions = {**config.myst_substitutions, **_substitutions(info)}
    banner = {"announcement": _MEANS_NOTHING} if info.get("means_nothing") else {}
    config.html_theme_options = {**config.html_theme_options, "extra_footer": _footer(info), **banner}


def estimate_text(values: dict[str, str], key: str) -> str:
    """`key` with the interval and number of patients that were glued beside it, e.g. for key "a_dsc" a_dsc_low and a_n."""
    stem = key.rsplit("_", 1)[0]
    mean, low, high = (float(values[name]) for name in (key, f"{key}_low", f"{key}_high"))
    count = int(values[f"{stem}_n"])
    if not all(map(math.isfinite, (low, high))):
        return f"{mean:.3f} ({count} patients, too few for an interval)"
    return f"{mean:.3f} (95 % interval {low:.3f} to {high:.3f}; {count} patients)"


class EstimateRole(SphinxRole):
    """{estimate}`results/results.ipynb::key`: a mean as the notebook glued it, never without its interval and n."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        path, _, key = self.text.partition("::")
        relative, absolute = self.env.relfn2path(path, self.env.docname)
        self.env.note_dependency(relative)
        try:
            text = estimate_text(glued_values(Path(absolute)), key)
        except (OSError, KeyError, ValueError) as problem:
            LOGGER.warning("estimate %s cannot be shown: %r", self.text, problem, location=self.get_location())
            return [], []
        return [nodes.inline(text, text, classes=["estimate"])], []


class GluedDirective(SphinxDirective):
    """{glued} results/models.ipynb::key: a picture or a table that another page's notebook glued; the content is its caption.

    MyST-NB's own `glue` shows no picture across pages. A picture needs `:alt:`; `:narrow:` is the key of one for phones.
    """

    required_arguments = 1
    has_content = True
    option_spec = {"alt": directives.unchanged, "narrow": directives.unchanged}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        path, _, key = self.arguments[0].partition("::")
        relative, absolute = self.env.relfn2path(path, self.env.docname)
        self.env.note_dependency(relative)
        try:
            pictures, tables = (glued_values(Path(absolute), kind) for kind in ("image/png", "text/html"))
            shown = self._figure(Path(absolute), key, pictures) if key in pictures else self._table(tables[key])
        except (OSError, KeyError, ValueError) as problem:
            LOGGER.warning("glued %s cannot be shown: %r", self.arguments[0], problem, location=self.get_location())
            return []
        return [shown]

    def _figure(self, notebook: Path, key: str, pictures: dict[str, str]) -> nodes.Node:
        narrow = self.options.get("narrow")
        figure = nodes.figure("", self._image(notebook, key, pictures, ["wide"] if narrow else []), classes=["glued"])
        if narrow:
            figure += self._image(notebook, narrow, pictures, ["narrow"])
        if self.content:
            self.state.nested_parse(self.content, self.content_offset, text := nodes.Element())
            figure += nodes.caption("", "", *text[0].children)
        return figure

    def _image(self, notebook: Path, key: str, pictures: dict[str, str], classes: list[str]) -> nodes.Node:
        alt = self.options["alt"]  # without it a KeyError, which is a warning, which fails the build
        file = notebook.with_name(f"{notebook.stem}_{key}.png")
        file.write_bytes(base64.b64decode(pictures[key]))
        return nodes.image(uri=f"/{file.relative_to(self.env.srcdir).as_posix()}", alt=alt, classes=classes)

    def _table(self, markup: str) -> nodes.Node:
        shown = nodes.raw("", markup, format="html", classes=["output", "text_html"])
        return nodes.container("", shown, classes=["cell_output", "glued"])


def hold_numbers(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Keep a number and its unit, and the ends of an interval, on one line: in text and in tables that notebooks made, not in code."""
    for text in list(doctree.findall(nodes.Text)):
        if isinstance(text.parent, nodes.raw):
            text.parent.replace(text, nodes.Text(_CELL.sub(lambda cell: _held(cell[0]), text)))
        elif not isinstance(text.parent, nodes.literal | nodes.FixedTextElement | nodes.math):
            text.parent.replace(text, nodes.Text(_held(text)))


def _held(text: str) -> str:
    return _HELD.sub("\u00a0", text)


def name_notebook(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """End the page of a notebook with a link to the notebook as it is tracked, to be run elsewhere."""
    name = Path(page).name
    if Path(page).parent == NOTEBOOKS and (Path(app.srcdir) / "book" / "_static" / "notebooks" / f"{name}.ipynb").is_file():
        address = f"../../_static/notebooks/{name}.ipynb"
        doctree.append(nodes.raw("", f'<p class="notebook"><a href="{address}" download>Notebook of this page</a></p>', format="html"))


def _text(asset: Any) -> str:
    return f"{getattr(asset, 'filename', asset)} {getattr(asset, 'attributes', {}).get('body', '')}".lower()


def drop_assets(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Leave out thebe, which the theme adds although it is off (twice, so that every page ends in a syntax error), and
    MathJax where there is no formula (Sphinx also adds it to pages that merely lead to one)."""
    needless = ["thebe"]
    if doctree is None or not any(doctree.findall(lambda node: isinstance(node, nodes.math | nodes.math_block))):
        needless.append("mathjax")
    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context.get(kind, []) if not any(name in _text(asset) for name in needless)]


def lighten_pages(app: Sphinx, problem: Exception | None) -> None:
    """Remove from the built pages what they load twice, and files that nothing asks for."""
    if problem or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    for page in folder.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(_SUPERFLUOUS.sub("", text).replace(*_MISNAMED), encoding="utf-8")
    for pattern in ("*.map", "vendor/fontawesome/*/js/*", "vendor/fontawesome/*/webfonts/*.ttf", "sphinx-thebe.*", "*webpack-macros.html"):
        for path in (folder / "_static").rglob(pattern):
            path.unlink()


class MetricTable(SphinxDirective):
    """{metric-table}: every metric with its unit, its meaning and its value for empty masks, from the records of the package."""

    def run(self) -> list[nodes.Node]:
        """A table of six columns."""
        from lungseg_utils.evaluation import metrics

        heads = ("metric", "unit", "meaning", "both masks empty", "reference empty", "prediction empty")
        rows = [
            (m.title, "" if m.unit == "1" else m.unit, m.meaning, *(_rule(m.empty, empty) for empty in ("both", "reference", "prediction")))
            for m in (*metrics.METRICS, *metrics.LESION_METRICS)
        ]
        text = "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ("---",) * len(heads), *rows))
        return self.parse_text_to_nodes(text)


def _rule(empty: Mapping[str, float], which: str) -> str:
    if which not in empty:
        return "by its formula"
    return "undefined" if math.isnan(empty[which]) else "∞" if math.isinf(empty[which]) else f"{empty[which]:g}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_role("estimate", EstimateRole())
    app.add_directive("glued", GluedDirective)
    app.add_directive("metric-table", MetricTable)
    app.connect("config-inited", use_build_info, priority=100)
    app.connect("doctree-resolved", hold_numbers)
    app.connect("doctree-resolved", name_notebook)
    app.connect("html-page-context", drop_assets, priority=900)
    app.connect("build-finished", lighten_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

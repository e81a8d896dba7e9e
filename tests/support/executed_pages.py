"""Notebooks executed in the process of a test, and what their readers see: glued values, tables, and texts.

A kernel of its own for each of a dozen pages would take longer than their work. `notebooks.execute`, which has its own tests, starts one.
"""

from __future__ import annotations

import ast
import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

_NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
_GLUED = "application/papermill.record/"


@dataclass(frozen=True)
class ExecutedPage:
    """`glued`: values by key; `glued_html`: those of them that are tables.

    `tables`: (caption, rows by heading); `said`: the text of all displayed Markdown.
    """

    glued: dict[str, Any]
    glued_html: dict[str, str]
    tables: list[tuple[str, list[dict[str, str]]]]
    said: str

    def table(self, *words: str) -> list[dict[str, str]]:
        """The rows of the first table whose caption or headings hold all `words`."""
        return next(rows for caption, rows in self.tables if all(word in caption + " ".join(rows[0]) for word in words))

    def glued_table(self, key: str) -> list[dict[str, str]]:
        """The rows of a table that was glued, by heading."""
        return next(_table(text)[1] for text in re.findall(r"<table.*?</table>", self.glued_html[key], re.DOTALL))

    def sentence(self, notebook: str) -> str:
        """The last paragraph of text with its glued values in their places."""
        cells = nbformat.read(_NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
        text = next(cell.source for cell in reversed(cells) if cell.cell_type == "markdown" and "{glue:text}" in cell.source)
        return re.sub(r"\{glue:text\}`(\w+):?([^`]*)`", lambda m: format(self.glued[m[1]], m[2]), text)


def execute_here(notebook: str, **parameters: Any) -> ExecutedPage:
    """Run all code cells of notebooks/NOTEBOOK.ipynb, with `parameters` over the defaults; the first error of a cell is raised."""
    shell, shown = InteractiveShell.instance(), []
    shell.reset(new_session=True)
    try:
        for cell in nbformat.read(_NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells:
            if cell.cell_type == "code":
                with capture_output() as captured:
                    done = shell.run_cell(cell.source)
                    done.raise_error()
                    if "parameters" in cell.metadata.get("tags", []):
                        shell.push(parameters)
                shown += [(output.data, output.metadata or {}) for output in captured.outputs]
                shown += [shell.display_formatter.format(done.result)] if done.result is not None else []
    finally:
        InteractiveShell.clear_instance()
    return _read(shown)


def _read(shown: list[tuple[dict[str, Any], dict[str, Any]]]) -> ExecutedPage:
    glued, glued_html, tables, said = {}, {}, [], []
    for data, metadata in shown:
        if "scrapbook" in metadata:
            name = metadata["scrapbook"]["name"]
            glued[name] = _value(data.get(f"{_GLUED}text/plain", ""))
            glued_html[name] = data.get(f"{_GLUED}text/html", "")
        elif "text/markdown" in data:
            said.append(data["text/markdown"])
        markup = data.get("text/html", "") + data.get(f"{_GLUED}text/html", "")
        tables += [_table(text) for text in re.findall(r"<table.*?</table>", markup, re.DOTALL)]
    return ExecutedPage(glued, glued_html, [(caption, rows) for caption, rows in tables if rows], "\n".join(said))


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(re.sub(r"^np\.\w+\((.*)\)$", r"\1", text))
    except (ValueError, SyntaxError):  # the text of a table or a picture
        return text


def _table(text: str) -> tuple[str, list[dict[str, str]]]:
    caption = "".join(re.findall(r"<caption>(.*?)</caption>", text, re.DOTALL))
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", text, re.DOTALL)]
    heads, *body = [[html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in rows]
    return html.unescape(caption), [dict(zip(heads, row, strict=False)) for row in body]

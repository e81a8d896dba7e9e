"""A table of results that can be sorted, filtered and downloaded as CSV in the page; without scripts it is a plain table."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence

import pandas as pd
from IPython.display import HTML

from .assets import script, style


def leaderboard(
    table: pd.DataFrame,
    filters: tuple[str, ...] = (),
    file_name: str = "results.csv",
    caption: str = "",
    links: Mapping[str, Sequence[str]] | None = None,
) -> HTML:
    """The table as text/html; `filters` are columns that get a choice of their values. Cells are shown as they stand in the frame.

    `links`: for each cell of some columns where it leads to, or nothing.
    """
    data = {"columns": list(table.columns), "rows": table.astype(str).to_numpy().tolist(), "filters": list(filters), "file": file_name}
    head = "".join(f"<th scope='col'>{html.escape(str(name))}</th>" for name in table.columns)
    columns = [(links or {}).get(name, [""] * len(table)) for name in table.columns]
    targets = zip(*columns, strict=True)
    body = "".join("<tr>" + "".join(map(_cell, *row)) + "</tr>" for row in zip(data["rows"], targets, strict=True))
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    name = html.escape(caption)
    return HTML(
        f'<div class="lungseg-board"><style>{style("leaderboard.css")}</style><div class="lb-controls"></div>'
        f'<div class="lb-scroll" tabindex="0" role="region" aria-label="{name}"><table><caption>{name}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f'<script type="application/json" class="lb-data">{text}</script><script type="module">{script("js/leaderboard.js")}</script></div>'
    )


def _cell(text: str, target: str) -> str:
    shown = html.escape(text)
    return f'<td><a href="{html.escape(target)}">{shown}</a></td>' if target else f"<td>{shown}</td>"

"""A table of results that can be sorted, filtered and downloaded as CSV in the page; without scripts it is a plain table."""

from __future__ import annotations

import html
import json
import re
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
    more: pd.DataFrame | None = None,
    bars: tuple[str, ...] = (),
    wide: bool = False,
) -> HTML:
    """The table as text/html; `filters` are columns that get a choice of their values. Cells are shown as they stand in the frame.

    Args:
        table: cells as text.
        filters: columns that get a choice of their values.
        file_name: of the downloaded table.
        caption: of the table.
        links: for each cell of some columns where it leads to, or nothing.
        more: further columns of the same rows, which only the file holds.
        bars: columns of values between 0 and 1 that get a bar behind them.
        wide: whether the page gives the table its whole width.
    """
    data = {"columns": list(table.columns), "rows": table.astype(str).to_numpy().tolist(), "filters": list(filters), "file": file_name}
    if more is not None:
        data |= {"moreColumns": list(more.columns), "more": more.astype(str).to_numpy().tolist()}
    head = "".join(f"<th scope='col'>{html.escape(str(name))}</th>" for name in table.columns)
    targets = zip(*[(links or {}).get(name, [""] * len(table)) for name in table.columns], strict=True)
    barred = [name in bars for name in table.columns]
    body = "".join("<tr>" + "".join(map(_cell, *row, barred)) + "</tr>" for row in zip(data["rows"], targets, strict=True))
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    name = html.escape(caption)
    return HTML(
        f'<div class="lungseg-board{" lb-wide" if wide else ""}"><style>{style("leaderboard.css")}</style><div class="lb-controls"></div>'
        f'<div class="lb-scroll" tabindex="0" role="region" aria-label="{name}"><table><caption>{name}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f'<script type="application/json" class="lb-data">{text}</script><script type="module">{script("js/leaderboard.js")}</script></div>'
    )


def _cell(text: str, target: str, bar: bool) -> str:
    shown, number = html.escape(text), re.match(r"[01](\.\d+)?", text)
    opening = f'<td class="lb-bar" style="--bar:{100 * float(number[0]):.0f}%">' if bar and number else "<td>"
    return f'{opening}<a href="{html.escape(target)}">{shown}</a></td>' if target else f"{opening}{shown}</td>"

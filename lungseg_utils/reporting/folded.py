"""Folded parts of a page: tables as one output that a page can glue, and texts."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from . import wording

if TYPE_CHECKING:
    from IPython.display import HTML, Markdown


def tables(parts: Mapping[str, pd.DataFrame], otherwise: str = "") -> HTML:
    """One table below the other, each with its caption; empty ones are left out. `otherwise`: what is said if none is left."""
    from IPython.display import HTML

    shown = [frame.style.hide(axis="index").set_caption(escape(caption)).to_html() for caption, frame in parts.items() if len(frame)]
    return HTML("\n".join(shown) or sentence(otherwise).data)


def sentence(text: str) -> HTML:
    """A sentence in the place of a table or a figure that an edition does not have."""
    from IPython.display import HTML

    return HTML(f"<p>{escape(text)}</p>")


def evidence(profile: str, shown: str) -> str:
    """Markdown: `wording.statement` of the profile that a page shows, which may be another one than the book's."""
    other = "" if shown == profile else f" They are stored runs of profile `{shown}`."
    return wording.statement(shown) + other


def dropdown(title: str, text: str) -> Markdown:
    """A folded part whose text an edition makes."""
    from IPython.display import Markdown

    return Markdown(f":::{{dropdown}} {title}\n{text}\n:::")

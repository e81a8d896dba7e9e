"""Colors, markers, fonts and CT windows of all figures, and the colors of all viewers."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from .labels import trivial_rules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRAY = "0.55"  # the color of trivial baselines, which no other method has
# Okabe and Ito's palette in an order that keeps neighbors apart for all common kinds of color vision:
# sky blue, orange, bluish green, reddish purple, yellow, vermilion, blue. `hues` of palette.js names them.
OKABE_ITO = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2")
# lowest and highest HU that are shown; viewers get colors and windows with their data
WINDOWS_HU = {"lung": (-1350.0, 150.0), "mediastinum": (-160.0, 240.0), "bone": (-500.0, 1300.0)}
COLUMN_PX = 816  # of a page's text, at most
_POINTS_PER_PX = 0.75  # 72 points and 96 pixels are an inch, of a page
_MARKERS = "os^Dv<>hp*PX"
_FIGURE = "matplotlib.figure.Figure"


def show(figure: Figure, alt: str) -> None:
    """Show a figure in a notebook, with a text for those who cannot see it: what is drawn, and what it shows.

    The output also says how large its smallest text is on a page of the book (`smallest_text_pt`).
    """
    from IPython.display import display

    display(figure, metadata={"image/png": {"alt": alt}, "smallest_text_pt": round(smallest_text_pt(figure), 1)})


def smallest_text_pt(figure: Figure) -> float:
    """Size in points of the smallest text of a figure, as a page of `COLUMN_PX` shows it: pictures are scaled down, never up."""
    from matplotlib.text import Text

    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    pixels = figure.get_figwidth() * figure.get_dpi()
    return min(sizes, default=math.inf) * figure.get_dpi() / 72 * min(1, COLUMN_PX / pixels) * _POINTS_PER_PX


def channels(color: str) -> tuple[int, int, int]:
    """Red, green and blue of "#rrggbb", 0 to 255."""
    return tuple(bytes.fromhex(color[1:]))


def plot_style() -> ModuleType:
    """Seaborn with the style of all figures, imported where a figure is drawn."""
    import seaborn as sns

    palette = [color for color in sns.color_palette("colorblind") if max(color) - min(color) > 0.1]  # without its gray
    sns.set_theme(style="whitegrid", context="notebook", palette=palette, rc={"figure.dpi": 110, "savefig.dpi": 110})
    _show_pictures()
    return sns


def _show_pictures() -> None:
    """Let a notebook show figures as pictures, where a library that was imported before has chosen a backend for files (nnunetv2 does)."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and _FIGURE not in shell.display_formatter.formatters["image/png"]:
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"}, bbox_inches="tight")


def method_looks(name: str, number: int) -> dict[str, object]:
    """Color and marker of the method with this number in a figure, as arguments of `plot`; a trivial baseline is gray."""
    import seaborn as sns

    palette = sns.color_palette()
    color = GRAY if name in trivial_rules() else palette[number % len(palette)]
    return {"color": color, "marker": _MARKERS[number % len(_MARKERS)]}


def looks_of(names: Iterable[str]) -> dict[str, dict[str, object]]:
    """`method_looks` of all methods of a figure; trivial baselines are numbered from the end and use no color of the others."""
    trivial, others = [], []
    for name in dict.fromkeys(names):
        (trivial if name in trivial_rules() else others).append(name)
    numbers = {name: number for number, name in enumerate(others)} | {name: -1 - number for number, name in enumerate(trivial)}
    return {name: method_looks(name, number) for name, number in numbers.items()}

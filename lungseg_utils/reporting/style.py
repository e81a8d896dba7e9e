"""Colors, markers and fonts of all figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .labels import TRIVIAL

GREY = "0.55"  # the colour of trivial answers, which no other method has
_MARKERS = "os^Dv<>hp*PX"


def plot_style() -> Any:
    """Seaborn with the style of all figures, imported where a figure is drawn."""
    import seaborn as sns

    palette = [color for color in sns.color_palette("colorblind") if max(color) - min(color) > 0.1]  # without its grey
    sns.set_theme(style="whitegrid", context="notebook", palette=palette, rc={"figure.dpi": 110, "savefig.dpi": 110})
    return sns


def method_looks(name: str, number: int) -> dict[str, Any]:
    """Color and marker of the method with this number in a figure, as arguments of `plot`; a trivial baseline is gray."""
    import seaborn as sns

    palette = sns.color_palette()
    color = GREY if name.startswith(TRIVIAL) else palette[number % len(palette)]
    return {"color": color, "marker": _MARKERS[number % len(_MARKERS)]}


def looks_of(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`method_looks` of all methods of a figure; trivial baselines are numbered from the end and use no color of the others."""
    trivial, others = [], []
    for name in dict.fromkeys(names):
        (trivial if name.startswith(TRIVIAL) else others).append(name)
    numbers = {name: number for number, name in enumerate(others)} | {name: -1 - number for number, name in enumerate(trivial)}
    return {name: method_looks(name, number) for name, number in numbers.items()}

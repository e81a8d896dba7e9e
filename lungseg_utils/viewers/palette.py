"""Colors of masks and prompts in all viewers. The scripts get them with their data, as `palette`."""

from __future__ import annotations

# Okabe and Ito's palette in an order that keeps neighbors apart for all common kinds of color vision:
# sky blue, orange, bluish green, reddish purple, yellow, vermilion, blue. `hues` of palette.js names them.
OKABE_ITO = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2")


def channels(color: str) -> tuple[int, int, int]:
    """Red, green and blue of "#rrggbb", 0 to 255."""
    return tuple(bytes.fromhex(color[1:]))

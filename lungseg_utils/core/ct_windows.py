"""The two CT windows that published models are asked in, and their names. Loads without torch."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import ModelCard, Options

# Ma et al. 2024, doi:10.1038/s41467-024-44824-z, section Methods: width 400 and level 40 for soft tissue, 1500 and -160 for lung.
SOFT_TISSUE_HU = (-160.0, 240.0)
LUNG_HU = (-910.0, 590.0)


def in_words(window_hu: Sequence[float]) -> str:
    """Width and level of a window (low, high) in HU, as radiologists name it: "W400 L40"."""
    low, high = window_hu
    return f"W{high - low:g} L{(low + high) / 2:g}"


def titled(title: str, options: Options) -> str:
    """A title with the window of a model's options: "MedSAM (ViT-B), W400 L40"."""
    return f"{title}, {in_words(options['window_hu'])}"


def title(card: ModelCard, options: Options) -> str:
    """What a model is called beside a number: the title of its card, and the window."""
    return titled(card.title, options)

"""A wall of small CT slices with outlines of reference and prediction, each of which leads to its case."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from IPython.display import HTML
from PIL import Image as Picture
from scipy.ndimage import binary_erosion

from ..reporting.failures import KINDS, Example
from ..reporting.labels import label_of
from ..reporting.style import OKABE_ITO, WINDOWS_HU, channels
from .assets import style
from .case_explorer import address
from .slice_viewer import WITHHELD

_PIXELS, _LEAST_MM, _MARGIN = 320, 50.0, 1.7  # of a picture: size, least side, and side over the extent of both masks
_LINE = 3  # pixels of an outline
_QUALITY = 82


def wall(examples: Sequence[Example], public: bool = False) -> HTML:
    """The examples as text/html, with a legend. With `public`, a case that may not be redistributed leaves no voxel in the output."""
    colors = zip(("reference", "prediction"), OKABE_ITO, strict=False)
    legend = "".join(f'<i style="border-color: {color}"></i>{name}' for name, color in colors)
    head = f"Outlines: {legend}"
    if all(_is_withheld(example, public) for example in examples):
        head = f"{WITHHELD} Each case leads to its values."
    tiles = "".join(_tile(example, public) for example in examples)
    return HTML(f'<style>{style("failure_wall.css")}</style><p class="fw-legend">{head}</p><div class="failure-wall">{tiles}</div>')


def _is_withheld(example: Example, public: bool) -> bool:
    return public and not example.redistributable


def _tile(example: Example, public: bool) -> str:
    place = "../" + address(example.dataset, example.case_id, example.experiment, example.setting)
    text = f"{example.title}, {label_of(example.setting)}"
    return (
        f'<a href="{html.escape(place)}">{_picture(example, public)}<strong>{html.escape(example.kind)}</strong>'
        f"<span>Dice {example.dsc:.2f} · {html.escape(example.case_id)}</span><span>{html.escape(text)}</span></a>"
    )


def _picture(example: Example, public: bool) -> str:
    if _is_withheld(example, public):
        return ""
    source = base64.b64encode(_jpeg(example)).decode("ascii")
    alt = f"CT slice of {example.case_id} with the outlines of reference and prediction: {KINDS[example.kind]}."
    return f'<img class="fw-picture dark-light" loading="lazy" alt="{html.escape(alt)}" src="data:image/jpeg;base64,{source}">'


def _jpeg(example: Example) -> bytes:
    """The neighborhood of both masks in the lung window, square, with outlines."""
    low, high = WINDOWS_HU["lung"]
    gray = (np.clip((example.image - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    box = _square(example)
    size = (_PIXELS, _PIXELS)
    pixels = np.asarray(Picture.fromarray(gray).resize(size, Picture.Resampling.BICUBIC, box)).copy()
    colors = np.repeat(pixels[..., None], 3, axis=-1)
    for mask, color in zip((example.reference, example.prediction), OKABE_ITO, strict=False):
        share = Picture.fromarray(mask.astype(np.float32)).resize(size, Picture.Resampling.BILINEAR, box)
        inside = np.asarray(share) >= 0.5
        colors[inside & ~binary_erosion(inside, iterations=_LINE, border_value=1)] = channels(color)
    stream = io.BytesIO()
    Picture.fromarray(colors).save(stream, format="JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()


def _square(example: Example) -> tuple[float, float, float, float]:
    """Left, top, right and bottom (pixels) of the part that is shown: a square in mm around the masks, moved inside the slice."""
    shown = example.reference | example.prediction if (example.reference & example.prediction).any() else example.reference
    shown = shown if shown.any() else example.prediction
    spacing, shape = np.asarray(example.spacing_mm), np.asarray(example.image.shape)
    places = np.argwhere(shown)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    side = min(max(_LEAST_MM, _MARGIN * ((high - low) * spacing).max()), (shape * spacing).min())
    half = side / spacing / 2
    centre = np.clip((low + high) / 2, half, shape - half)
    (top, left), (bottom, right) = centre - half, centre + half
    return float(max(left, 0)), float(max(top, 0)), float(min(right, shape[1])), float(min(bottom, shape[0]))

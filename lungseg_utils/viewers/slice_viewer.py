"""The slice viewer: CT cases with masks as one self-contained piece of HTML.

The same output works in a built book without kernel or network (also from a file), in JupyterLab and in voila. Voxels
travel as base64 of gzip inside the output; `js/slice_viewer.js` unpacks and draws them.
"""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from IPython.display import HTML
from PIL import Image as Picture
from scipy.ndimage import binary_erosion

from .. import geometry
from ..data.grids import HU_RANGE
from ..prompts import boxes
from ..reporting.style import OKABE_ITO, WINDOWS_HU, channels
from ..types import Image, InputError, Mask, Record, Row
from .assets import script, style

HU_STEP = 4  # a quarter of the noise of a chest CT: not visible in any window, and a third off the size
LOWEST_HU, HIGHEST_HU = map(int, HU_RANGE)
WITHHELD = "The license of this data set does not allow its images to be redistributed, so none is shown here."
# Ways to make a viewer lighter, mildest first: share of the margin that is kept, and pixels averaged in the plane.
_PLANS = ((1.0, 1), (0.7, 1), (0.4, 1), (0.2, 1), (0.4, 2), (0.2, 2), (0.2, 3), (0.2, 4), (0.2, 6), (0.2, 8))
_HALF = 0.5 - 1e-5  # of a pixel's voxels, whatever the last bit of their sum
_WHOLE_SLICE_FACTOR = 2  # without any mask there is nothing to crop to
# What would be too heavy even with so few bytes a voxel is not packed to find out; a plan weighs at least this share of what the one
# before it weighed per voxel.
_LEAST_BYTES_A_VOXEL, _ALIKE = 0.2, 0.8


@dataclass(frozen=True, eq=False)
class ViewerCase:
    """One case to look at. `facts` are short texts by name, e.g. {"DSC": "0.81"}.

    `redistributable` is False where the license of the data forbids to pass voxels on. `around`: what is kept is the neighborhood of
    this mask and not that of all masks.
    """

    title: str
    image: Image
    masks: Mapping[str, Mask]
    facts: Mapping[str, str] = field(default_factory=dict)
    redistributable: bool = True
    around: Mask | None = None

    def __post_init__(self) -> None:
        for name, mask in self.masks.items():
            if not geometry.same_grid(self.image, mask):
                raise InputError(f"{self.title}, {name}", "the mask is not on the grid of its image", "Resample it to the image first.")


def slice_viewer(cases: Sequence[ViewerCase], public: bool = False, margin_mm: float = 25.0, max_mb: float = 1.5) -> HTML:
    """Viewer of one or several cases, as text/html.

    Shown is the neighborhood of the masks, `margin_mm` wide; whole slices at half resolution where all masks are empty.
    The margin shrinks, and then the resolution, until the output weighs less than `max_mb` gzipped.
    With `public`, a case that may not be redistributed is described in words and leaves no voxel in the output.
    """
    if not cases:
        raise InputError("slice_viewer", "there is no case to show", "Give at least one ViewerCase.")
    for share, factor in _PLANS:
        text = _document([embed(case, public, margin_mm * share, factor) for case in cases])
        if len(gzip.compress(text.encode(), 6)) <= max_mb * 1e6:
            return HTML(text)
    raise InputError("slice_viewer", f"{len(cases)} cases do not fit into {max_mb} MB", "Show fewer cases, or raise max_mb.")


def embed_within(case: ViewerCase, public: bool, margin_mm: float, max_mb: float) -> dict[str, object]:
    """`embed` with the margin, and then the resolution, brought down until the case as JSON weighs less than `max_mb` gzipped."""
    case = replace(case, around=Mask(_shown(case), case.image.affine))  # found once, for all plans
    bytes_a_voxel = _LEAST_BYTES_A_VOXEL
    for share, factor in _PLANS:
        low, high, averaged = _region(case, margin_mm * share, factor)
        voxels = np.prod(high - low) / averaged**2
        if voxels * bytes_a_voxel > max_mb * 1e6:
            continue
        ct_alone = _gzipped(embed(replace(case, masks={}), public, margin_mm * share, factor))  # masks may be hundreds
        bytes_a_voxel = max(bytes_a_voxel, _ALIKE * ct_alone / voxels)
        if ct_alone <= max_mb * 1e6:
            stored = embed(case, public, margin_mm * share, factor)
            if _gzipped(stored) <= max_mb * 1e6:
                return stored
    raise InputError(case.title, f"it does not fit into {max_mb} MB", "Raise max_mb.")


def _gzipped(stored: Row) -> int:
    """Bytes of a case as JSON, as a server sends it."""
    return len(gzip.compress(json.dumps(stored, separators=(",", ":")).encode(), 6))


def _document(cases: list[Record]) -> str:
    """The whole output: style, a still picture for readers without scripts, data and program."""
    parts = [f"<style>{style('slice_viewer.css')}</style>"]
    shown = [case for case in cases if "ct" in case]
    if not shown:
        return f'<div class="lungseg-viewer">{parts[0]}{"".join(_described(case) for case in cases)}</div>'
    still = shown[0].pop("still")
    for case in shown[1:]:
        case.pop("still")
    data = json.dumps({"cases": cases, "palette": OKABE_ITO, "windows": WINDOWS_HU}, separators=(",", ":")).replace("<", "\\u003c")
    parts += [
        f'<figure class="lv-fallback">{still}<figcaption>{html.escape(shown[0]["title"])}. '
        "One still slice; the interactive view needs JavaScript.</figcaption></figure>",
        f'<script type="application/json" class="lv-data">{data}</script>',
        f'<script type="module">{script("js/slice_viewer.js")}</script>',
    ]
    return f'<div class="lungseg-viewer">{"".join(parts)}</div>'


def _described(case: Record) -> str:
    facts = "; ".join(f"{html.escape(name)}: {html.escape(value)}" for name, value in case["facts"].items())
    return (
        f'<p class="lv-withheld"><strong>{html.escape(case["title"])}</strong>{". " if facts else ""}{facts}. '
        f"{html.escape(case['withheld'])}</p>"
    )


def embed(case: ViewerCase, public: bool, margin_mm: float, factor: int) -> dict[str, object]:
    """What the browser gets of one case; nothing that could name a person, since only `title` and `facts` are text.

    Stored is the neighborhood of the masks, `margin_mm` wide, with `factor` x `factor` pixels averaged; only words if `public` forbids it.
    """
    text = {"title": case.title, "facts": {name: str(value) for name, value in case.facts.items()}}
    if public and not case.redistributable:
        return text | {"withheld": WITHHELD}
    low, high, factor = _region(case, margin_mm, factor)
    first = [float(high[0] - (factor + 1) / 2), float(high[1] - (factor + 1) / 2), int(low[2])]
    image, masks = _prepared(case, low, high, factor)
    if factor > 1:  # means often lie half way between two levels, where the last bit of a sum, which differs from run to run, would decide
        image = image.round(2)
    levels = np.round((image - LOWEST_HU) / HU_STEP).astype(np.uint16)
    slices, rows, columns = levels.shape
    note = f"CT values rounded to {HU_STEP} HU" + (f", {factor} × {factor} pixels averaged" if factor > 1 else "")
    note += ". Wheel, arrow keys, or a sideways swipe turn the slices."
    start = _start_slice(case.masks.values(), tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)))
    return text | {
        "shape": [slices, rows, columns],
        "total": case.image.shape[2],
        "size": list(case.image.shape),
        "spacing": [case.image.spacing_mm[0] * factor, case.image.spacing_mm[1] * factor],
        # Columns run towards lower i and rows towards lower j (radiological view); the first pixel is the mean of `factor` voxels.
        "voxel": [[first[0], -factor], [first[1], -factor], [first[2], 1]],
        "affine": np.asarray(case.image.affine)[:3].round(6).tolist(),
        "z": [round(float(v), 3) for v in _heights(case.image, low[2])],
        "lowest": LOWEST_HU,
        "step": HU_STEP,
        "count": (HIGHEST_HU - LOWEST_HU) // HU_STEP + 2,
        "ct": packed(_residuals(levels)),
        "masks": [{"name": name, "bits": packed(np.packbits(mask))} for name, mask in masks.items()],
        "start": start,
        "note": note,
        "still": _still(image[start], [mask[start] for mask in masks.values()], case.image.spacing_mm),
    }


def _region(case: ViewerCase, margin_mm: float, factor: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Half-open voxel box to embed, its sides in the plane a multiple of the factor, and the factor itself."""
    shape, union = np.asarray(case.image.shape), _shown(case)
    low, high = np.zeros(3, dtype=int), shape.copy()
    if union.any():
        margin = np.ceil(margin_mm / np.asarray(case.image.spacing_mm)).astype(int)
        for axis in range(3):
            used = np.flatnonzero(union.any(axis=tuple({0, 1, 2} - {axis})))
            low[axis], high[axis] = used[0], used[-1] + 1
        low, high = np.maximum(low - margin, 0), np.minimum(high + margin, shape)
    else:
        factor *= _WHOLE_SLICE_FACTOR
    if (high - low)[:2].min() < factor:
        factor = 1
    low[:2] += (high - low)[:2] % factor
    return low, high, factor


def _shown(case: ViewerCase) -> np.ndarray:
    """Where there is something to see, bool (x, y, z)."""
    if case.around is not None:
        return case.around.array
    union = np.zeros(case.image.shape, dtype=bool)
    for mask in case.masks.values():
        union |= mask.array
    return union


def _prepared(case: ViewerCase, low: np.ndarray, high: np.ndarray, factor: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """HU and masks as (slices, rows, columns), seen the radiological way, averaged in the plane."""

    def cut(volume: Image | Mask) -> np.ndarray:
        part = geometry.crop(volume, tuple(low), tuple(high)).array
        return geometry.unstack_axial(part if factor == 1 else geometry.average_plane(part, factor))

    image = np.clip(cut(case.image), *HU_RANGE)
    return image, {name: cut(mask) >= _HALF for name, mask in case.masks.items()}


def _heights(image: Image, first_slice: int) -> tuple[float, float]:
    """World height in mm of the first embedded slice, and the step to the next."""
    ends = geometry.ijk_to_world(np.array([[0, 0, first_slice], [0, 0, first_slice + 1]]), image.affine)[:, 2]
    return ends[0], ends[1] - ends[0]


def _start_slice(masks: Iterable[Mask], region: tuple[slice, ...]) -> int:
    """The slice of a region where the first mask, the reference, is largest; if it is empty the next one; the middle if all are."""
    parts = (mask.array[region] for mask in masks)
    return next((boxes.largest_slice(part) for part in parts if part.any()), (region[2].stop - region[2].start) // 2)


def _residuals(levels: np.ndarray) -> bytes:
    """Levels as zigzag-coded differences along each row, low bytes before high bytes: a quarter smaller after gzip."""
    steps = np.diff(levels.astype(np.int32), axis=-1, prepend=0)
    codes = ((steps << 1) ^ (steps >> 31)).astype(np.uint16)
    return (codes & 255).astype(np.uint8).tobytes() + (codes >> 8).astype(np.uint8).tobytes()


def packed(data: bytes | np.ndarray) -> str:
    """Bytes as the scripts unpack them: gzipped, in base64, without a time stamp."""
    return base64.b64encode(gzip.compress(bytes(data), 6, mtime=0)).decode("ascii")


def _still(hu: np.ndarray, masks: list[np.ndarray], spacing_mm: Sequence[float]) -> str:
    """The start slice in the lung window with colored outlines, as an <img>."""
    low, high = WINDOWS_HU["lung"]
    gray = (np.clip((hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    colors = np.repeat(gray[..., None], 3, axis=-1)
    for mask, color in zip(masks, OKABE_ITO, strict=False):
        colors[mask & ~binary_erosion(mask)] = channels(color)
    stream = io.BytesIO()
    Picture.fromarray(colors).save(stream, format="PNG", optimize=True)
    rows, columns = hu.shape
    ratio = f"{columns * spacing_mm[0]:.1f} / {rows * spacing_mm[1]:.1f}"
    source = base64.b64encode(stream.getvalue()).decode("ascii")
    return f'<img class="dark-light" style="aspect-ratio: {ratio}" alt="Axial CT slice with outlines" src="data:image/png;base64,{source}">'

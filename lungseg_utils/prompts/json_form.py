"""Prompts as JSON, for pages and recorded sessions. All indices are voxels of the original image.

One prompt: {"lesion_id", "find_ends", "actions", "box_3d": null or [[i, j, k], [i, j, k]] (half-open), "slices": [{"index": k,
"box": null or [i_min, i_max, j_min, j_max] (half-open), "points": [{"i", "j", "inside"}, ...]}, ...]}.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..types import Box, InputError, Points, Prompt, Record, Row, SlicePrompt


def to_json(prompt: Prompt) -> Record:
    """A prompt as numbers, lists and dictionaries."""
    return {
        "lesion_id": int(prompt.lesion_id),
        "find_ends": bool(prompt.find_ends),
        "actions": int(prompt.actions),
        "box_3d": None if prompt.box_3d is None else [list(map(int, corner)) for corner in (prompt.box_3d.ijk_min, prompt.box_3d.ijk_max)],
        "slices": [_slice_prompt_to_json(slice_prompt) for slice_prompt in prompt.slices],
    }


def _slice_prompt_to_json(slice_prompt: SlicePrompt) -> Record:
    box, points = slice_prompt.box, slice_prompt.points
    sides = None if box is None else [int(v) for axis in (0, 1) for v in (box.ijk_min[axis], box.ijk_max[axis])]
    clicks = [] if points is None else zip(points.ijk, points.labels, strict=True)
    return {
        "index": int(slice_prompt.index),
        "box": sides,
        "points": [{"i": int(ijk[0]), "j": int(ijk[1]), "inside": bool(label)} for ijk, label in clicks],
    }


def from_json(record: Row, where: str = "prompt") -> Prompt:
    """Undo `to_json`; InputError, with `where` as the place, if something is missing or not as described above."""
    try:
        box_3d = None if record["box_3d"] is None else Box(*map(_corner, record["box_3d"]))
        slice_prompts = tuple(_slice_prompt_from_json(slice_prompt) for slice_prompt in record["slices"])
        return Prompt(int(record["lesion_id"]), slice_prompts, box_3d, bool(record["find_ends"]), int(record["actions"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            where, f"not a recorded prompt ({type(error).__name__}: {error})", "See lungseg_utils/prompts/json_form.py."
        ) from error


def _corner(values: Sequence[int]) -> tuple[int, int, int]:
    i, j, k = map(int, values)
    return i, j, k


def _slice_prompt_from_json(record: Row) -> SlicePrompt:
    index, box, points = int(record["index"]), None, None
    if record["box"] is not None:
        i_min, i_max, j_min, j_max = map(int, record["box"])
        box = Box((i_min, j_min, index), (i_max, j_max, index + 1))
    if record["points"]:
        places = tuple((int(p["i"]), int(p["j"]), index) for p in record["points"])
        points = Points(places, tuple(int(bool(p["inside"])) for p in record["points"]))
    return SlicePrompt(index, box=box, points=points)

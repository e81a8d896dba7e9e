"""Names of the rungs, from most help to none; what cards of models choose from. Loads nothing."""

from __future__ import annotations

CLICKS = ("clicks_5", "clicks_4", "clicks_3", "clicks_2", "click", "click_random")
BOXES = ("box_every_slice", "box_alternate_slices", "box_3d", "box_one_slice", "recist_line", "detector_box")
PROMPTED = (
    "box_every_slice", "box_alternate_slices", "box_3d", "box_one_slice", "recist_line", "recist_points", *CLICKS, "detector_box",
)  # fmt: skip
ALL = (*PROMPTED, "none")

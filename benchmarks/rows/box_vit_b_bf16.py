"""`box_vit_b` with the option `precision: bf16`; the agreement shows its effect on the masks."""

from __future__ import annotations

from ..row import Row, Setting, Work
from .box_vit_b import AGAINST, compare_boxes

ROW = Row(
    work="ViT-B at 1024, one box a slice of a real CT, precision bf16 (one slice; all with --full)",
    against=f"{AGAINST}, fp32",
    goal=2.0,
    pairs=3,
    warm=False,
)


def prepare(setting: Setting) -> Work:
    """A choice of the experiment, never the default."""
    return compare_boxes({"precision": "bf16"}, setting)

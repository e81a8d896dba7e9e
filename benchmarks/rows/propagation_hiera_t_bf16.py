"""`propagation_hiera_t` with the option `precision: bf16`; the agreement shows its effect on the masks."""

from __future__ import annotations

from ..row import Row, Setting, Work
from .ladder_vit_b import real_lesion
from .propagation_hiera_t import AGAINST, compare_following

ROW = Row(
    work="Hiera-T at 512, a lesion followed from one box through a real CT of 16 slices, precision bf16",
    against=AGAINST,
    goal=2.0,
    pairs=3,
    warm=False,
)


def prepare(setting: Setting) -> Work:
    """A choice of the experiment, never the default."""
    return compare_following({"precision": "bf16"}, *real_lesion())

"""Make torchvision importable with a CPU build of torch.

The wheels of torchvision on PyPI are linked against CUDA. With a CPU build of torch their compiled library cannot be loaded, and
`import torchvision` fails: "operator torchvision::nms does not exist". So do segment_anything, timm (hence nnunetv2) and peft, which
import it. Of all compiled operators the import needs only non-maximum suppression, which is given here in plain torch.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

_OPERATORS = ("nms", "qnms")  # those that torchvision registers without asking whether its library is there
_library: torch.library.Library | None = None  # referenced as long as the process lives: torch forgets the operators of a dead one


def ensure_torchvision() -> str:
    """Call before anything imports torchvision; further calls do nothing. Says how torchvision works now.

    "native": its own library is loaded. "shimmed": it works on the CPU, with the suppression below. "absent": not installed.
    """
    global _library
    if _library is not None:
        return "shimmed"
    if "torchvision" in sys.modules:
        return "native"
    specification = importlib.util.find_spec("torchvision")
    if specification is None or specification.origin is None:
        return "absent"
    if _loads_native(Path(specification.origin).parent):
        return "native"
    _library = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.impl("nms", nms, "CPU")
    _drop_assertion()
    return "shimmed"


def _loads_native(package: Path) -> bool:
    library = next(iter(sorted(package.glob("_C.*"))), None)
    if library is None:
        return False
    try:
        torch.ops.load_library(str(library))
    except OSError:  # linked against CUDA libraries that a CPU build of torch does not have
        return False
    return True


def _drop_assertion() -> None:
    """torchvision asks for its library before each call of an operator; the one that is given here needs none."""
    import torchvision.ops.boxes

    torchvision.ops.boxes._assert_has_ops = lambda: None


def nms(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Indices of the boxes that stay, by falling score: boxes (n, 4) as x1, y1, x2, y2, scores (n,).

    A box goes if its overlap (IoU) with a better one that stays is above the threshold. Of equal scores the first is the better.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    boxes = dets[order].double()
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    stays = torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if not stays[i]:
            continue
        low, high = torch.maximum(boxes[i, :2], boxes[i + 1 :, :2]), torch.minimum(boxes[i, 2:], boxes[i + 1 :, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        # not divided: two boxes without area have no overlap, and a quotient would be NaN
        stays[i + 1 :] &= shared <= iou_threshold * (areas[i] + areas[i + 1 :] - shared)
    return order[stays]

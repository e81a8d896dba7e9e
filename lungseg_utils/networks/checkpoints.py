"""Load published weights: read them without running code from them, fit them key by key, refuse them unless every key fits.

Layouts: a plain state dictionary (segment-anything, MedSAM, Medical SAM 2), one below the key "model" (SAM 2, MedSAM2), or one below
"weights" (what this project writes). Half-precision tensors (Medical SAM 2's file) become float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..types import InputError
from . import training

_WRAPPERS = ("weights", "model")
_SHOWN = 4


def load_checkpoint(network: torch.nn.Module, path: Path) -> None:
    """Load `path` into `network`, all keys and shapes or nothing.

    InputError lists the missing and the unexpected keys and those of another shape: a partial load is a network that nobody trained.
    """
    found = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in _state_dict(path).items()}
    expected = network.state_dict()
    faults = {
        "missing": [k for k in expected if k not in found],
        "unexpected": [k for k in found if k not in expected],
        "of another shape": [k for k in expected if k in found and expected[k].shape != found[k].shape],
    }
    if any(faults.values()):
        text = "; ".join(f"{len(keys)} keys {what} ({', '.join(keys[:_SHOWN])})" for what, keys in faults.items() if keys)
        raise InputError(
            path, f"not the weights of this architecture: {text}", "Choose the checkpoint that belongs to the model's options."
        )
    not_finite = next((k for k, v in found.items() if v.is_floating_point() and not torch.isfinite(v).all()), None)
    if not_finite:
        raise InputError(path, f"{not_finite} holds NaN or infinite values", "Fetch the file again.")
    network.load_state_dict(found)


def _state_dict(path: Path) -> Mapping[str, torch.Tensor]:
    content: Any = training.load_weights_file(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    tensors = isinstance(content, Mapping) and len(content) and all(isinstance(v, torch.Tensor) for v in content.values())
    if not tensors:
        raise InputError(path, "holds no state dictionary", "Give the file as its authors published it.")
    return content

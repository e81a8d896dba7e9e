"""Load published weights, and those of others: read them without running code from them, refuse them unless every key fits.

Layouts: a plain state dictionary (segment-anything, MedSAM, Medical SAM 2), or one below a key beside what a training has saved with it
(`_WRAPPERS`); with the prefixes that wrappers of modules leave (`_PREFIXES`); pickled, or as safetensors. Half-precision tensors (Medical
SAM 2's file) become float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..types import InputError
from . import training

# what this project writes; SAM 2, MedSAM2 and MedSAM's fine-tuning; Lightning and many others
_WRAPPERS = ("weights", "model", "state_dict", "model_state_dict")
# several GPUs, torch.compile, attributes of a module around the network
_PREFIXES = ("module.", "_orig_mod.", "model.", "sam.", "sam_model.", "medsam_model.")
_SHOWN = 4


def load_checkpoint(network: torch.nn.Module, path: Path) -> None:
    """Load `path` into `network`, all keys and shapes or nothing.

    InputError lists the missing and the unexpected keys and those of another shape: a partial load is a network that nobody trained.
    """
    found = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in read_state(path).items()}
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


def read_state(path: Path) -> Mapping[str, torch.Tensor]:
    """The state dictionary in a file of any of the layouts, without the prefixes of wrappers. InputError if there is none."""
    content: Any = _content(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    tensors = isinstance(content, Mapping) and len(content) and all(isinstance(v, torch.Tensor) for v in content.values())
    if not tensors:
        raise InputError(path, "holds no state dictionary", "Give the file as its authors published it.")
    while prefix := next((prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in content)), ""):
        content = {name.removeprefix(prefix): tensor for name, tensor in content.items()}
    return content


def _content(path: Path) -> object:
    if path.suffix != ".safetensors":
        return training.load_weights_file(path, "Save its state dictionary alone: torch.save(model.state_dict(), FILE).")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(path, f"not a readable file of safetensors ({error})", "Fetch or save it again.") from error

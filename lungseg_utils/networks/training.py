"""One seeded training loop for every network that the project trains itself: budget in steps, exact resume, best checkpoint.

The randomness of step s is drawn from (seed, s) alone, so an interrupted run continues to the same weights.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ..core import distributed, files
from ..core.measure import cores
from ..core.progress import report_progress
from ..types import InputError, Record, TrainingDiverged
from .losses import tell_progress

BY_DEVICE = "by_device"
PRECISIONS = (BY_DEVICE, "fp32", "bf16")
_ONLY_WEIGHTS = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch's own switch: packages load pickles that could run code
_MOST_DRAWERS = 8
Tensors = torch.Tensor | tuple[torch.Tensor, ...]
Sampler = Callable[[np.random.Generator], tuple[Tensors, Tensors]]  # draws a batch: inputs and targets


@dataclass(frozen=True)
class Schedule:
    """Budget and optimizer of one training: everything that decides the result, and nothing that does not."""

    steps: int
    learning_rate: float
    seed: int
    weight_decay: float = 1e-4
    warmup_steps: int = 50
    validate_every: int = 200  # steps; 0: never, and the last weights are kept
    checkpoint_every: int = 100
    gradient_clip: float = 1.0


def choose_device(device: str = "auto") -> torch.device:
    """ "auto" is CUDA where there is a GPU, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def autocast(device: torch.device, precision: str = BY_DEVICE) -> torch.autocast:
    """Products in a precision: "fp32", "bf16", or by device: bfloat16 on a GPU, full precision on a CPU.

    On a CPU bf16 changes results and gains little at the sizes that are trained here, so it is an option of large networks only.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision}", "not known", f"Choose one of {', '.join(PRECISIONS)}.")
    enabled = precision == "bf16" or (precision == BY_DEVICE and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def learning_rate_at(step: int, plan: Schedule) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step."""
    if step < plan.warmup_steps:
        return plan.learning_rate * (step + 1) / plan.warmup_steps
    progress = (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps)
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def train(
    network: torch.nn.Module,
    sample_batch: Sampler,
    loss: Callable[..., torch.Tensor],
    plan: Schedule,
    folder: Path,
    validate: Callable[[], float] | None = None,
    identity: str = "",
    progress: bool = True,
    drawers: int | None = None,
) -> pd.DataFrame:
    """Train `network` in place and leave it with the best weights (by `validate`, higher is better) or, without, the last.

    `sample_batch(rng)` gives (inputs, targets) by this `rng` alone, each a tensor or a tuple of tensors; a tuple of inputs becomes the
    arguments of `network`. Frozen parameters stay as they are. A loss that changes on the way (`set_progress`) is told the share of
    the budget that is used. The state is saved in `folder/last.pt`; if one is there from the same plan and `identity` (a hash of data
    and options), training goes on from it. Several `processes` share the batches of a plan, with the same results; the first one
    writes. `drawers`: how many processes draw batches ahead, with the same results; by default none beside a network on a CPU, which
    needs the cores itself, and up to eight beside a GPU, which would wait for its batches. Returns the history (step, quantity, value).
    """
    device = next(network.parameters()).device
    if drawers is None:
        drawers = 0 if device.type == "cpu" else min(_MOST_DRAWERS, cores())
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True)
    signature = {"plan": asdict(plan), "identity": identity}
    state = _resume(folder / "last.pt", signature, network, optimizer)
    connected = distributed.connect(network)
    batches = _batches(sample_batch, plan.seed, range(state["step"], plan.steps), drawers)
    bar = tqdm(total=plan.steps, initial=state["step"], desc="training", unit="step", disable=not progress)
    connected.train()
    for step in range(state["step"], plan.steps):
        report_progress("training", step, plan.steps)
        torch.manual_seed(step_seed(plan.seed, step))
        inputs, targets = next(batches)
        tell_progress(loss, step / plan.steps)
        inputs, targets = _on(distributed.part(inputs), device), _on(targets, device)
        value = _step(connected, optimizer, loss, inputs, targets, learning_rate_at(step, plan), plan.gradient_clip)
        state["history"].append({"step": step + 1, "quantity": "training loss", "value": value})
        if not math.isfinite(value):
            history = pd.DataFrame(state["history"], columns=["step", "quantity", "value"])
            raise TrainingDiverged(f"the loss is {value} at step {step + 1}; the last good state is kept", history)
        state["step"] = step + 1
        bar.update()
        if validate and plan.validate_every and (state["step"] % plan.validate_every == 0 or state["step"] == plan.steps):
            _keep_best(state, network, validate())
            connected.train()
            bar.set_postfix(best=f"{state['best_score']:.3f}")
        if distributed.index() == 0 and (state["step"] % plan.checkpoint_every == 0 or state["step"] == plan.steps):
            _save(
                folder / "last.pt", state | {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "signature": signature}
            )
    bar.close()
    if state["best_weights"] is not None:
        network.load_state_dict(state["best_weights"])
    return pd.DataFrame(state["history"], columns=["step", "quantity", "value"])


def _batches(sample_batch: Sampler, seed: int, steps: range, drawers: int) -> Iterator[tuple[Tensors, Tensors]]:
    """The batches of these steps; each is drawn from (seed, step) alone, so that it is the same whoever draws it."""

    class Drawn(torch.utils.data.Dataset):
        def __getitem__(self, step: int) -> tuple[Tensors, Tensors]:
            return sample_batch(np.random.default_rng([seed, step]))

    # forked: what batches are drawn from (patients, gigabytes) is shared, not copied
    how = {"num_workers": drawers, "multiprocessing_context": "fork"} if drawers else {}
    return iter(torch.utils.data.DataLoader(Drawn(), batch_size=None, sampler=steps, collate_fn=lambda batch: batch, **how))


def step_seed(seed: int, step: int) -> int:
    """Seed of torch's generator for one step."""
    # a last 0 changes nothing; other processes drop other units of their parts
    return int(np.random.SeedSequence([seed, step, distributed.index()]).generate_state(1)[0])


def _on(tensors: Tensors, device: torch.device) -> Tensors:
    return tuple(t.to(device) for t in tensors) if isinstance(tensors, tuple) else tensors.to(device)


def _step(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[..., torch.Tensor],
    inputs: Tensors,
    targets: Tensors,
    learning_rate: float,
    gradient_clip: float,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    with autocast(arguments[0].device):
        value = loss(distributed.whole(network(*arguments)), targets)
    if torch.isfinite(value):
        value.backward(torch.full_like(value, distributed.size()))  # each process has its own part's gradients only, and they are averaged
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], gradient_clip)
        optimizer.step()
    return float(value.detach())


def _keep_best(state: Record, network: torch.nn.Module, score: float) -> None:
    state["history"].append({"step": state["step"], "quantity": "validation DSC", "value": score})
    if score > state["best_score"]:
        state["best_score"] = score
        state["best_weights"] = {name: tensor.detach().clone().cpu() for name, tensor in network.state_dict().items()}


def _resume(path: Path, signature: Record, network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Record:
    fresh = {"step": 0, "history": [], "best_score": -math.inf, "best_weights": None}
    if not path.is_file():
        return fresh
    saved = load_weights_file(path)
    if saved.get("signature") != signature:
        return fresh
    network.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    return {name: saved[name] for name in fresh}


def _save(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # to a handle, not a path: torch writes a path's name into the file, and equal weights would have unequal hashes
    with files.atomic_path(path) as temporary, temporary.open("wb") as handle:
        torch.save(value, handle)


def save_weights(network: torch.nn.Module, path: Path, description: Mapping[str, object]) -> None:
    """Weights and what they belong to, whole or not at all."""
    weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    _save(path, {"weights": weights, "description": description})


@contextmanager
def plain_numbers() -> Iterator[None]:
    """For this block `weights_only` also lets numpy's numbers pass, which logs beside weights hold; they run no code."""
    scalar, kinds = np._core.multiarray.scalar, ("f4", "f8", "i4", "i8", "?")
    allowed = [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *(type(np.dtype(kind)) for kind in kinds)]
    with torch.serialization.safe_globals(allowed):
        yield


@contextmanager
def only_weights() -> Iterator[None]:
    """For this block torch loads tensors and plain values alone, also where a package tells it to run what a pickle says."""
    before = os.environ.get(_ONLY_WEIGHTS)
    os.environ[_ONLY_WEIGHTS] = "1"
    try:
        with plain_numbers():
            yield
    finally:
        if before is None:
            del os.environ[_ONLY_WEIGHTS]
        else:
            os.environ[_ONLY_WEIGHTS] = before


def load_weights_file(path: Path, remedy: str = "Delete it and train again.") -> Record:
    """Read a checkpoint without running code from it; InputError, with this remedy, if it is no checkpoint."""
    try:
        with plain_numbers():
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged or unsafe files; all mean the same to the caller
        raise InputError(path, f"not a readable checkpoint ({type(error).__name__})", remedy) from error


def load_weights(network: torch.nn.Module, path: Path) -> dict[str, object]:
    """Load weights strictly into `network`; returns their description. InputError lists keys that do not fit."""
    saved = load_weights_file(path)
    missing_key = next((key for key in ("weights", "description") if key not in saved), None)
    if missing_key:
        raise InputError(path, f"no '{missing_key}' in it", "Give a checkpoint that this project wrote.")
    expected, found = network.state_dict(), saved["weights"]
    faults = [f"missing {k}" for k in expected if k not in found] + [f"unexpected {k}" for k in found if k not in expected]
    faults += [f"{k} has another shape" for k in expected if k in found and expected[k].shape != found[k].shape]
    if faults:
        raise InputError(path, f"the weights are of another network ({len(faults)} faults: {', '.join(faults[:3])})", "Train again.")
    network.load_state_dict(found)
    return saved["description"]

"""Data-parallel training in the processes that torchrun started: the first process runs the experiment, the others only help it to train.

Every process draws the whole batch of a step from the same random numbers and computes the network's output for its own part. The outputs
are gathered before the loss, because a loss may look at the batch as a whole. A step therefore equals that of one process with the same
batch, up to the order of sums. Accelerate connects the processes (GPUs by NCCL, CPUs by gloo); a single process never loads it.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from ..types import InputError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    Tensors = torch.Tensor | tuple[torch.Tensor, ...]


_PATIENCE = timedelta(days=7)  # the first process may draw phantoms and pretrain for hours while the others wait
_team: Accelerator | None = None  # between `broadcast` and `close`


def started() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_worker() -> bool:
    """Whether this process only helps the first one to train."""
    return int(os.environ.get("RANK", "0")) > 0


def broadcast(message: str = "") -> str:
    """Send a message from the first process to all others; they call this function too, wait, and get the message.

    After a message other than "" the processes are a team until each of them calls `close`. With "" they are not needed.
    """
    global _team
    if started() == 1:
        return ""
    from accelerate.utils import broadcast_object_list

    team = _connection()
    message = broadcast_object_list([message])[0]
    _team = team
    if not message:
        close()
    return message


def close() -> None:
    """Leave the team: from here on this process works alone."""
    global _team
    if _team is not None:
        _team.end_training()
    _team = None


def _connection() -> Accelerator:
    import torch
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # heads that the loss does not look at
    return Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[unused, InitProcessGroupKwargs(timeout=_PATIENCE)])


def size() -> int:
    """Number of processes in the team; 1 without a team."""
    return _team.num_processes if _team else 1


def index() -> int:
    """Number of this process in the team; 0 without a team, and for the only process that writes files."""
    return _team.process_index if _team else 0


def connect(network: torch.nn.Module) -> torch.nn.Module:
    """The network with the first process's weights, gradients averaged over the team, and batches normalized as a whole."""
    if _team is None:
        return network
    from torch.nn.modules.batchnorm import _BatchNorm

    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_normalize, module)  # type: ignore[method-assign]  # torch calls what the instance has
    return _team.prepare_model(network)


def _normalize(module: Any, inputs: torch.Tensor) -> torch.Tensor:
    """Batch normalization by the moments of the whole batch; torch's own of this kind, SyncBatchNorm, needs GPUs.

    `inputs` is this process's part (batch, channels, ...).
    """
    if _team is None or not module.training:
        return type(module).forward(module, inputs)
    shape = (1, -1, *[1] * (inputs.ndim - 2))
    centred = _wide(inputs) - (mean := _mean(inputs)).view(shape)
    variance = _mean(centred**2)
    count = size() * inputs.numel() / len(mean)
    module.num_batches_tracked += 1
    module.running_mean.lerp_(mean.detach(), module.momentum)
    module.running_var.lerp_(variance.detach() * count / (count - 1), module.momentum)
    scale = module.weight * (variance + module.eps).rsqrt()
    return (centred * scale.view(shape) + module.bias.view(shape)).to(inputs.dtype)


def _mean(values: torch.Tensor) -> torch.Tensor:
    """Mean of each channel over the parts of all processes, with gradients to each of them."""
    from torch.distributed import _functional_collectives, group

    assert group.WORLD is not None  # of the team
    own = _wide(values).mean(dim=[0, *range(2, values.ndim)])
    return _functional_collectives.all_reduce(own, "sum", group.WORLD) / size()


def _wide(values: torch.Tensor) -> torch.Tensor:
    """Values in single precision at least, for sums over bfloat16."""
    import torch

    return values.to(torch.promote_types(values.dtype, torch.float32))


def part(tensors: Tensors) -> Tensors:
    """This process's part of a batch: a tensor (batch, ...) or a tuple of them. InputError if the batch cannot be divided evenly."""
    if _team is None:
        return tensors
    return tuple(map(_part, tensors)) if isinstance(tensors, tuple) else _part(tensors)


def _part(tensor: torch.Tensor) -> torch.Tensor:
    if len(tensor) % size():
        problem = f"{size()} processes cannot share it evenly"
        raise InputError(f"batch of {len(tensor)}", problem, "Start a number of them that divides the batch size.")
    length = len(tensor) // size()
    return tensor[index() * length :][:length]


def whole(outputs: Tensors) -> Tensors:
    """The outputs of all processes for their parts, in order: a tensor (batch, ...) or a tuple. Gradients go to this process's own part."""
    if _team is None:
        return outputs
    return tuple(map(_whole, outputs)) if isinstance(outputs, tuple) else _whole(outputs)


def _whole(output: torch.Tensor) -> torch.Tensor:
    import torch

    assert _team is not None
    parts = list(_team.gather(output.detach().contiguous()).split(len(output)))
    parts[index()] = output
    return torch.cat(parts)

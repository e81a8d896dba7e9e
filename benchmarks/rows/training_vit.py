"""Training steps of the small ViT of the stand-ins: with fused attention, and with the package's own."""

from __future__ import annotations

import torch

from lungseg_utils import registry
from lungseg_utils.networks import training
from lungseg_utils.networks.losses import build_loss
from lungseg_utils.networks.sam import Size

from ..networks import draw_places, packaged_encoder
from ..row import Row, Setting, Work
from .training_unet import AGAINST, compare_loops

STEPS = training.Schedule.checkpoint_every  # steps so short that a checkpoint in twelve would be a twentieth of them
ROW = Row(work=f"{STEPS} training steps of the small promptable ViT, batches at hand", against=AGAINST, goal=1.0, warm=False)


def prepare(setting: Setting) -> Work:
    """The stand-in of the default profile, on noise."""
    return compare_vits(STEPS)


def compare_vits(steps: int) -> Work:
    """The comparison for any number of steps."""
    module = registry.plugin("models", "sam_stand_in")
    options = {**module.CARD.options, "device": "cpu"}
    ours, plain = (draw_places(module.build(options).network) for _ in range(2))
    encoder = packaged_encoder(Size.from_options(options), int(options["canvas"]))
    encoder.load_state_dict(plain.image_encoder.state_dict())
    plain.image_encoder = encoder
    count, canvas = int(options["batch_size"]), int(options["canvas"])
    pictures, targets = torch.rand((2, count, 1, canvas, canvas), generator=torch.Generator().manual_seed(0))
    batch = (pictures, *boxes(count, canvas)), (targets > 0.5).float()
    return compare_loops(ours, plain, lambda: batch, build_loss(options["loss"]), steps)


def boxes(count: int, canvas: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same box for each picture of a batch, as positions and labels of its corners."""
    corners = torch.tensor([[[0.2, 0.3], [0.7, 0.8]]]).expand(count, -1, -1) * canvas
    return corners, torch.tensor([[2, 3]], dtype=torch.int32).expand(count, -1)

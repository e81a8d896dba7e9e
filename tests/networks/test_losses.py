"""Losses by name, against values derived by hand and the definition."""

import pytest
import torch

from lungseg_utils.networks import losses
from lungseg_utils.types import InputError

TARGET = torch.zeros(2, 1, 16, 16)
TARGET[:, :, 4:10, 5:11] = 1


def _logits(wrong=0.0):
    """Certain and right, but for a share of columns on the left that claim tumor."""
    logits = (TARGET * 2 - 1) * 20
    logits[..., : int(16 * wrong)] = 20
    return logits


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_every_loss_is_near_zero_for_the_right_answer_grows_with_errors_and_has_gradients(name):
    loss = losses.build_loss(name)
    if hasattr(loss, "set_progress"):
        loss.set_progress(0.5)
    right, worse, worst = (float(loss(_logits(w), TARGET)) for w in (0.0, 0.2, 0.5))
    assert abs(right) < 0.02
    assert right < worse < worst
    logits = torch.zeros_like(TARGET, requires_grad=True)
    loss(logits, TARGET).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0
    assert (logits.grad[TARGET > 0] < 0).all()  # more tumor where there is tumor


def test_tversky_weighs_misses_more_than_false_alarms():
    loss = losses.build_loss("tversky")
    reference = TARGET.sum()
    missed, alarm = _logits(), _logits()
    missed[:, :, 4:7, 5:11] = -20  # half of the target, 36 voxels in both images
    alarm[:, :, 10:13, 5:11] = 20  # as many false ones
    assert float(loss(missed, TARGET)) == pytest.approx(1 - 36 / (36 + 0.7 * 36), abs=1e-3)
    assert float(loss(alarm, TARGET)) == pytest.approx(1 - float(reference / (reference + 0.3 * 36)), abs=1e-3)
    assert float(losses.build_loss("focal_tversky")(missed, TARGET)) == pytest.approx((1 - 36 / (36 + 0.7 * 36)) ** 0.75, abs=1e-3)


def test_the_adaptive_loss_moves_from_region_to_boundary():
    region, adaptive, both = (losses.build_loss(name) for name in ("dice_ce", "adaptive", "hausdorff"))
    logits = _logits(0.3)
    adaptive.set_progress(0.0)
    assert float(adaptive(logits, TARGET)) == pytest.approx(float(region(logits, TARGET)))
    adaptive.set_progress(1.0)
    assert float(adaptive(logits, TARGET)) == pytest.approx(float(both(logits, TARGET)))


def test_a_farther_error_costs_more_at_the_boundary_and_the_same_in_the_region():
    near, far = _logits(), _logits()
    near[:, :, 4:10, 11:13] = 20
    far[:, :, 4:10, 14:16] = 20
    region, boundary = losses.build_loss("dice_ce"), losses.build_loss("hausdorff")
    assert float(region(near, TARGET)) == pytest.approx(float(region(far, TARGET)), rel=1e-4)
    assert float(boundary(far, TARGET)) > float(boundary(near, TARGET))


def test_an_unknown_loss_lists_the_known_ones():
    with pytest.raises(InputError, match="focal_tversky"):
        losses.build_loss("hinge")

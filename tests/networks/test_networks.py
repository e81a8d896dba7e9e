"""Automatic networks on volumes: slabs, patches, augmentation, start values."""

import numpy as np
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.networks import automatic, losses, transforms
from lungseg_utils.networks.augmentation import augment_volumes
from lungseg_utils.types import Image, InputError, Mask, Study, TrainingRun

OPTIONS = {
    **registry.card("models", "unet").options,
    "spacing_mm": (2.0, 2.0, 3.0),
    "widths": (8, 16, 32),
    "patch": (8, 16, 16),
    "steps": 150,
    "validate_every": 50,
}


def _study(seed, shape=(32, 28, 14)):
    """A bright ball in noise."""
    rng = np.random.default_rng(seed)
    centre = [rng.uniform(10, n * s - 10) for n, s in zip(shape, (2, 2, 3), strict=True)]
    grid = np.meshgrid(*[np.arange(n) * s - c for n, s, c in zip(shape, (2, 2, 3), centre, strict=True)], indexing="ij")
    ball = sum(g**2 for g in grid) < 9**2
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    return Study(Image(np.where(ball, 50, -800) + rng.normal(0, 30, shape), affine), {"reference": Mask(ball, affine)})


def test_a_network_learns_a_bright_ball_and_puts_it_back_where_it_is(tmp_path):
    segmenter = registry.plugin("models", "unet").build(OPTIONS)
    history = segmenter.fit([_study(s) for s in range(4)], [_study(9)], TrainingRun(0, tmp_path, "x", progress=False))
    assert history.query("quantity == 'validation DSC'")["value"].max() > 0.8
    test = _study(20)
    segmenter.set_image(test.image)
    answer = segmenter.predict(()).mask.array
    reference = test.references["reference"].array
    assert 2 * (answer & reference).sum() / (answer.sum() + reference.sum()) > 0.8


def test_slabs_answer_every_slice_once_and_see_their_neighbors():
    for count in (1, 5, 64, 65, 200):
        slabs = list(automatic._slabs(count, 64, 16))
        assert [i for answered, _ in slabs for i in range(answered.start, answered.stop)] == list(range(count))
        for answered, seen in slabs:
            assert seen.start == max(0, answered.start - 16)
            assert seen.stop == min(count, answered.stop + 16)


def test_an_answer_does_not_depend_on_the_slabs_beyond_their_overlap():
    image = Image(np.random.default_rng(0).normal(-500, 300, (32, 32, 48)), np.diag([2.0, 2.0, 3.0, 1.0]))
    answers = []
    for slab, overlap in ((48, 0), (16, 32)):
        segmenter = registry.plugin("models", "unet").build({**OPTIONS, "slab": slab, "slab_overlap": overlap}, seed=1)
        segmenter.set_image(image)
        answers.append(segmenter.predict(()).probability)
    assert np.allclose(*answers, atol=1e-5)


def test_an_untrained_network_expects_few_tumor_voxels():
    segmenter = registry.plugin("models", "unet").build(OPTIONS)
    segmenter.set_image(_study(0).image)
    assert 0.001 < np.median(segmenter.predict(()).probability) < 0.2


def test_a_patch_larger_than_the_volume_is_filled_with_air():
    segmenter = registry.plugin("models", "unet").build({**OPTIONS, "patch": (32, 64, 64)})
    case = segmenter._working_case(_study(0))
    inputs, reference = segmenter._sample(case, np.random.default_rng(0))
    assert inputs.shape == (2, 32, 64, 64)
    assert reference.shape == (1, 32, 64, 64)
    assert inputs[0, -1].max() == -1
    assert reference.sum() == pytest.approx(case.reference.astype(float).sum(), rel=1e-3)


def test_foreground_patches_hold_tumor():
    segmenter = registry.plugin("models", "unet").build({**OPTIONS, "foreground_share": 1.0})
    case = segmenter._working_case(_study(0))
    rng = np.random.default_rng(0)
    assert all(segmenter._sample(case, rng)[1].max() > 0.5 for _ in range(50))


def test_augmentation_moves_image_and_reference_alike_and_repeats_by_seed():
    reference = torch.zeros(6, 1, 8, 24, 24)
    reference[:, :, 3:6, 8:15, 9:18] = 1
    inputs = torch.cat([reference, -reference], 1)
    first = augment_volumes(inputs, reference, np.random.default_rng(5))
    again = augment_volumes(inputs, reference, np.random.default_rng(5))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    moved, target = first
    for image, mask in zip(moved, target, strict=True):
        assert np.corrcoef(image[0].flatten(), mask.flatten())[0, 1] > 0.95
    assert not torch.equal(target, reference)
    assert 0 <= target.min() <= target.max() <= 1


def test_loss_is_near_zero_for_a_perfect_answer_and_unknown_names_are_refused():
    target = torch.zeros(1, 1, 4, 8, 8)
    target[..., 2:5, 2:5] = 1
    loss = losses.build_loss("dice_ce")
    assert loss(20 * (2 * target - 1), target) < 0.01 < loss(-20 * (2 * target - 1), target)
    with pytest.raises(InputError, match="dice_ce"):
        losses.build_loss("wishful")


def test_windows_map_their_ends_to_plus_and_minus_one():
    hu = np.array([-2000, -1000, -300, 400, 3000], dtype=np.float32)
    assert transforms.window(hu, (-1000, 400)).tolist() == [-1, -1, 0, 1, 1]


def test_working_slices_and_back_keep_what_the_grid_can_hold():
    reference = _study(3).references["reference"]
    assert transforms.resolution_ceiling(reference, (2.0, 2.0, 3.0)) == 1.0
    coarse = transforms.resolution_ceiling(reference, (6.0, 6.0, 6.0))
    assert 0.5 < coarse < 0.97
    assert np.isnan(transforms.resolution_ceiling(Mask(np.zeros((4, 4, 4), bool), np.eye(4)), (1.0, 1.0, 1.0)))


def test_a_cube_hardly_larger_than_the_patch_is_seen_in_patches_and_every_voxel_is_answered_once():
    answered = np.zeros((50, 41, 40), int)
    settings = automatic.Settings.from_options({**registry.card("models", "unet").options, "patch": (48, 40, 40)})
    for inner, seen in automatic._windows(answered.shape, settings):
        answered[inner] += 1
        assert tuple(s.stop - s.start for s in seen) == (48, 40, 40)
        assert all(s.start <= i.start and i.stop <= s.stop for i, s in zip(inner, seen, strict=True))
    assert answered.min() == answered.max() == 1


def test_slices_hardly_larger_than_the_patch_are_not_filled_with_air_either():
    """A network of slices trains on slabs of a few; only the two axes of a slice say whether an image is a cube."""
    segmenter = registry.plugin("models", "deeplabv3").build(
        {**registry.card("models", "deeplabv3").options, "spacing_mm": (1.0, 1.0, 1.0), "patch": (4, 32, 32), "slab": 6}
    )
    seen = []
    segmenter.network.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    segmenter.set_image(Image(np.full((34, 33, 20), -850.0), np.eye(4)))
    segmenter.predict(())
    assert {tuple(inputs.shape[2:]) for inputs in seen} == {(32, 32)}
    assert not any((inputs[:, 0] == -1).any() for inputs in seen)  # of the lung window


@pytest.mark.parametrize("shape", [(18, 18, 10), (16, 14, 8)])
def test_a_cube_is_given_to_the_network_as_in_training(shape):
    segmenter = registry.plugin("models", "unet").build({**OPTIONS, "spacing_mm": (1.0, 1.0, 1.0)})
    seen = []
    segmenter.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    segmenter.set_image(Image(np.full(shape, -850.0), np.eye(4)))
    segmenter.predict(())
    assert {tuple(inputs.shape[2:]) for inputs in seen} == {(8, 16, 16)}
    filled = [bool((inputs[0, 0] == -1).any()) for inputs in seen]
    assert any(filled) == (shape[1] < 16)  # air only where training fills up its patches too

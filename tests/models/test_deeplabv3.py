"""2-D networks on volumes, and DeepLabV3 as one of them."""

import numpy as np
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.networks import patches
from lungseg_utils.networks.slicewise import SliceWise, stack_neighbors
from lungseg_utils.types import Image, InputError, Mask, Study, TrainingRun

MODEL = registry.plugin("models", "deeplabv3")
TINY = {**MODEL.CARD.options, "width": 0.25, "patch": (2, 32, 32), "batch_size": 2, "steps": 4, "validate_every": 2, "device": "cpu"}


class _Sum(torch.nn.Module):
    """Stands for a 2-D network: adds its channels, and remembers what it was given."""

    def forward(self, slices):
        self.seen = slices
        return slices.sum(1, keepdim=True)


def _study(seed, shape=(32, 32, 8)):
    rng = np.random.default_rng(seed)
    reference = np.zeros(shape, bool)
    low = rng.integers(2, 16, 2)
    reference[low[0] : low[0] + 12, low[1] : low[1] + 12, 2:6] = True
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    return Study(Image(np.where(reference, 50, -800) + rng.normal(0, 30, shape), affine), {"reference": Mask(reference, affine)})


def test_neighbors_stand_beside_their_slice_and_the_end_slices_repeat():
    volume = torch.tensor([10.0, 20, 30])[None, None, :, None, None] + torch.tensor([0.0, 1])[None, :, None, None, None]  # 2 windows
    assert stack_neighbors(volume, 1)[:, :, 0, 0].tolist() == [
        [10, 10, 20, 11, 11, 21],  # the lowest slice is its own lower neighbor
        [10, 20, 30, 11, 21, 31],
        [20, 30, 30, 21, 31, 31],
    ]
    assert torch.equal(stack_neighbors(volume, 0)[:, :, 0, 0], volume[0, :, :, 0, 0].T)


def test_each_logit_comes_back_to_its_own_voxel_whatever_the_size():
    volumes = torch.arange(2 * 1 * 3 * 5 * 7, dtype=torch.float32).reshape(2, 1, 3, 5, 7)
    network = _Sum()
    assert torch.equal(SliceWise(network, 0, multiple=16)(volumes), volumes)
    assert network.seen.shape == (6, 1, 16, 16)
    assert network.seen[0, 0, 5:].unique().tolist() == [-1]  # air
    between = SliceWise(network, 1)(volumes)[:, 0, 1]
    assert torch.equal(between, volumes[:, 0].sum(1))


def test_a_network_that_answers_with_a_dictionary_is_understood():
    class Named(_Sum):
        def forward(self, slices):
            return {"aux": slices, "out": super().forward(slices)}

    volumes = torch.randn(1, 1, 2, 4, 4)
    assert torch.equal(SliceWise(Named())(volumes), volumes)


@pytest.mark.parametrize("neighbors", [0, 2])
def test_the_first_convolution_takes_any_number_of_channels(neighbors):
    segmenter = MODEL.build({**TINY, "neighbours": neighbors, "windows_hu": ((-1000, 400), (-160, 240), (-100, 100))})
    assert segmenter.network.network.backbone["0"][0].in_channels == 3 * (2 * neighbors + 1)
    segmenter.set_image(_study(0).image)
    assert segmenter.predict(()).mask.shape == (32, 32, 8)


def test_an_answer_does_not_depend_on_the_slabs():
    image = Image(np.random.default_rng(0).normal(-500, 300, (32, 32, 20)), np.diag([3.0, 3.0, 3.0, 1.0]))
    answers = []
    for slab in (20, 3):
        segmenter = MODEL.build({**TINY, "neighbours": 2, "slab": slab}, seed=1)
        segmenter.set_image(image)
        answers.append(segmenter.predict(()).probability)
    assert np.allclose(*answers, atol=1e-5)


def test_it_expects_few_tumor_voxels_at_first():
    segmenter = MODEL.build(TINY)
    segmenter.set_image(_study(0).image)
    assert 0.001 < np.median(segmenter.predict(()).probability) < 0.2


def test_it_overfits_one_patient(tmp_path):
    options = TINY | {"steps": 60, "learning_rate": 1e-2, "batch_size": 4}
    history = MODEL.build(options, seed=2).fit([_study(0)], [], TrainingRun(2, tmp_path, "x", progress=False))
    assert history["value"][-10:].mean() < 0.7 * history["value"][:10].mean()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    weights = []
    for name, seed in (("a", 2), ("b", 2), ("c", 3)):
        segmenter = MODEL.build(TINY, seed)
        segmenter.fit([_study(0)], [_study(1)], TrainingRun(seed, tmp_path / name, "x", progress=False))
        weights.append(torch.cat([w.flatten() for w in segmenter.network.state_dict().values()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_size_of_the_paper_is_torchvisions_own():
    from torchvision.models.segmentation import deeplabv3_resnet101

    paper = {"backbone": "resnet101", "head_width": 256, "atrous_rates": (12, 24, 36), "neighbours": 1, "windows_hu": ((-160, 240),)}
    ours = MODEL.build({**TINY, **paper}).network.network  # one window of three slices: as many channels as a photograph
    theirs = deeplabv3_resnet101(weights=None, weights_backbone=None, num_classes=1, aux_loss=False)
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs.eval()(image)["out"]
        assert (ours.eval()(image)["out"] - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("change", "named"),
    [({"backbone": "vgg"}, "backbone"), ({"neighbours": -1}, "neighbours"), ({"batch_size": 1, "patch": (1, 32, 32)}, "batch")],
)
def test_options_that_cannot_be_are_refused_by_name(change, named):
    with pytest.raises(InputError, match=named):
        MODEL.build(TINY | change)


def test_memory_is_laid_out_for_the_dimensions_of_the_network():
    assert patches._memory_format(torch.nn.Conv2d(1, 1, 3)) == torch.channels_last
    assert patches._memory_format(torch.nn.Conv3d(1, 1, 3)) == torch.channels_last_3d

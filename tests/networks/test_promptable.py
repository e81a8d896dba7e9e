"""SAM-type networks on slices: the way from a prompt to a mask and back, weights, training, and their published layout."""

import dataclasses

import numpy as np
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.core.masks import dsc
from lungseg_utils.networks import prompted_training, training, training_volumes
from lungseg_utils.networks.checkpoints import load_checkpoint
from lungseg_utils.networks.sam import PromptedSam, Size
from lungseg_utils.networks.training_volumes import LesionVolume
from lungseg_utils.networks.view import View
from lungseg_utils.prompts import ladder
from lungseg_utils.types import Box, Image, InputError, Mask, Points, Prompt, SlicePrompt, Study, TrainingRun

SMALL = {"canvas": 32, "patch": 8, "width": 16, "depth": 2, "heads": 2, "global_blocks": (1,), "window": 2, "prompt_width": 16}
SMALL |= {"decoder_width": 32, "steps": 4, "batch_size": 2, "validate_every": 2, "learning_rate": 1e-3}


def _build(seed=0, **options):
    module = registry.plugin("models", "sam_stand_in")
    return module.build({**module.CARD.options, **SMALL, **options}, seed)


class _Answers(torch.nn.Module):
    """In the place of a network: says tumor exactly inside the box, or within 3 pixels of each click; counts the pictures it was shown."""

    def __init__(self, side):
        super().__init__()
        self.side, self.encoded = side, 0

    def encode(self, pictures):
        self.encoded += len(pictures)
        return pictures

    def decode(self, embeddings, positions, labels):
        centre, first = torch.arange(self.side) + 0.5, positions[:, :1]
        corners = positions[:, :2] if (labels[:, :1] == 2).all() else torch.cat([first - 3, first + 3], 1)
        boxes = corners.flatten(1)
        x = (centre >= boxes[:, 0:1]) & (centre <= boxes[:, 2:3])
        y = (centre >= boxes[:, 1:2]) & (centre <= boxes[:, 3:4])
        return torch.where(y[:, :, None] & x[:, None, :], 20.0, -20.0)[:, None]


@pytest.fixture
def scan():
    """A flat, anisotropic scan with two boxes of soft tissue in lung."""
    mask = np.zeros((70, 54, 12), bool)
    mask[12:30, 8:20, 3:9] = True
    mask[48:56, 36:48, 5:7] = True
    affine = np.diag([1.0, 1.5, 4.0, 1.0])
    return Image(np.where(mask, 30.0, -850.0), affine), Mask(mask, affine)


def _prompts(name, reference):
    return next(ladder.prompt_setting(name).make(reference, np.random.default_rng(0)))


@pytest.mark.parametrize("field_mm", [0.0, 40.0])
def test_a_network_that_answers_its_box_gives_back_the_boxes(scan, field_mm):
    image, reference = scan
    segmenter = _build(canvas=128, field_mm=field_mm)
    segmenter.network = _Answers(128)
    segmenter.set_image(image)
    every = segmenter.predict(_prompts("box_every_slice", reference))
    assert dsc(reference.array, every.mask.array) > 0.96
    assert not every.mask.array[:, :, :3].any()  # only the prompted slices are answered
    assert every.probability.shape == image.shape
    one = segmenter.predict(_prompts("box_one_slice", reference))
    assert one.mask.array[:, :, 0].any()  # a box that is always full is followed to the ends of the scan


def test_an_object_at_the_border_of_the_image_is_put_back_inside(scan):
    image, _ = scan
    segmenter = _build(canvas=128)
    segmenter.network = _Answers(128)
    segmenter.set_image(image)
    answer = segmenter.predict((Prompt(1, (SlicePrompt(2, box=Box((0, 0, 2), (10, 12, 3))),)),)).mask.array
    expected = np.zeros(image.shape, bool)
    expected[0:10, 0:12, 2] = True
    assert dsc(expected, answer) > 0.95


def test_a_slice_is_encoded_once_for_all_prompts_on_it_and_anew_for_another_image(scan):
    image, reference = scan
    segmenter = _build(canvas=32, field_mm=0.0)
    segmenter.network = _Answers(32)
    segmenter.set_image(image)
    segmenter.predict(_prompts("box_every_slice", reference))
    assert segmenter.network.encoded == 6  # two lesions share slices 5 and 6
    segmenter.set_image(image)
    segmenter.predict(_prompts("box_every_slice", reference))
    assert segmenter.network.encoded == 6
    segmenter.set_image(Image(image.array, image.affine))
    segmenter.predict(_prompts("box_every_slice", reference))
    assert segmenter.network.encoded == 12


def test_many_prompts_at_once_answer_as_one_by_one(scan):
    image, reference = scan
    segmenter = _build()
    segmenter.set_image(image)
    together = segmenter.predict(_prompts("box_every_slice", reference)).probability
    alone = np.zeros_like(together)
    for prompt in _prompts("box_every_slice", reference):
        for slice_prompt in prompt.slices:
            alone = np.maximum(alone, segmenter.predict((Prompt(1, (slice_prompt,)),)).probability)
    assert np.allclose(together, alone, atol=1e-5)


def test_the_packaged_decoder_agrees(scan):
    """Ours pairs pictures and prompts; the package takes one picture at a time."""
    from segment_anything.modeling import MaskDecoder

    network = _build().network.eval()
    pictures, boxes = torch.rand(3, 1, 32, 32), torch.tensor([[2.0, 3, 20, 25], [0, 0, 32, 32], [5, 9, 14, 11]])
    corners, clicks = boxes.view(3, 2, 2), torch.tensor([[[4.0, 6], [9, 9]], [[1, 1], [30, 2]], [[7, 10], [0, 0]]])
    box_labels, click_labels = torch.tensor([[2, 3]] * 3), torch.tensor([[1, 0], [1, 1], [1, 0]])
    forms = {
        "box": (corners, box_labels),
        "clicks": (clicks, click_labels),
        "both": (torch.cat([corners, clicks], 1), torch.cat([box_labels, click_labels], 1)),
    }
    with torch.inference_mode():
        for form, tokens in forms.items():
            ours = network.decode(network.encode(pictures), *tokens)
            for i in range(3):
                points = None if form == "box" else (clicks[i : i + 1] - 0.5, click_labels[i : i + 1])
                sparse, dense = network.prompt_encoder(points, None if form == "clicks" else boxes[i : i + 1] - 0.5, None)
                arguments = (network.encode(pictures[i : i + 1]), network.prompt_encoder.get_dense_pe(), sparse, dense)
                masks, _ = MaskDecoder.predict_masks(network.mask_decoder, *arguments)
                assert torch.allclose(ours[i], masks[0, :1], atol=1e-5)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(1), "without box"),
        (Prompt(1, (SlicePrompt(2),)), "without box"),
        (Prompt(1, (SlicePrompt(2, points=Points(((5, 5, 2),), (0,))),)), "without box"),
        (Prompt(1, (SlicePrompt(2, points=Points(((5, 5, 2),), (0,))),), find_ends=True), "clicks outside only"),
        (Prompt(1, (SlicePrompt(99, box=Box((1, 1, 99), (5, 5, 100))),)), "slice 99"),
    ],
)
def test_prompts_that_it_does_not_take_are_refused(scan, prompt, message):
    segmenter = _build()
    segmenter.set_image(scan[0])
    with pytest.raises(InputError, match=message):
        segmenter.predict((prompt,))


def test_the_view_windows_stretches_and_normalizes():
    hu = np.full((4, 4, 1), -1000, np.int16)
    hu[2:, :, 0], hu[:, 3, 0] = 40, 3000
    view = View(canvas=4, window_hu=(-160.0, 240.0))
    window = dataclasses.replace(view).window_for(SlicePrompt(0, box=Box((0, 0, 0), (1, 1, 1))), LesionVolume(hu, hu > 0, (1.0, 1.0, 1.0)))
    picture = view.picture(hu, window, 0)
    assert picture.tolist() == [[1, 1, 1, 1], [0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0]]
    eight = dataclasses.replace(view, eight_bit=True).picture(hu, window, 0)
    assert eight[1, 0] == pytest.approx(127 / 255)
    dark = np.where(hu > 1000, 40, hu)  # nothing above the middle of the window
    assert dataclasses.replace(view, min_max=True).picture(dark, window, 0).max() == 1
    tensor = torch.tensor([[[0.485, 0.7]]])
    normalized = dataclasses.replace(view, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).normalize(tensor.expand(3, 1, 2))
    assert normalized[0, 0, 0] == 0
    assert normalized[2, 0, 1] == pytest.approx((0.7 - 0.406) / 0.225)


def test_a_cubic_picture_has_no_shift():
    ramp = np.tile(np.linspace(-160, 240, 64)[:, None, None], (1, 64, 1)).astype(np.float32)
    pictures = []
    for cubic in (False, True):
        view = View(canvas=128, window_hu=(-160.0, 240.0), cubic=cubic)
        window = view.window_for(SlicePrompt(0, box=Box((0, 0, 0), (1, 1, 1))), LesionVolume(ramp, ramp > 0, (1.0, 1.0, 1.0)))
        pictures.append(view.picture(ramp, window, 0))
    assert np.abs(pictures[0] - pictures[1])[4:-4, 4:-4].max() < 2e-3


@pytest.mark.parametrize("follow_share", [0.0, 1.0])
def test_training_samples_show_the_object_where_box_and_target_say(scan, follow_share):
    image, reference = scan
    volumes = training_volumes.lesion_volumes([Study(image, {"r": reference})], beyond=1)
    assert [v.shape[2] for v in volumes] == [8, 4]  # one slice more at either end
    alone = np.where(volumes[0].mask, 30, -850).astype(np.int16)  # without the other lesion, all that is bright is the object
    volumes[0] = dataclasses.replace(volumes[0], hu=alone)
    segmenter = _build(canvas=64, field_mm=40.0, follow_share=follow_share, point_share=0.0, box_jitter=0.0)
    rng, empty = np.random.default_rng(0), 0
    for _ in range(60):
        (pictures, positions, labels), targets = segmenter._batch([volumes[0]], rng)
        assert labels.tolist() == [[2, 3]]
        boxes = positions.flatten(1)
        target = targets[0, 0].numpy() > 0.5
        empty += not target.any()
        if target.any():
            bright = pictures[0, 0].numpy() > 0.4
            assert dsc(bright, target) > 0.9
            rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
            found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            slack = 2.1 if follow_share == 0 else 7
            assert np.abs(boxes[0].numpy() - found).max() < slack
    assert (empty > 5) == (follow_share > 0)


def test_training_clicks_lie_where_their_labels_say(scan):
    image, reference = scan
    volume = training_volumes.lesion_volumes([Study(image, {"r": reference})], beyond=1)[0]
    segmenter = _build(canvas=64, field_mm=40.0, point_field_mm=60.0, point_share=1.0)
    rng, forms = np.random.default_rng(0), set()
    for _ in range(60):
        (_, positions, labels), targets = segmenter._batch([volume, volume], rng)
        for place, label, target in zip(positions, labels, targets[:, 0], strict=True):
            clicks = [(p, found) for p, found in zip(place.tolist(), label.tolist(), strict=True) if found < 2]
            forms.add((2 in label, len(clicks)))
            assert 2 in label or label[0] == 1
            for (x, y), found in clicks:
                covered = float(target[int(y), int(x)])  # a pixel of the canvas holds several voxels
                assert covered > 0.3 if found else covered < 0.7
    assert forms == {(False, 1), (False, 2), (False, 3), (True, 1)}


def test_a_click_is_answered_in_a_wide_window_and_followed_by_boxes(scan):
    image, _ = scan
    segmenter = _build(canvas=100, field_mm=20.0, point_field_mm=50.0, field_margin=1.0)
    segmenter.network = _Answers(100)  # a click's square of 6 of 100 pixels is 3 mm wide
    segmenter.set_image(image)
    clicks = Points(((20, 20, 5), (40, 40, 5)), (1, 0))
    answer = segmenter.predict((Prompt(1, (SlicePrompt(5, points=clicks),), find_ends=True),)).mask.array
    i, j = np.nonzero(answer[:, :, 5])
    assert (i.min(), i.max()) == (19, 21)
    assert set(j) <= {19, 20, 21}
    assert answer.any((0, 1)).all()  # what follows is asked with boxes, and a full box is followed to the ends of the scan


def test_jitter_moves_each_side_within_its_share_and_never_leaves_the_image():
    rng, box = np.random.default_rng(0), Box((10, 2, 4), (30, 6, 5))
    moved = [training_volumes.jitter_box(box, 0.1, (31, 40, 9), rng) for _ in range(300)]
    assert {b.ijk_min[0] for b in moved} == {8, 9, 10, 11, 12}
    assert {b.ijk_max[0] for b in moved} == {28, 29, 30, 31}
    assert {b.ijk_min[1] for b in moved} == {1, 2, 3}  # a tenth of 4 is less than a voxel: one voxel
    assert {(b.ijk_min[2], b.ijk_max[2]) for b in moved} == {(4, 5)}
    assert training_volumes.jitter_box(box, 0.0, (31, 40, 9), rng) == box


@pytest.mark.parametrize(
    ("trainable", "moved"),
    [
        ("encoder_and_decoder", {"image_encoder", "mask_decoder"}),
        ("decoder", {"mask_decoder"}),
        ("lora", {"image_encoder", "mask_decoder"}),
    ],
)
def test_fine_tuning_moves_what_it_says_and_never_the_prompt_encoder(scan, tmp_path, trainable, moved):
    segmenter = _build(trainable=trainable)
    before = {name: value.clone() for name, value in segmenter.network.state_dict().items()}
    image, reference = scan
    history = segmenter.fit(
        [Study(image, {"r": reference})], [Study(image, {"r": reference})], TrainingRun(0, tmp_path, "id", progress=False)
    )
    assert set(history["quantity"]) == {"training loss", "validation DSC"}
    after = segmenter.network.state_dict()
    after = {name.replace(".base_layer", ""): value for name, value in after.items()}  # peft wraps the layers that it adds to
    changed = {name for name, value in after.items() if name not in before or not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in changed} == moved
    if trainable == "lora":
        assert all("lora_" in name for name in changed if name.startswith("image_encoder"))
    segmenter.save(tmp_path / "w.pt", {"identity": "x"})
    again = _build(seed=5, trainable=trainable)
    again.load(tmp_path / "w.pt")
    answers = []
    for one in (segmenter, again):
        one.set_image(image)
        answers.append(one.predict(_prompts("box_every_slice", reference)).probability)
    assert np.array_equal(*answers)


def test_few_training_steps_lower_the_loss_on_what_they_see(scan, tmp_path):
    image, reference = scan
    segmenter = _build(steps=100, batch_size=4, follow_share=0.0, point_share=0.0, learning_rate=3e-3)
    history = segmenter.fit([Study(image, {"r": reference})], [], TrainingRun(0, tmp_path, "id", progress=False))["value"]
    assert history[-10:].mean() < 0.7 * history[:5].mean()


def test_patients_without_a_lesion_cannot_be_trained_on(scan, tmp_path):
    image, reference = scan
    empty = Study(image, {"r": Mask(np.zeros_like(reference.array), reference.affine)})
    with pytest.raises(InputError, match="none of them has a lesion"):
        _build().fit([empty], [], TrainingRun(0, tmp_path, "id", progress=False))


def test_an_unknown_way_of_training_is_refused():
    with pytest.raises(InputError, match="decoder"):
        _build(trainable="everything")
    assert "lora" in prompted_training.TRAINABLE


def test_pretraining_lowers_the_loss_and_is_the_same_for_the_same_seed(tmp_path, monkeypatch):
    from lungseg_utils.networks import promptable

    monkeypatch.setattr(promptable, "PRETRAINING_OBJECTS", 6)
    weights = []
    for run in range(2):
        segmenter = _build()
        plan = training.Schedule(40, 3e-3, 0, warmup_steps=5)
        history = segmenter.pretrain("shapes", plan, 4, tmp_path / str(run), "id", progress=False)
        weights.append(segmenter.network.state_dict())
    assert history["value"][-8:].mean() < history["value"][:4].mean()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_resolution_ceiling_falls_with_the_canvas(scan):
    _, reference = scan
    fine, coarse = (_build(canvas=c, field_mm=0.0).resolution_ceiling(reference) for c in (128, 16))
    assert 0.97 < fine <= 1
    assert 0.3 < coarse < fine
    assert np.isnan(_build().resolution_ceiling(Mask(np.zeros_like(reference.array), reference.affine)))


# --- weights from elsewhere -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vit_b():
    """The package's own full-size network with random weights."""
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    return sam_model_registry["vit_b"]()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["medsam", "sam"])
def test_a_file_in_the_published_layout_fits_the_full_size_model(model, vit_b, tmp_path):
    """medsam_vit_b.pth and sam_vit_b_01ec64.pth are plain state dictionaries of the package's ViT-B: 314 tensors."""
    weights = vit_b.state_dict()
    assert len(weights) == 314
    torch.save(weights, tmp_path / "published.pth")
    module = registry.plugin("models", model)
    segmenter = module.build(module.CARD.options)
    segmenter.load_pretrained(tmp_path / "published.pth")
    assert segmenter.parameters()["parameters"] == sum(p.numel() for p in vit_b.parameters()) > 90e6
    loaded = segmenter.network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in weights.items())
    embedding, boxes = torch.randn(1, 256, 64, 64), torch.tensor([[100.0, 200, 300, 500]])
    with torch.inference_mode():
        sparse, dense = vit_b.prompt_encoder(points=None, boxes=boxes - 0.5, masks=None)
        expected, _ = vit_b.mask_decoder(embedding, vit_b.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=False)
        assert torch.allclose(segmenter.network.eval().decode(embedding, boxes.view(1, 2, 2), torch.tensor([[2, 3]])), expected, atol=1e-5)


def test_partial_and_foreign_weights_are_refused_with_their_keys(tmp_path):
    network = PromptedSam(Size.from_options(SMALL), View(canvas=32, window_hu=(0.0, 1.0)))
    weights = network.state_dict()
    first = next(iter(weights))

    def refused(content, message):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(InputError, match=message) as caught:
            load_checkpoint(network, tmp_path / "w.pth")
        assert "w.pth" in str(caught.value)

    refused({name: value for name, value in weights.items() if name != first}, f"1 keys missing.*{first}")
    refused({**weights, "extra.weight": torch.zeros(1)}, "1 keys unexpected.*extra.weight")
    refused({**weights, first: torch.zeros(3)}, "1 keys of another shape")
    refused({**weights, first: torch.full_like(weights[first], torch.nan)}, "NaN")
    refused({"epoch": 3}, "no state dictionary")
    refused([1, 2], "no state dictionary")
    (tmp_path / "w.pth").write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_checkpoint(network, tmp_path / "w.pth")


@pytest.mark.parametrize("wrapper", [None, "model", "weights"])
def test_known_layouts_and_half_precision_are_read(tmp_path, wrapper):
    size, view = Size.from_options(SMALL), View(canvas=32, window_hu=(0.0, 1.0))
    weights = {name: value.bfloat16() for name, value in PromptedSam(size, view).state_dict().items()}
    torch.save({wrapper: weights} if wrapper else weights, tmp_path / "w.pth")
    network = PromptedSam(size, view)
    load_checkpoint(network, tmp_path / "w.pth")
    assert all(value.dtype == torch.float32 and torch.equal(value, weights[name].float()) for name, value in network.state_dict().items())

"""SAM 2 at any size: against the packaged predictor, in place and orientation, in what it trains, and with published layouts."""

import contextlib
import gc

import numpy as np
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.experiments.costs import meter
from lungseg_utils.geometry import plane_box
from lungseg_utils.networks import attention, products
from lungseg_utils.networks import sam2 as adapter
from lungseg_utils.networks.checkpoints import load_checkpoint
from lungseg_utils.networks.embedding_cache import EmbeddingCache
from lungseg_utils.networks.prompted_training import TrainingSettings, free_parts
from lungseg_utils.networks.training import Schedule, train
from lungseg_utils.networks.training_volumes import LesionVolume, drawn_volume
from lungseg_utils.networks.view import View
from lungseg_utils.types import Checkpoint, Image, InputError, Mask, Pretraining, Prompt, SlicePrompt, Study, TrainingRun

MODELS = ("sam2", "medsam2", "medical_sam2", "sam2_stand_in")
SMALL = {"width": 32, "trunk_width": 16, "stages": (1, 1, 2, 1), "global_blocks": (3,), "memory_layers": 1, "memory_feedforward": 64}
VIEW = View(canvas=64, window_hu=(-1000.0, 500.0))


def _settings(**changes):
    values = {"steps": 5, "batch_size": 2, "learning_rate": 1e-3, "validate_every": 5, "box_jitter": 0.1, "clip_slices": 3}
    return TrainingSettings(**{**values, **changes})


def _network(view=VIEW, seed=0, **size):
    torch.manual_seed(seed)
    return adapter.build_network(adapter.Size(**{**SMALL, **size}), view)


def _segmenter(view=VIEW, seed=0, **settings):
    return adapter.Sam2Segmenter(_network(view, seed, candidates=False), view, _settings(**settings), "cpu")


def _ball(shape=(40, 40, 9), centre=(20, 18, 4), radius=(8, 8, 2.5), spacing=(1.0, 1.0, 3.0)):
    grid = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
    mask = ((grid / np.reshape(radius, (3, 1, 1, 1))) ** 2).sum(axis=0) <= 1
    hu = np.where(mask, 40, -800) + np.random.default_rng(0).integers(-20, 20, shape)
    return LesionVolume(hu.astype(np.int16), mask, spacing)


# --- the packaged predictor -------------------------------------------------------------------------------------------


def _packaged(network, size, monkeypatch, frames, postprocessing):
    """Meta's predictor, built by Meta's builder, with the same weights and the frames in its video."""
    from sam2 import sam2_video_predictor
    from sam2.build_sam import build_sam2_video_predictor

    changes = {k: v for k, v in size.changes(VIEW.canvas).items() if not isinstance(v, dict)}
    overrides = [f"++model.{key}={value}" for key, value in changes.items()]
    config = f"configs/{size.config.rpartition('_hiera')[0]}/{size.config}.yaml"
    predictor = build_sam2_video_predictor(config, device="cpu", hydra_overrides_extra=overrides, apply_postprocessing=postprocessing)
    predictor.fill_hole_area = 0  # its kernel needs CUDA
    predictor.load_state_dict(network.state_dict())
    monkeypatch.setattr(sam2_video_predictor, "load_video_frames", lambda **_: (frames, VIEW.canvas, VIEW.canvas))
    return predictor


@torch.inference_mode()
def _walk(network, pictures, key, prompt):
    """Logits and score by slice: the prompted one, upwards, downwards."""
    memory, depth = adapter.new_memory(), len(pictures)
    every = network.encode(pictures[:, None])
    maps = [[m[i : i + 1] for m in every] for i in range(depth)]
    seen = {key: network.look(maps[key], key, depth, memory, prompt)}
    for reverse, way in ((False, range(key + 1, depth)), (True, range(key - 1, -1, -1))):
        seen |= {i: network.look(maps[i], i, depth, memory, reverse=reverse) for i in way}
    return seen


@pytest.mark.parametrize(
    ("config", "candidates", "object_score"),
    [("sam2.1_hiera_t", True, 4.0), ("sam2.1_hiera_t", False, None), ("sam2_hiera_t", True, None)],
)
@pytest.mark.parametrize(
    ("by_two", "by_onednn"), [(False, False), (True, False), (True, True)], ids=["fused product", "two products", "products of oneDNN"]
)
def test_a_lesion_is_followed_as_by_the_packaged_predictor(config, candidates, object_score, by_two, by_onednn, monkeypatch):
    monkeypatch.setattr(attention, "two_products_are_faster", lambda tokens, keys: by_two)
    monkeypatch.setattr(products, "_mkl_takes_half_the_width", lambda: by_onednn)
    monkeypatch.setattr(products, "_LEAST_ROWS", 1)
    size = adapter.Size(config=config, candidates=candidates, **SMALL)
    torch.manual_seed(3)
    network = adapter.build_network(size, VIEW).eval()
    rng, key, depth = np.random.default_rng(1), 9, 20
    image = Image(rng.uniform(-1000, 500, (VIEW.canvas, VIEW.canvas, depth)), np.eye(4))
    pictures = torch.from_numpy(np.stack([VIEW.picture(image.array, VIEW.window_for(None, image), i) for i in range(depth)]))
    box = torch.tensor([[10.0, 14.0, 40.0, 50.0]])
    prompt = (box.view(1, 2, 2), torch.tensor([[2, 3]], dtype=torch.int32))
    ours = _walk(network, pictures, key, prompt)
    if object_score is None:  # so that the object is seen on some slices and not on others
        scores = torch.cat([score for _, score in ours.values()])
        with torch.no_grad():
            network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias -= scores.median() + 1e-3
        ours = _walk(network, pictures, key, prompt)
        assert {bool(score > 0) for _, score in ours.values()} == {True, False}

    predictor = _packaged(network, size, monkeypatch, VIEW.normalize(pictures[:, None].expand(-1, 3, -1, -1)), candidates)
    state = predictor.init_state(video_path="unused")
    predictor.add_new_points_or_box(state, frame_idx=key, obj_id=1, box=(box[0] - 0.5).numpy())  # indices of pixels
    theirs = {}
    for reverse in (False, True):
        theirs |= {i: m[0, 0] for i, _, m in predictor.propagate_in_video(state, start_frame_idx=key, reverse=reverse)}
    assert sorted(theirs) == list(range(depth))
    for index, logits in theirs.items():
        torch.testing.assert_close(ours[index][0][0], logits, atol=1e-4, rtol=1e-4)

    # and the segmenter walks just so: a threshold below all keeps it from stopping, each edge of the box is on its side
    segmenter = adapter.Sam2Segmenter(network, VIEW, _settings(threshold=-1.0), "cpu")
    segmenter.set_image(image)
    high = VIEW.canvas - np.array([10, 14]), VIEW.canvas - np.array([40, 50])
    slice_prompt = SlicePrompt(key, box=adapter.geometry.Box((*high[1].tolist(), key), (*high[0].tolist(), key + 1)))
    probability = segmenter.predict([Prompt(1, (slice_prompt,), find_ends=True)]).probability
    for index, logits in theirs.items():
        expected = adapter.geometry.stack_axial(torch.sigmoid(logits)[None].numpy())[:, :, 0]
        assert np.abs(probability[:, :, index] - expected).max() < 1e-4


def test_operations_of_following_a_lesion_are_counted_alike_on_all_machines(monkeypatch):
    """By two products what is remembered is mixed before it is projected, which takes fewer operations."""
    network = adapter.build_network(adapter.Size(config="sam2.1_hiera_t", **SMALL), VIEW).eval()
    pictures = torch.zeros(4, VIEW.canvas, VIEW.canvas)
    prompt = (torch.tensor([[[10.0, 14.0], [40.0, 50.0]]]), torch.tensor([[2, 3]], dtype=torch.int32))
    counts = []
    for here in (False, True):
        monkeypatch.setattr(products, "_mkl_takes_half_the_width", lambda h=here: h)
        monkeypatch.setattr(attention, "_LEAST_KEYS", 1)
        counts.append(meter.count_flops(lambda: _walk(network, pictures, 1, prompt)))
    assert counts[0] == counts[1] > 0
    monkeypatch.setattr(products, "as_packaged", contextlib.nullcontext)
    assert meter.count_flops(lambda: _walk(network, pictures, 1, prompt)) != counts[0]


# --- place and orientation --------------------------------------------------------------------------------------------


class _BoxAnswer(torch.nn.Module):
    """Knows nothing but boxes: answers each with itself, on slices below `last` for as long as it remembers one."""

    def __init__(self, view, last=10_000):
        super().__init__()
        self.sides, self.last = torch.nn.Parameter(torch.zeros(1)), last
        self.view, self.asked = view, []

    def encode(self, pictures):
        return [pictures]

    def look(self, maps, index, count, memory, prompt=None, reverse=False, remember=True):
        if prompt is not None:
            memory["boxes"] = prompt[0].flatten(1)
        self.asked.append(index)
        edges = torch.arange(self.view.canvas) + 0.5
        low, high = memory["boxes"][:, :2, None], memory["boxes"][:, 2:, None]
        x, y = ((edges > low) & (edges < high)).unbind(1)
        inside = (y[:, :, None] & x[:, None, :]) & (index <= self.last)
        return torch.where(inside, 20.0, -20.0), torch.ones(len(inside))


def _box_answer(view, last=10_000):
    return adapter.Sam2Segmenter(_BoxAnswer(view, last), view, _settings(), "cpu")


SEES = [View(64, (-1000.0, 500.0)), View(128, (-1000.0, 500.0), field_mm=40.0, field_margin=2.0)]


@pytest.mark.parametrize("view", SEES, ids=["whole slice", "window"])
def test_a_network_that_answers_the_box_gives_back_the_box(view):
    """Anisotropic voxels, a slice that is not square, lesions off the middle and at the image's edge."""
    shape, affine = (96, 80, 7), np.diag([0.8, 1.1, 3.0, 1.0])
    first, second = (slice(60, 84), slice(10, 30)), (slice(0, 16), slice(40, 64))
    slice_prompts = [
        SlicePrompt(k, box=adapter.geometry.Box((a.start, b.start, k), (a.stop, b.stop, k + 1))) for k, (a, b) in ((2, first), (4, second))
    ]
    expected = np.zeros(shape, bool)
    expected[(*first, 2)] = expected[(*second, 4)] = True
    segmenter = _box_answer(view)
    segmenter.set_image(Image(np.zeros(shape), affine))
    answer = segmenter.predict([Prompt(1, tuple(slice_prompts))]).mask.array
    assert adapter_dice(answer, expected) > 0.97
    assert not answer[:, :, [0, 1, 3, 5, 6]].any()
    expected = np.zeros(shape, bool)
    expected[first] = True
    answer = segmenter.predict([Prompt(1, (slice_prompts[0],), find_ends=True)]).mask.array
    assert adapter_dice(answer, expected) > 0.97


def adapter_dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_two_boxes_on_a_slice_and_two_lesions_are_united():
    segmenter = _box_answer(SEES[0])
    segmenter.set_image(Image(np.zeros((64, 64, 3)), np.eye(4)))
    boxes = [adapter.geometry.Box((i, 8, 1), (i + 8, 16, 2)) for i in (4, 30, 50)]
    prompts = [Prompt(1, tuple(SlicePrompt(1, box=b) for b in boxes[:2])), Prompt(2, (SlicePrompt(1, box=boxes[2]),))]
    answer = segmenter.predict(prompts).mask.array
    assert answer.sum() == 3 * 64
    assert all(answer[b.ijk_min[0] : b.ijk_max[0], 8:16, 1].all() for b in boxes)


def test_an_object_that_ends_is_not_followed_for_ever():
    segmenter = _box_answer(SEES[0], last=25)
    segmenter.set_image(Image(np.zeros((64, 64, 90)), np.diag([1.0, 1.0, 2.0, 1.0])))
    slice_prompt = SlicePrompt(20, box=adapter.geometry.Box((8, 8, 20), (20, 20, 21)))
    answer = segmenter.predict([Prompt(1, (slice_prompt,), find_ends=True)]).mask.array
    assert np.flatnonzero(answer.any(axis=(0, 1))).tolist() == list(range(26))
    assert max(segmenter.network.asked) == 25 + adapter.ABSENT_SLICES
    assert sorted(segmenter.network.asked) == list(range(25 + adapter.ABSENT_SLICES + 1))


def test_the_search_ends_after_150_mm_and_at_the_ends_of_the_scan():
    segmenter = _box_answer(SEES[0])
    segmenter.set_image(Image(np.zeros((64, 64, 60)), np.diag([1.0, 1.0, 4.0, 1.0])))
    slice_prompt = SlicePrompt(10, box=adapter.geometry.Box((8, 8, 10), (20, 20, 11)))
    segmenter.predict([Prompt(1, (slice_prompt,), find_ends=True)])
    assert sorted(segmenter.network.asked) == list(range(10 + 37 + 1))  # 37 slices of 4 mm are 148 mm


def test_a_second_prompt_on_a_slice_encodes_nothing_and_another_image_everything(monkeypatch):
    segmenter = _segmenter()
    encoded = []
    encode = segmenter.network.encode
    monkeypatch.setattr(segmenter.network, "encode", lambda pictures: encoded.append(len(pictures)) or encode(pictures))
    slice_prompt = SlicePrompt(1, box=adapter.geometry.Box((8, 8, 1), (20, 20, 2)))
    for prompt, total in (
        (Prompt(1, (slice_prompt,)), 1),
        (Prompt(1, (slice_prompt,), find_ends=True), 5),
        (Prompt(1, (slice_prompt,), find_ends=True), 5),
    ):
        if not encoded:
            segmenter.set_image(Image(np.random.default_rng(0).normal(-500, 300, (64, 64, 5)), np.eye(4)))
        segmenter.predict([prompt])
        assert sum(encoded) == total
    segmenter.set_image(Image(np.zeros((64, 64, 5)), np.eye(4)))
    segmenter.predict([Prompt(1, (slice_prompt,))])
    assert sum(encoded) == 6


def test_little_room_forgets_features_and_changes_no_answer():
    image = Image(np.random.default_rng(0).normal(-500, 300, (64, 64, 9)), np.eye(4))
    prompt = Prompt(1, (SlicePrompt(4, box=adapter.geometry.Box((8, 8, 4), (20, 20, 5))),), find_ends=True)
    answers = []
    for room_mb in (100.0, 0.0):
        segmenter = _segmenter()
        segmenter.batch_size, segmenter.cache = 2, EmbeddingCache(room_mb)
        segmenter.set_image(image)
        answers.append(segmenter.predict([prompt]).probability)
    assert len(segmenter.cache) == 0
    assert np.allclose(*answers, atol=1e-5)


def test_boxes_are_needed_and_a_canvas_that_does_not_divide_is_refused():
    segmenter = _segmenter()
    segmenter.set_image(Image(np.zeros((64, 64, 3)), np.eye(4)))
    with pytest.raises(InputError, match="box"):
        segmenter.predict([Prompt(1, (SlicePrompt(1),), find_ends=True)])
    with pytest.raises(InputError, match="multiple of 32"):
        adapter.build_network(adapter.Size(), View(100, (0.0, 1.0)))
    with pytest.raises(InputError, match=r"sam2\.1_hiera_t"):
        adapter.build_network(adapter.Size(config="sam2.1_hiera_x"), VIEW)


# --- training ---------------------------------------------------------------------------------------------------------


def test_a_clip_starts_on_the_object_and_shows_its_end_and_nothing_is_invented_beyond_the_scan():
    segmenter, volume = _segmenter(clip_slices=4, box_jitter=0.0, point_share=0.0), _ball()
    ends = 0
    for seed in range(20):
        (pictures, places, labels, told), (masks, present, valid) = segmenter._clips([volume, volume], 4, np.random.default_rng(seed))
        assert labels.tolist() == [[2, 3]] * 2
        boxes = places.flatten(1)
        assert pictures.shape == masks.shape == (2, 4, 64, 64)
        assert boxes.shape == (2, 4)
        assert present.shape == valid.shape == (2, 4)
        assert present[:, 0].all()
        assert torch.equal(told, masks[:, 0] > 0.5)
        assert valid.all()  # nine slices hold a clip of four in at least one direction
        ends += int((~present).sum())
        for picture, mask, box in zip(pictures[:, 0], masks[:, 0], boxes, strict=True):
            rows, columns = np.nonzero(mask.numpy() > 0.5)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(np.array(found) - box.numpy()).max() <= 1.0
            assert picture[mask > 0.9].mean() > picture[mask == 0].mean() + 0.3
    assert ends > 10
    short = _ball(shape=(40, 40, 3), centre=(20, 18, 1))
    _, (masks, present, valid) = segmenter._clips([short], 4, np.random.default_rng(0))
    assert valid.tolist() == [[True, True, True, False]]
    assert not present[0, 3]
    assert not masks[0, 3].any()


def test_the_loss_ignores_slices_beyond_the_scan_and_wants_nothing_where_the_object_is_not():
    loss, rng = adapter.ClipLoss("dice_bce_per_image"), torch.Generator().manual_seed(0)
    logits, scores = torch.randn(2, 3, 16, 16, generator=rng), torch.randn(2, 3, generator=rng)
    masks = torch.zeros(2, 3, 16, 16)
    masks[:, 0, 4:9, 4:9] = 1
    present, valid = masks.amax((2, 3)) > 0, torch.tensor([[True, True, False]] * 2)
    value = loss((logits, scores), (masks, present, valid))
    changed, other = logits.clone(), scores.clone()
    changed[:, 2], other[:, 2] = 30.0, -5.0
    assert torch.equal(value, loss((changed, other), (masks, present, valid)))
    other[:, 1] += 3  # the object is not there, and it says more loudly that it is
    assert loss((logits, other), (masks, present, valid)) > value
    changed[:, 1] += 3
    assert loss((changed, scores), (masks, present, valid)) > value
    hidden = logits.clone()
    hidden[:, 0] = -1024.0  # as by a negative score; it counts, but does not drown all else
    assert value < loss((hidden, scores), (masks, present, valid)) < 10
    adaptive = adapter.ClipLoss("adaptive")
    adaptive.set_progress(1.0)
    assert adaptive((logits, scores), (masks, present, valid)) != adapter.ClipLoss("adaptive")((logits, scores), (masks, present, valid))


def _gradients(segmenter):
    segmenter.network.train()
    inputs, targets = segmenter._clips([_ball(), _ball()], segmenter.settings.clip_slices, np.random.default_rng(0))
    segmenter._loss()(segmenter.network(*inputs), targets).backward()
    return {n for n, p in segmenter.network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_gradients_reach_every_trained_part_and_not_the_prompt_encoder():
    segmenter = _segmenter()
    free_parts(segmenter.network, segmenter.trained_parts, segmenter.attention_layers, "encoder_and_decoder")
    moved = _gradients(segmenter)
    for part in segmenter.trained_parts:
        assert any(name.startswith(f"{part}.") for name in moved), part
    for deep in ("image_encoder.trunk.patch_embed", "memory_attention.layers.0.cross_attn_image", "memory_encoder.mask_downsampler"):
        assert any(name.startswith(deep) for name in moved), deep
    assert not any(name.startswith("sam_prompt_encoder") for name in moved)


def test_a_clip_of_one_slice_trains_the_picture_part_alone():
    moved = _gradients(_segmenter(clip_slices=1))
    assert any(n.startswith("image_encoder.trunk") for n in moved)
    assert any(n.startswith("sam_mask_decoder") for n in moved)
    assert not any(n.startswith("memory") for n in moved)


def test_lora_and_decoder_only_train_what_they_say():
    decoder, lora = _segmenter(), _segmenter()
    free_parts(decoder.network, decoder.trained_parts, decoder.attention_layers, "decoder")
    moved = _gradients(decoder)
    assert moved
    assert not any(n.startswith(("image_encoder", "sam_prompt_encoder")) for n in moved)
    free_parts(lora.network, lora.trained_parts, lora.attention_layers, "lora")
    moved = {n for n in _gradients(lora) if n.startswith("image_encoder")}
    assert moved
    assert all("lora_" in n for n in moved)
    assert len({n.split(".lora_")[0] for n in moved}) == 5  # one qkv layer per block


def _study():
    volume = _ball()
    affine = np.diag([*volume.spacing_mm, 1.0])
    return Study(Image(volume.hu.astype(np.float32), affine), {"reader": Mask(volume.mask, affine)})


@pytest.mark.parametrize("trainable", ["encoder_and_decoder", "lora"])
def test_fitted_weights_are_saved_and_loaded(trainable, tmp_path):
    first = _segmenter(steps=2, validate_every=2, trainable=trainable)
    history = first.fit([_study()], [_study()], TrainingRun(0, tmp_path, "x", progress=False))
    assert {"training loss", "validation DSC"} == set(history["quantity"])
    first.save(tmp_path / "w.pt", {"identity": "here"})
    second = _segmenter(seed=1, trainable=trainable)
    assert second.load(tmp_path / "w.pt") == {"identity": "here"}
    prompt = Prompt(1, (SlicePrompt(4, box=plane_box(_ball().mask[:, :, 4], 4)),), find_ends=True)
    answers = []
    for segmenter in (first, second):
        segmenter.set_image(_study().image)
        answers.append(segmenter.predict([prompt]).probability)
    assert answers[0].max() > 0
    assert np.array_equal(*answers)


def test_a_few_steps_of_training_lower_the_loss(tmp_path):
    segmenter = _segmenter()
    volumes = [drawn_volume("shapes", np.random.default_rng(seed), VIEW.window_hu, 8) for seed in range(6)]
    plan = Schedule(30, 3e-3, seed=0, warmup_steps=3)
    history = train(segmenter.network, segmenter._sampler(volumes, 2), segmenter._loss(), plan, tmp_path, progress=False)
    losses = history["value"].to_numpy()
    assert losses[-8:].mean() < 0.9 * losses[:4].mean()


def test_training_takes_pictures_and_clips_in_turn_at_equal_cost():
    segmenter = _segmenter(clip_slices=3)
    shapes = {segmenter._batch([_ball(), _ball()], np.random.default_rng(seed))[0][0].shape[:2] for seed in range(12)}
    assert shapes == {(6, 1), (2, 3)}


def test_answers_after_training_are_not_those_of_before(tmp_path):
    segmenter, study = _segmenter(steps=2, validate_every=1, learning_rate=1e-2), _study()
    prompt = Prompt(1, (SlicePrompt(4, box=plane_box(_ball().mask[:, :, 4], 4)),))
    segmenter.set_image(study.image)
    before = segmenter.predict([prompt]).probability
    segmenter.fit([study], [study], TrainingRun(0, tmp_path, "x", progress=False))
    segmenter.set_image(study.image)
    kept = segmenter.predict([prompt]).probability
    segmenter._forget()
    assert np.array_equal(kept, segmenter.predict([prompt]).probability)
    assert not np.array_equal(kept, before)


# --- plug-ins and published files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_plugin_says_what_it_is_and_where_its_weights_come_from(name):
    module = registry.plugin("models", name)
    options = dict(module.CARD.options)
    weights = module.initial_weights(options)
    assert isinstance(weights, Pretraining if name == "sam2_stand_in" else Checkpoint)
    assert module.title(options)
    if name != "sam2_stand_in":
        assert weights.url.endswith(weights.file)
        assert options["canvas"] % 32 == 0
        small = module.build({**options, **SMALL, "canvas": 64, "device": "cpu"})
        assert small.network.image_size == 64


def test_a_stand_in_is_never_called_by_a_published_name():
    module = registry.plugin("models", "sam2_stand_in")
    titles = {kind: module.title({**module.CARD.options, "pretraining": kind}) for kind in ("shapes", "ct_like", "random")}
    assert titles["ct_like"] == "SAM 2-type stand-in, CT-like pretraining"
    assert titles["shapes"] == "SAM 2-type stand-in, shapes pretraining"
    assert titles["random"] == "SAM 2-type stand-in, random weights"
    assert not any("Med" in title for title in titles.values())
    assert module.initial_weights({**module.CARD.options, "pretraining": "random"}) is None
    with pytest.raises(InputError, match="shapes"):
        module.title({**module.CARD.options, "pretraining": "photographs"})


def test_a_checkpoint_that_belongs_to_another_size_is_named_as_such():
    module = registry.plugin("models", "medical_sam2")
    small = {**module.CARD.options, "checkpoint": "sam2_hiera_small.pt"}
    assert "Medical SAM 2" not in module.title(small).split(",")[0]
    assert module.initial_weights(small).size == 184_309_650
    with pytest.raises(InputError, match=r"MedSAM2_pretrain\.pth"):
        module.initial_weights({**small, "checkpoint": "sam2_hiera_large.pt"})


def _perturbed(network, seed):
    generator = torch.Generator().manual_seed(seed)
    return {k: v + 0.01 * torch.randn(v.shape, generator=generator) for k, v in network.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "keys", "wrap"),
    [
        ("sam2", 471, lambda w: {"model": w}),
        ("medsam2", 471, lambda w: {"model": w}),
        ("medical_sam2", 468, lambda w: {k: v.to(torch.bfloat16) for k, v in w.items()}),
    ],
)
def test_a_file_in_the_published_layout_loads_into_the_full_size_network(name, keys, wrap, tmp_path):
    module = registry.plugin("models", name)
    network = module.build({**module.CARD.options, "device": "cpu"}).network
    assert len(network.state_dict()) == keys
    content = wrap(_perturbed(network, 1))
    torch.save(content, tmp_path / "published.pt")
    load_checkpoint(network, tmp_path / "published.pt")
    stored = content.get("model", content)
    assert all(torch.equal(v, stored[k].float()) for k, v in network.state_dict().items())
    if name == "medical_sam2":
        assert abs((tmp_path / "published.pt").stat().st_size - 78_078_138) < 50_000  # names inside the archive differ
    del network, content, stored
    gc.collect()


@pytest.mark.slow
def test_the_full_size_network_answers_both_kinds_of_prompt():
    module = registry.plugin("models", "medsam2")
    segmenter = module.build({**module.CARD.options, "device": "cpu"})
    segmenter.set_image(Image(np.random.default_rng(0).normal(-500, 300, (96, 80, 2)), np.diag([3.0, 3.0, 5.0, 1.0])))
    slice_prompt = SlicePrompt(0, box=adapter.geometry.Box((20, 20, 0), (40, 40, 1)))
    for find_ends in (False, True):
        probability = segmenter.predict([Prompt(1, (slice_prompt,), find_ends=find_ends)]).probability
        assert probability[:, :, 0].max() > 0
    assert segmenter.parameters()["parameters"] == 38_962_498


@pytest.mark.slow
def test_weights_of_another_architecture_are_refused_with_what_is_missing_and_what_is_too_much(tmp_path):
    older = adapter.build_network(adapter.Size(config="sam2_hiera_t"), View(512, (0.0, 1.0)))
    torch.save({"model": older.state_dict()}, tmp_path / "older.pt")
    small = adapter.build_network(adapter.Size(config="sam2_hiera_s"), View(512, (0.0, 1.0)))
    torch.save(small.state_dict(), tmp_path / "small.pt")
    del small
    newer = adapter.build_network(adapter.Size(), View(512, (0.0, 1.0)))
    with pytest.raises(InputError, match=r"3 keys missing \(no_obj_embed_spatial, obj_ptr_tpos_proj"):
        load_checkpoint(newer, tmp_path / "older.pt")
    with pytest.raises(InputError, match=r"2 keys missing .*; 50 keys unexpected .*; 22 keys of another shape") as caught:
        load_checkpoint(older, tmp_path / "small.pt")
    assert "image_encoder.trunk.blocks.12" in str(caught.value)

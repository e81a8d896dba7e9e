"""Checkpoints of SAM-type models that somebody else trained: the answer is that of the package that made them."""

from functools import partial

import numpy as np
import pytest
import torch

import lungseg_utils.networks  # noqa: F401  # first: it lets the packages import torchvision beside a CPU build of torch
from lungseg_utils import registry
from lungseg_utils.core.masks import dsc
from lungseg_utils.experiments import config, initial_weights
from lungseg_utils.geometry import axial_slice
from lungseg_utils.types import Box, Image, InputError, Prompt, SlicePrompt

SIDE = 64
BOX = Box((14, 20, 2), (40, 44, 3))
PROMPT = Prompt(1, (SlicePrompt(2, box=BOX),))


def _image(side=SIDE):
    rng, slope = np.random.default_rng(0), np.linspace(-150, 230, side)
    return Image(slope[:, None, None] + rng.uniform(-60, 60, (side, side, 5)), np.diag([1.0, 1.0, 2.0, 1.0]))


def _packaged_sam():
    """A small Sam of segment-anything's own classes, with random weights and a mask that is neither empty nor full."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(0)
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    encoder = ImageEncoderViT(
        img_size=SIDE, patch_size=8, embed_dim=32, depth=2, num_heads=2, out_chans=16, norm_layer=norm,
        use_rel_pos=True, window_size=3, global_attn_indexes=(1,),
    )  # fmt: skip
    grid = (SIDE // 8, SIDE // 8)
    prompts = PromptEncoder(embed_dim=16, image_embedding_size=grid, input_image_size=(SIDE, SIDE), mask_in_chans=16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=16, mlp_dim=32, num_heads=8)
    decoder = MaskDecoder(transformer_dim=16, transformer=transformer, iou_head_hidden_dim=256)
    return Sam(encoder, prompts, decoder).eval()


def _picture(image):
    """Slice 2 as the published scripts make it: soft-tissue window, 8 bit, three equal channels."""
    plane = (np.clip(axial_slice(image.array, 2), -160, 240) + 160) / 400
    return np.repeat(np.floor(plane * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _pixels(side=SIDE):
    """The box as indices of pixels, as the packages count: halves lie between pixels."""
    return np.array([side - 40, side - 44, side - 14, side - 20]) - 0.5


def _load(model, path, **more):
    options = config.model_options(model, {"path": str(path), "trained_on": "nothing", "device": "cpu", **more})
    return initial_weights.build_from(initial_weights.initial_weights(model, options), model, options, 0)


@torch.inference_mode()
def test_a_state_dictionary_of_segment_anything_answers_as_its_own_predictor(tmp_path):
    from segment_anything import SamPredictor

    sam, image = _packaged_sam(), _image()
    predictor = SamPredictor(sam)
    predictor.set_image(_picture(image))
    logits, _, _ = predictor.predict(box=_pixels(), multimask_output=False, return_logits=True)
    expected = logits[0] > np.median(logits)
    assert 0.3 < expected.mean() < 0.7
    torch.save(sam.state_dict(), tmp_path / "mine.pth")
    segmenter = _load("own_sam", tmp_path / "mine.pth")
    segmenter.set_image(image)
    probability = axial_slice(segmenter.predict((PROMPT,)).probability, 2)
    assert np.abs(probability - 1 / (1 + np.exp(-logits[0]))).max() < 1e-4
    assert dsc(expected, probability > 1 / (1 + np.exp(-np.median(logits)))) >= 0.999


@torch.inference_mode()
def test_a_medsam_that_was_fine_tuned_on_several_gpus_is_shown_the_picture_of_medsam(tmp_path):
    sam, image = _packaged_sam(), _image()
    fine_tuned = {"model": {f"module.{name}": tensor for name, tensor in sam.state_dict().items()}, "optimizer": {}, "epoch": 1}
    torch.save(fine_tuned, tmp_path / "medsam.pth")
    picture = _picture(image)[:, :, 0].astype(np.float32)
    shown = torch.from_numpy((picture - picture.min()) / np.ptp(picture)).expand(1, 3, -1, -1)  # their script: min-max, no mean taken off
    sparse, dense = sam.prompt_encoder(points=None, boxes=torch.from_numpy(_pixels()).float()[None], masks=None)
    logits, _ = sam.mask_decoder(sam.image_encoder(shown), sam.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=False)
    expected = torch.sigmoid(torch.nn.functional.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False))[0, 0].numpy()
    segmenter = _load("own_medsam", tmp_path / "medsam.pth")
    segmenter.set_image(image)
    assert np.abs(axial_slice(segmenter.predict((PROMPT,)).probability, 2) - expected).max() < 1e-4


@torch.inference_mode()
def test_a_sam2_checkpoint_answers_as_the_packages_own_predictor(tmp_path):
    from sam2.build_sam import build_sam2
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    torch.manual_seed(0)
    side, changes = 128, ["++model.image_size=128"]
    network = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu", hydra_overrides_extra=changes)
    network.pred_obj_scores = False  # a picture is asked about: the object is there
    predictor = SAM2ImagePredictor(network)
    predictor._bb_feat_sizes = [(side // n, side // n) for n in (4, 8, 16)]  # the package has those of 1024 pixels
    image = _image(side)
    predictor.set_image(_picture(image))
    logits, _, _ = predictor.predict(box=_pixels(side), multimask_output=False, return_logits=True)
    torch.save({"model": network.state_dict()}, tmp_path / "sam2.pt")
    segmenter = _load("own_sam2", tmp_path / "sam2.pt", canvas=side)
    segmenter.network.pred_obj_scores = False
    segmenter.set_image(image)
    probability = axial_slice(segmenter.predict((PROMPT,)).probability, 2)
    expected = 1 / (1 + np.exp(-logits[0]))
    assert np.ptp(expected) > 1e-3
    assert np.abs(probability - expected).max() < 1e-3


def test_litemedsam_after_its_own_training_script_is_read(tmp_path):
    published = initial_weights.initial_weights("litemedsam", registry.card("models", "litemedsam").options)
    weights = torch.load(published, weights_only=True)
    moved = {name: tensor + 0.01 if name.startswith("mask_decoder") else tensor for name, tensor in weights.items()}
    torch.save({"model": moved, "epoch": 1, "optimizer": {}, "loss": 0.1, "best_loss": 0.1}, tmp_path / "lite.pth")
    segmenter = _load("own_litemedsam", tmp_path / "lite.pth")
    found = segmenter.network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in moved.items())


def test_identity_follows_the_bytes_of_the_file_and_a_file_that_is_not_there_is_named(tmp_path):
    path, options = tmp_path / "own.pth", {"path": str(tmp_path / "own.pth"), "trained_on": "x"}
    with pytest.raises(InputError, match=r"own\.pth: no such file"):
        initial_weights.initial_weights("own_sam", config.model_options("own_sam", options))
    seen = set()
    for content in (b"one", b"two"):
        path.write_bytes(content)
        asked = config.model_options("own_sam", options)
        seen.add(initial_weights.sha256("own_sam", asked, initial_weights.initial_weights("own_sam", asked)))
    assert len(seen) == 2
    with pytest.raises(InputError, match="not said what this model was trained on"):
        initial_weights.initial_weights("own_sam", config.model_options("own_sam", options | {"trained_on": ""}))

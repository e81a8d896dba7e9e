"""The contract, held over every plug-in that is found."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lungseg_utils import registry
from lungseg_utils.data.splits import read_splits
from lungseg_utils.experiments import config
from lungseg_utils.prompts import ladder
from lungseg_utils.types import Checkpoint, DatasetCard, Image, InputError, Mask, ModelCard, ParadigmCard, Study, TrainingRun
from tests.support import published_folders
from tests.support.small_encoder import SmallEncoder

CARDS = {"models": ModelCard, "datasets": DatasetCard, "paradigms": ParadigmCard}
ALL = [(kind, name) for kind in registry.KINDS for name in registry.names(kind)]


def test_the_file_name_is_the_key_and_unknown_ones_list_the_known():
    assert {"unet", "trivial"} <= set(registry.names("models"))
    assert {"phantom_nsclc", "phantom_msd", "msd_lung", "nsclc_radiomics", "lidc_idri", "folder"} <= set(registry.names("datasets"))
    with pytest.raises(InputError, match="unet"):
        registry.card("models", "no_such_model")
    with pytest.raises(InputError, match="kind"):
        registry.names("dataset")


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_plugin_has_a_filled_card(kind, name):
    card = registry.card(kind, name)
    assert isinstance(card, CARDS[kind])
    assert card.title
    assert registry.title(kind, name) == card.title
    assert card.summary


def test_cards_load_without_torch_in_well_under_a_second():
    code = "import sys\nfrom lungseg_utils import registry\n"
    code += "[registry.card(k, n) for k in registry.KINDS for n in registry.names(k)]\n"
    code += "sys.exit(any(m in sys.modules for m in ('torch', 'monai', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_a_file_leaves_out_has_its_default():
    options = registry.card("models", "unet").options
    assert registry.model_title("unet", options) == registry.card("models", "unet").title
    assert registry.checkpoints("unet") == ()
    assert registry.initial_weights("unet", options) is None
    assert registry.model_title("trivial", {"rule": "otsu"}) == "trivial: Otsu threshold"
    assert isinstance(registry.initial_weights("sam", registry.card("models", "sam").options), Checkpoint)
    assert set(registry.phantoms("phantom_msd").GRIDS) == {"mini", "small", "standard"}
    with pytest.raises(InputError, match="not drawn"):
        registry.phantoms("msd_lung")


def test_a_segmenter_without_training_has_defaults_and_says_that_it_cannot_be_trained():
    segmenter = _smallest("trivial")
    assert (segmenter.shares_batches, str(segmenter.device)) == (False, "cpu")
    assert np.isnan(segmenter.resolution_ceiling(_box(0).reference))
    for paradigm in ("full", "fine_tuned", "few_shot"):
        with pytest.raises(InputError, match="cannot be trained"):
            registry.paradigm(paradigm).prepare(segmenter, [_box(0)], [], TrainingRun(0, Path(), "x"))


@pytest.mark.parametrize("name", registry.names("datasets"))
def test_every_data_set_has_cases_and_load_and_refuses_an_empty_folder(name, tmp_path):
    module = registry.plugin("datasets", name)
    assert callable(module.load)
    with pytest.raises(InputError) as caught:
        module.cases(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(InputError):
        module.cases(tmp_path / "nothing")


SAM = {"canvas": 64, "patch": 8, "width": 32, "depth": 2, "heads": 2, "global_blocks": (1,), "window": 4, "prompt_width": 32}
SAM2 = {"canvas": 64, "width": 32, "trunk_width": 16, "stages": (1, 1, 2, 1), "global_blocks": (3,), "memory_layers": 1}
SAM2 |= {"memory_feedforward": 64}


def _smallest(name):
    """The model as the smoke profile makes it. Published sizes take minutes on a CPU, and that profile has stand-ins in their place."""
    options = registry.card("models", name).options
    pictured = registry.checkpoints(name) and "canvas" in options and name != "litemedsam"
    published = (SAM2 if "clip_slices" in options else SAM) if pictured else {}
    changes = published or published_folders.OPTIONS.get(name) or config.load().profile("smoke").model_options.get(name, {})
    segmenter = registry.plugin("models", name).build({**options, **changes})
    if name == "litemedsam":  # its encoder has one size only
        segmenter.network.image_encoder = SmallEncoder()
    return segmenter


def _ready(name, folder):
    """The same, able to answer. A model that plans its network from data (nnU-Net) has none before it has seen some: it is shown two."""
    segmenter = _smallest(name)
    if name in published_folders.WEIGHTS:
        package, write = published_folders.WEIGHTS[name]
        pytest.importorskip(package)
        segmenter.load_pretrained(write(folder / "published"))
    if not segmenter.parameters()["parameters"] and "full" in registry.card("models", name).paradigms:
        segmenter.set_image(_box(0).image)
        with pytest.raises(InputError, match="not trained"):
            segmenter.predict(())
        segmenter.fit([_box(0), _box(1)], [], TrainingRun(0, folder, "x", progress=False))
    return segmenter


def _box(seed):
    """A study with a bright box in noise."""
    reference, affine = np.zeros((40, 36, 12), bool), np.diag([4.0, 4.0, 6.0, 1.0])
    reference[10:20, 12:22, 3:8] = True
    image = np.where(reference, 50, -800) + np.random.default_rng(seed).normal(0, 30, reference.shape)
    return Study(Image(image, affine), {"reference": Mask(reference, affine)})


# those of the reader's own have no network before they are given one: tests/models and tests/networks give them
HERE = [n for n in registry.names("models") if registry.card("models", n).paradigms != ("trained_elsewhere",)]


@pytest.mark.parametrize("name", HERE)
def test_every_model_answers_on_the_grid_of_any_image(name, tmp_path):
    with pytest.raises(InputError, match="no image"):
        _smallest(name).predict(())
    segmenter, card = _ready(name, tmp_path), registry.card("models", name)
    rng = np.random.default_rng(0)
    for shape, spacing in (((40, 36, 9), (2.0, 2.0, 5.0)), ((33, 47, 12), (0.7, 0.7, 1.25))):
        affine = np.diag([*spacing, 1.0])
        image = Image(rng.normal(-500, 300, shape), affine)
        reference = np.zeros(shape, bool)
        reference[10:20, 12:22, 3:6] = True
        segmenter.set_image(image)
        for prompter in ladder.settings_for(card):
            prompts = next(ladder.prompt_setting(prompter).make(Mask(reference, affine), rng))
            prediction = segmenter.predict(prompts)
            assert prediction.mask.shape == shape
            assert np.array_equal(prediction.mask.affine, affine)
            assert prediction.seconds > 0
            assert prediction.probability is None or (prediction.probability.shape == shape and 0 <= prediction.probability.min() <= 1)
    assert set(segmenter.parameters()) == {"parameters", "parameters_trained"}


@pytest.mark.parametrize("name", [n for n in HERE if set(registry.card("models", n).paradigms) - {"zero_shot"}])
def test_every_trained_model_saves_and_loads_its_weights(name, tmp_path):
    first, second = _ready(name, tmp_path), _smallest(name)
    first.save(tmp_path / "w.pt", {"identity": "here"})
    assert second.load(tmp_path / "w.pt") == {"identity": "here"}
    image = Image(np.random.default_rng(1).normal(-500, 300, (40, 36, 6)), np.diag([2.0, 2.0, 5.0, 1.0]))
    answers = []
    for segmenter in (first, second):
        segmenter.set_image(image)
        answers.append(segmenter.predict(()).probability)
    assert np.array_equal(*answers)


def test_no_patient_is_both_trained_and_tested_on_whatever_the_data_set():
    """The IBSI phantom and LUNG1-002 are one patient under two names; ids must say so."""
    splits = {n: read_splits(n) for n in ("phantom_nsclc", "phantom_msd")}
    ids = [set(frame["patient_id"]) for frame in splits.values()]
    assert not ids[0] & ids[1]

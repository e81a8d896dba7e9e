"""CLN-Segmenter: a checkpoint alone predicts what nnunetv2's own predictor says with the whole folder."""

import shutil
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from lungseg_utils import registry
from lungseg_utils.core.masks import dsc
from lungseg_utils.data import collections
from lungseg_utils.experiments import initial_weights
from lungseg_utils.types import InputError
from tests.support import published_folders, trained_nnunet

MODEL = registry.model("cln_segmenter")
OPTIONS = {**MODEL.CARD.options, "device": "cpu"}


def _by_package(folder, image, checkpoint):
    """What nnunetv2's predictor says of an RAS+ array that it sees as SimpleITK reads a file of MSD: (z, y, x), not turned round."""
    with redirect_stdout(StringIO()):
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder), (0,), checkpoint)
        stored = np.ascontiguousarray(np.transpose(image.array, (2, 1, 0)))[None]
        labels = predictor.predict_single_npy_array(stored, {"spacing": list(image.spacing_mm[::-1])}, None, None, False)
    return np.transpose(labels == 1, (2, 1, 0))


def _loaded(path):
    segmenter = MODEL.build(OPTIONS)
    segmenter.load_pretrained(path)
    return segmenter


def test_a_checkpoint_alone_predicts_what_the_package_predicts_with_the_whole_folder(tmp_path):
    path = tmp_path / MODEL.CHECKPOINTS[0].file
    folder, study = published_folders.trained_by_nnunet(path), trained_nnunet.ball(11)
    segmenter = _loaded(path)
    segmenter.set_image(study.image)
    answer, by_package = segmenter.predict(()), _by_package(folder, study.image, "checkpoint_best.pth")
    assert by_package.any()
    assert not by_package.all()
    assert np.array_equal(answer.mask.array, by_package)
    assert np.array_equal(answer.probability > 0.5, by_package)
    assert segmenter.parameters()["parameters"] > 1000


@pytest.mark.slow
def test_an_nnunet_that_nnunetv2_trained_is_read_from_its_checkpoint(tmp_path):
    folder = trained_nnunet.train(tmp_path, axes="RAS")
    path = tmp_path / MODEL.CHECKPOINTS[0].file
    shutil.copy(folder / "fold_0" / "checkpoint_best.pth", path)
    study = trained_nnunet.ball(11)
    segmenter = _loaded(path)
    segmenter.set_image(study.image)
    own = segmenter.predict(()).mask.array
    assert dsc(_by_package(folder, study.image, "checkpoint_best.pth"), own) >= 0.999
    assert dsc(study.reference.array, own) > 0.5  # it has learned


def test_the_published_file_is_fetched_by_address_and_hash_and_another_one_is_refused(tmp_path, monkeypatch):
    (tmp_path / "experiments.yml").touch()  # a project without weights
    monkeypatch.setenv("LUNGSEG_ROOT", str(tmp_path))
    (wanted,) = MODEL.CHECKPOINTS
    assert wanted.file in collections.weights()
    assert len(wanted.sha256) == 64
    with pytest.raises(InputError, match=r"not here \(CC BY-SA 4\.0.*fetch CLN-Segmenter-MSD-fold0\.pth"):
        initial_weights.initial_weights("cln_segmenter", OPTIONS)
    initial_weights.place(wanted).parent.mkdir(parents=True)
    published_folders.trained_by_nnunet(initial_weights.place(wanted))
    with pytest.raises(InputError, match="sha256"):
        initial_weights.initial_weights("cln_segmenter", OPTIONS)


def test_weights_without_plans_are_refused_by_name(tmp_path):
    torch.save({"network_weights": {}}, tmp_path / "bare.pth")
    with pytest.raises(InputError, match=r"bare\.pth: it lacks plans, dataset_json, configuration"):
        _loaded(tmp_path / "bare.pth")

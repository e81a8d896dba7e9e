"""CLN-Segmenter: a checkpoint alone predicts what nnunetv2's own predictor says with the whole folder."""

import numpy as np
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.data import collections
from lungseg_utils.experiments import initial_weights
from lungseg_utils.types import InputError
from tests.support import published_folders, trained_nnunet

MODEL = registry.model("cln_segmenter")
OPTIONS = {**MODEL.CARD.options, "device": "cpu"}


def _loaded(path):
    segmenter = MODEL.build(OPTIONS)
    segmenter.load_pretrained(path)
    return segmenter


def test_a_checkpoint_alone_predicts_what_the_package_predicts_with_the_whole_folder(tmp_path):
    path = tmp_path / MODEL.CHECKPOINTS[0].file
    folder, study = published_folders.trained_by_nnunet(path), trained_nnunet.ball(11)
    segmenter = _loaded(path)
    segmenter.set_image(study.image)
    answer, by_package = segmenter.predict(()), trained_nnunet.predicted_by_package(folder, study.image, "checkpoint_best.pth")
    assert by_package.any()
    assert not by_package.all()
    assert np.array_equal(answer.mask.array, by_package)
    assert np.array_equal(answer.probability > 0.5, by_package)
    assert segmenter.parameters()["parameters"] > 1000


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

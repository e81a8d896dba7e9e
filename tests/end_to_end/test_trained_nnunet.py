"""An nnU-Net that nnunetv2's own commands planned and trained, once for all tests here.

Its folder is a row, a checkpoint of it is read as CLN-Segmenter's is, and the predictions are those of the package.
"""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.core.masks import dsc
from lungseg_utils.data import nifti
from lungseg_utils.experiments import config, initial_weights
from lungseg_utils.types import InputError
from tests.support import trained_nnunet

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained_nnunet.train(tmp_path_factory.mktemp("nnunet"))


def _load(path, **more):
    options = config.model_options("own_nnunet", {"path": str(path), "trained_on": "balls", "device": "cpu", **more})
    return initial_weights.build_from(initial_weights.initial_weights("own_nnunet", options), "own_nnunet", options, 0)


@pytest.mark.parametrize(("axes", "turned"), [("LPS", "LPS"), ("RAS", "RAS"), ("PIR", "PIR")])
def test_the_answer_is_that_of_the_packages_own_command_on_the_same_file(folder, tmp_path, axes, turned):
    study = trained_nnunet.ball(11)
    given = tmp_path / "in" / "case_0000.nii.gz"
    trained_nnunet.save(study.image.array.astype(np.int16), study.image.affine, given, axes)
    command = ["nnUNetv2_predict_from_modelfolder", "-i", str(given.parent), "-o", str(tmp_path / "out"), "-m", str(folder), "-f", "0"]
    trained_nnunet.run(tmp_path, *command, "-device", "cpu", "-npp", "1", "-nps", "1")
    theirs = nib.as_closest_canonical(nib.load(tmp_path / "out" / "case.nii.gz")).get_fdata() == 1
    segmenter = _load(folder, axes=turned)
    segmenter.set_image(nifti.read_image(given))
    ours = segmenter.predict()
    assert dsc(study.reference.array, theirs) > 0.5
    assert dsc(theirs, ours.mask.array) >= 0.999
    assert np.array_equal(ours.probability > 0.5, ours.mask.array)


def test_folds_labels_and_pickles_with_code(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    shutil.copytree(copy / "fold_0", copy / "fold_1")
    study = trained_nnunet.ball(12)
    answers = []
    for path in (folder, copy):  # the mean of two equal networks
        segmenter = _load(path)
        segmenter.set_image(study.image)
        answers.append(segmenter.predict().probability)
    np.testing.assert_allclose(*answers, atol=1e-5)
    dataset = json.loads((copy / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps(dataset | {"channel_names": {"0": "CT", "1": "PET"}}))
    with pytest.raises(InputError, match=r"2 channels \(CT, PET\)"):
        _load(copy)
    (copy / "dataset.json").write_text(json.dumps(dataset))
    torch.save({"network_weights": _RunsCode()}, copy / "fold_1" / "checkpoint_final.pth")
    with pytest.raises(InputError, match="cannot load it"):
        _load(copy)


def test_a_checkpoint_alone_is_read_as_a_published_one_is(folder, tmp_path):
    published = registry.model("cln_segmenter")
    path = tmp_path / published.CHECKPOINTS[0].file
    shutil.copy(folder / "fold_0" / "checkpoint_best.pth", path)
    segmenter = published.build({**published.CARD.options, "device": "cpu"})
    segmenter.load_pretrained(path)
    study = trained_nnunet.ball(11)
    segmenter.set_image(study.image)
    ours = segmenter.predict(()).mask.array
    assert dsc(trained_nnunet.predicted_by_package(folder, study.image, "checkpoint_best.pth"), ours) >= 0.999
    assert dsc(study.reference.array, ours) > 0.5  # it has learned


class _RunsCode:
    def __reduce__(self):
        return print, ("code of a file was run",)

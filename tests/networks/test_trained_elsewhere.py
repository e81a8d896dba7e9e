"""Models of other packages: axes go there and back, labels are chosen, and nothing is trained."""

import nibabel as nib
import numpy as np
import pytest

from lungseg_utils.experiments import config
from lungseg_utils.models import own_nnunet
from lungseg_utils.networks import own_nnunet as adapter
from lungseg_utils.networks.trained_elsewhere import StoredAxes
from lungseg_utils.types import Image, InputError, TrainingRun


@pytest.mark.parametrize("letters", ["RAS", "LPS", "LAS", "PIR", "SAL"])
def test_axes_are_those_that_nibabel_gives_a_file(letters):
    array = np.random.default_rng(0).normal(size=(3, 4, 5))
    stored = nib.Nifti1Image(array, np.diag([1.0, 2.0, 3.0, 1.0]))
    stored = stored.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(letters)))
    axes = StoredAxes(letters)
    assert np.array_equal(axes.of_ras(array), stored.get_fdata())
    assert np.array_equal(axes.to_ras(stored.get_fdata()), array)
    assert axes.spacing((1.0, 2.0, 3.0)) == [float(zoom) for zoom in stored.header.get_zooms()]


@pytest.mark.parametrize("letters", ["RA", "RLS", "XYZ"])
def test_letters_that_are_no_axes_are_refused(letters):
    with pytest.raises(InputError, match="no order of axes"):
        StoredAxes(letters)


def test_the_label_of_the_tumor_is_the_only_one_or_the_one_that_is_named(tmp_path):
    one, several = {"background": 0, "mass": 1}, {"background": 0, "lung": 1, "tumor": 2, "whole": [1, 2], "ignore": 3}
    assert adapter._values_of(one, "", tmp_path) == (1,)
    assert adapter._values_of(several, "tumor", tmp_path) == (2,)
    assert adapter._values_of(several, "whole", tmp_path) == (1, 2)
    with pytest.raises(InputError, match="several labels: lung, tumor, whole"):
        adapter._values_of(several, "", tmp_path)
    with pytest.raises(InputError, match="no label 'nodule'"):
        adapter._values_of(several, "nodule", tmp_path)


def test_without_a_folder_it_predicts_nothing_and_it_is_never_trained(tmp_path):
    segmenter = own_nnunet.build(config.model_options("own_nnunet", {"device": "cpu"}))
    with pytest.raises(InputError, match="no image"):
        segmenter.predict()
    segmenter.set_image(Image(np.zeros((8, 8, 8)), np.eye(4)))
    with pytest.raises(InputError, match="no trained nnU-Net"):
        segmenter.predict()
    for refused in (
        lambda: segmenter.fit([], [], TrainingRun(0, tmp_path, "x")),
        lambda: segmenter.save(tmp_path, {}),
        lambda: segmenter.load(tmp_path),
    ):
        with pytest.raises(InputError, match="trained elsewhere"):
            refused()

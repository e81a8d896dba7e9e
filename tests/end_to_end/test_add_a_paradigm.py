"""The page "Adding a paradigm" is followed to the letter, in a copy of the project."""

import re
from functools import partial

import pandas as pd
import pytest

from lungseg_utils.evaluation import tables
from lungseg_utils.experiments import config
from tests.support.worked_examples import append, assert_in_style, block, copy_project, follow

_block = partial(block, "add_a_paradigm.md")


def _replace_line(path, line, beginning):
    """Put `line` in the place of the one line that begins like this."""
    text, count = re.subn(rf"^{re.escape(beginning)}.*\n", lambda _: line, path.read_text(), flags=re.MULTILINE)
    assert count == 1, beginning
    path.write_text(text)


@pytest.mark.slow
def test_one_file_and_three_lines_add_a_paradigm_that_trains_and_is_scored(tmp_path):
    copied = copy_project(tmp_path)
    (copied / "lungseg_utils" / "paradigms" / "decoder_only.py").write_text(_block("the-file"))
    _replace_line(copied / "lungseg_utils" / "models" / "sam_stand_in.py", _block("the-card"), "    paradigms=(")
    _replace_line(copied / "experiments.yml", _block("the-detectors"), "detectors:")
    append(copied / "experiments.yml", _block("the-line"))
    done = follow(copied, "-m", "lungseg_utils", "run", "sam_stand_in_decoder_only", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert "decoder only" in done.stdout
    folder = next((copied / "results" / "smoke").glob("*decoder_only*"))
    history, steps = pd.read_csv(folder / "history.csv"), config.load().profile("smoke").model_options["sam_stand_in"]["steps"]
    assert history["step"].max() == steps // 3
    assert set(tables.read_results(folder / "results.csv")["status"]) <= {"scored", "undefined"}
    assert _moved(copied, folder) == {"mask_decoder"}


def _moved(copied, folder):
    """Parts of the network whose weights are no longer those of the pretraining."""
    import torch

    from lungseg_utils.networks import training

    pretrained = next((copied / "results" / "stand_ins").glob("sam_stand_in__ct_like*/weights.pt"))
    before, after = (training.load_weights_file(path)["weights"] for path in (pretrained, folder / "weights.pt"))
    return {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def test_the_file_of_the_page_is_in_the_style_of_the_project(tmp_path):
    assert_in_style(_block("the-file"), tmp_path)

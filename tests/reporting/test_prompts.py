"""The front page on values made by hand: who is shown, against whom, and what is said where something was not run."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lungseg_utils.evaluation import judges
from lungseg_utils.reporting import case_pictures, front_strip, prompts
from tests.support.results_by_readers import PATIENTS, PROFILE, finished_experiment

ALL_SETTINGS = prompts.SETTINGS


def _result(notebook, by_reference, by_others, settings=ALL_SETTINGS, **run):
    """A finished experiment: the mean DSC that the reference finds, and the other readers (None: nobody was asked)."""
    means = [("reference", "consensus", by_reference)]
    means += [("another_reader", judges.OTHERS, by_others)] if by_others is not None else []
    return finished_experiment(notebook, means, settings, **run)


@pytest.fixture
def finished():
    return [
        _result("baselines_zero_shot", 0.9, 0.60),
        _result("baselines_zero_shot", 0.5, 0.65, variant=1),
        _result("unet_full", 0.8, 0.70),
        _result("unet_prompted_full", 0.8, 0.75, settings=ALL_SETTINGS[1:]),
        _result("litemedsam_zero_shot", 0.8, 0.55, settings=ALL_SETTINGS[1:]),
        _result("litemedsam_zero_shot", 0.8, 0.58, settings=ALL_SETTINGS[1:], variant=1),
        _result("litemedsam_fine_tuned", 0.8, 0.77, settings=ALL_SETTINGS[1:]),
        _result("deeplabv3_full", 0.8, 0.99),
    ]


def test_prompts_come_from_another_reader_and_each_prompt_has_its_own_opponent(finished):
    table = prompts.front_table(finished, PROFILE)
    assert table["setting"].drop_duplicates().tolist() == list(ALL_SETTINGS)
    one = table[table["setting"] == "box_one_slice"].set_index("role")
    assert one.loc["trivial", "dsc"] == pytest.approx(0.65)  # the best by this judge, not by the reference
    assert np.isnan(one.loc["trivial", "gain"])
    assert one.loc["box channel", "gain"] == pytest.approx(0.10)
    assert one.loc["zero-shot", "gain"].round(6).tolist() == [-0.10, -0.07]  # both windows, neither chosen
    assert one.loc["fine-tuned", ["gain_low", "gain_high"]].tolist() == pytest.approx([0.12, 0.12])
    assert table[table["setting"] == "none"]["role"].tolist() == ["automatic"]
    assert "DeepLabV3" not in "".join(table["title"])


def test_weights_that_had_seen_the_images_are_marked(finished):
    table = prompts.front_table(finished, PROFILE)
    assert set(table["role"][table["seen"]]) == {"zero-shot", "fine-tuned"}
    assert prompts.seen_sentence(table).count("LiteMedSAM") == 1
    assert prompts.seen_sentence(table[~table["seen"]]) == ""


def test_each_number_in_the_sentences_names_its_opponent_and_closes(finished):
    readers = pd.Series(0.81, PATIENTS)
    table = prompts.front_table(finished, PROFILE)
    said = prompts.sentences(table, PROFILE, readers)
    assert "0.70 [" in said["front_alone"]
    one = said["front_box_one_slice"]
    assert "without a network (Otsu threshold) reaches 0.65 [" in one
    assert "adds 0.000 [0.000, 0.000] to the U-Net" in one
    assert (
        "U-Net + prompt +0.050; Box-channel U-Net +0.100; LiteMedSAM, zero-shot, −0.100 and −0.070; LiteMedSAM, fine-tuned, +0.120." in one
    )
    assert "0.81" in said["front_reader"]
    assert prompts.answer(table, PROFILE, readers).count("\n- ") == 3


def test_a_table_has_a_row_a_method_and_a_column_a_prompt(finished):
    table = prompts.printable(prompts.front_table(finished, PROFILE), pd.Series(0.81, PATIENTS)).set_index("method")
    assert list(table.columns) == ["no prompt", "box on one slice", "box on every slice"]
    assert table.loc["U-Net"].str.startswith("0.70 [").all()
    assert table.loc["best without a network", "no prompt"] == "–"
    assert table.loc["another reader's own outline"].str.startswith("0.81").all()
    assert len(table) == 7


def test_what_was_not_run_is_said_and_nothing_is_made_up(finished):
    table = prompts.front_table(finished[2:3], PROFILE)
    said = prompts.sentences(table, PROFILE)
    assert not any(letter.isdigit() for letter in said["front_box_one_slice"] + said["front_reader"])
    empty = prompts.sentences(table[:0], PROFILE)
    assert not any(letter.isdigit() for letter in empty["front_alone"])


def test_with_one_reader_the_reference_judges_and_there_is_no_human_band():
    found = [
        _result("baselines_zero_shot", 0.6, None, profile="smoke", dataset="phantom_nsclc"),
        _result("unet_full", 0.7, None, profile="smoke", dataset="phantom_nsclc"),
    ]
    table = prompts.front_table(found, "smoke")
    assert table.set_index(["setting", "role"]).loc[("box_one_slice", "automatic"), "gain"] == pytest.approx(0.1)
    assert prompts.readers_of(found, "smoke") is None


@pytest.mark.parametrize("layout", [prompts.WIDE, prompts.COMPACT, prompts.NARROW])
def test_the_figure_has_a_line_a_row_and_a_band_of_readers(finished, layout):
    table = prompts.front_table(finished, PROFILE)
    readers = pd.Series(np.linspace(0.7, 0.9, len(PATIENTS)), PATIENTS)
    figure = prompts.front_figure(table, readers, layout)
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert sum("best without a network" in text for text in texts) == 2
    assert sum(text.endswith("†") for text in texts) == 6
    assert ("minus gray bar" in texts) == (layout != prompts.NARROW)
    assert axes.get_xlabel().count("trained on these images") == 1
    without = prompts.front_figure(table, None, layout)
    assert "another reader" not in [text.get_text() for text in without.axes[0].texts]


def test_the_short_answer_has_three_sentences_and_names_whose_each_number_is(finished):
    table = prompts.front_table(finished, PROFILE)
    said = prompts.short_answer(table, PROFILE, pd.Series(0.81, PATIENTS))
    assert said.count(". ") == 2
    assert "U-Net reaches a mean Dice of 0.70" in said
    assert "another reader reaches 0.81" in said
    assert said.count("LiteMedSAM reaches 0.58 †") == 2  # of both windows the one for lungs
    assert said.count("a rule without a network (Otsu threshold) 0.65") == 2
    assert said.count("a U-Net that is given the boxes 0.75") == 2
    assert not any(letter.isdigit() for letter in prompts.short_answer(table[:0], PROFILE))


def test_the_strip_of_pictures_says_why_it_is_empty_where_no_prediction_is_here(finished):
    figure, said = front_strip.strip(finished, PROFILE)
    assert "no picture" in said
    assert not figure.axes


@pytest.mark.parametrize(
    ("tested", "public", "shown"),
    [
        (["lidc_nodules", "lidc_idri"], False, "lidc_nodules"),
        (["lidc_nodules", "lung_4d", "lidc_idri"], True, "lidc_idri"),  # only its license lets images be passed on
        (["lidc_nodules"], True, ""),
    ],
)
def test_a_public_edition_shows_a_case_that_may_be_passed_on(tested, public, shown):
    run = SimpleNamespace(results=pd.DataFrame({"test_dataset": tested}))
    assert case_pictures.dataset_shown(run, "lidc_nodules", public) == shown

"""Methods by who draws the prompt, on values made by hand."""

import pandas as pd
import pytest

from lungseg_utils.evaluation import judges
from lungseg_utils.experiments import results
from lungseg_utils.reporting import prompt_sources
from tests.support.results_by_readers import DATASET, PATIENTS, finished_experiment


def _result(notebook: str, own: float, by_others: float, settings=("box_one_slice",), **run):
    means = (("reference", "consensus", own), ("reference", "reader-1", 0.0), ("another_reader", judges.OTHERS, by_others))
    return finished_experiment(notebook, means, settings, **run)


@pytest.fixture
def finished():
    return [
        _result("baselines_zero_shot", 0.70, 0.60),
        _result("baselines_zero_shot", 0.50, 0.65, variant=1),
        _result("unet_prompted_full", 0.80, 0.75),
        _result("litemedsam_fine_tuned", 0.82, 0.70),
        _result("unet_full", 0.60, 0.55, settings=("none",)),
    ]


def test_each_source_has_its_own_best_opponent_without_a_network(finished):
    readers = pd.Series(0.8, PATIENTS)
    table = prompt_sources.claims(finished, DATASET, readers)
    model = table[table["method"].str.startswith("LiteMedSAM")].set_index("prompt drawn by")
    assert set(model.index) == {"the reference itself", "another reader"}
    assert model["n"].tolist() == [len(PATIENTS)] * 2
    own, by_reader = model.loc["the reference itself"], model.loc["another reader"]
    assert own["DSC"].startswith("0.820 [")  # the reference judges, not the single readers
    assert own["minus best without a network"] == "0.120 [0.120, 0.120]"
    assert by_reader["minus best without a network"] == "0.050 [0.050, 0.050]"  # another rule is best here
    assert own["minus box-channel U-Net"] == "0.020 [0.020, 0.020]"
    assert by_reader["minus box-channel U-Net"] == "−0.050 [−0.050, −0.050]"
    assert by_reader["minus a reader, judged alike"].startswith("−0.100 [")
    assert own["minus a reader, judged alike"] == "–"
    assert set(model["first weights had seen"]) == {"same images and labels"}
    assert set(table["first weights had seen"][table["method"].str.startswith("Box-channel")]) == {"–"}


def test_without_a_prompt_there_is_no_prediction_without_a_network():
    found = [_result("baselines_zero_shot", 0.0, 0.0, settings=("none",)), _result("unet_full", 0.6, 0.55, settings=("none",))]
    table = prompt_sources.claims(found, DATASET, pd.Series(0.8, PATIENTS))
    assert table["method"].str.startswith("U-Net").all()
    assert set(table["minus best without a network"]) == {"–"}


def test_nobody_is_compared_with_itself(finished):
    table = prompt_sources.claims(finished, DATASET, pd.Series(0.8, PATIENTS))
    box_channel = table[table["method"].str.startswith("Box-channel")]
    assert set(box_channel["minus box-channel U-Net"]) == {"–"}


def test_data_sets_without_prompts_of_another_reader_have_no_such_table(finished):
    assert prompt_sources.datasets(finished) == [DATASET]
    plain = finished[0].results[finished[0].results["source"] == "reference"]
    other = results.RunResult(finished[0].experiment, None, plain, pd.DataFrame(), pd.DataFrame(), {})
    assert prompt_sources.datasets([other]) == []

"""Tables of the models' pages and the figure of the front page, on results made by hand."""

import numpy as np
import pandas as pd
import pytest

from lungseg_utils import registry
from lungseg_utils.book import chapters
from lungseg_utils.core import project
from lungseg_utils.evaluation import protocols
from lungseg_utils.experiments import analysis_plan, config, planning, results
from lungseg_utils.experiments.costs.table import one_setting, read
from lungseg_utils.reporting import certainty, costs, model_pages, protocol
from lungseg_utils.reporting.ladder import ladder_table
from lungseg_utils.reporting.values import dsc_by_patient
from tests.support.sample_results import PATIENTS, result_of, values_around


@pytest.fixture
def finished():
    one, every, none = ("box_one_slice", 0.0), ("box_every_slice", 0.0), ("none", 0.0)
    unet = result_of(
        planning.make_experiment("unet_full", "phantoms"),
        {none: values_around(0.5), one: values_around(0.6, 1), every: values_around(0.62, 2)},
        train=["a", "b"],
    )
    ellipse = result_of(
        planning.make_experiment("baselines_zero_shot", "phantoms"),
        {none: [0.0] * 12, one: values_around(0.55, 4), every: values_around(0.85, 5)},
    )
    sam = result_of(
        planning.make_experiment("medsam_fine_tuned", "phantoms"),
        {one: [0.0, *values_around(0.7, 6)[1:]], every: values_around(0.9, 7)},
        train=["a", "b"],
    )
    sam2 = result_of(
        planning.make_experiment("medsam2_fine_tuned", "phantoms"),
        {one: values_around(0.65, 8), every: values_around(0.88, 9)},
        train=["a"],
    )
    return [unet, ellipse, sam, sam2]


@pytest.fixture
def facts():
    return pd.DataFrame({"diameter_mm": [20.0] * 3 + [50.0] * 9}, index=PATIENTS)


def test_the_page_lists_the_models_of_the_grid_without_the_baselines():
    known = model_pages.names()
    assert {"unet", "sam", *registry.published()} <= set(known)
    assert [name for name in chapters.models() if name != "trivial"] == known


def test_a_glance_at_all_models_says_what_their_cards_and_the_measured_sizes_say(finished):
    stored = read(project.project_root() / "data" / "results" / "efficiency_cpu.csv")
    finished[0].provenance["parameters"] = 160_000
    table = model_pages.at_a_glance({"unet": finished[:1], "litemedsam": [], "medical_sam2": [], "unet_prompted": []}, stored)
    assert table["Model"].tolist() == ["U-Net", "LiteMedSAM", "Medical SAM 2", "Box-channel U-Net"]
    assert table["Reads a CT as"].iloc[0] == "3-D patches"
    assert table["Labels it needs"].tolist() == ["few or all", "none, few or all", "none, few or all", "few or all"]
    assert table["Prompt"].tolist() == ["none", "boxes", "boxes, clicks", "boxes"]
    assert table["Parameters: full size"].tolist() == ["19 M", "9.8 M", "39 M", "–"]
    assert table["here"].tolist() == ["0.16 M", "–", "–", "–"]
    assert table["In this edition"].tolist() == ["trained here: full training", "not run", "not run", "not run"]


def test_two_models_that_share_a_stand_in_have_the_same_members():
    everything = [result_of(e, {}) for line in config.load().lines("phantoms") for e in planning.planned_runs(line.notebook, "phantoms")]
    models = model_pages.names()
    names = {model: [r.experiment.name for r in model_pages.members(model, "phantoms", everything)] for model in models}
    assert names["medsam2"] == names["medical_sam2"]
    assert names["medsam"] == names["litemedsam"]
    assert len(names["medsam"]) == 3
    assert len(names["sam"]) == 2  # and the control with random weights
    assert model_pages.here("medsam", model_pages.members("medsam", "phantoms", everything)) == "stand-in: zero-shot, few-shot, fine-tuned"
    assert model_pages.here("nnunet", model_pages.members("nnunet", "phantoms", everything)) == "trained here: full training, few-shot"
    assert model_pages.here("sam", []) == "not run"


def test_a_models_numbers_come_with_the_differences_to_its_opponents(finished):
    ladders = {"phantom_nsclc": ladder_table(finished, "phantom_nsclc")}
    table = model_pages.numbers(ladders, finished[2:3])
    assert list(table["prompt"]) == ["box on every slice", "box on one slice"]
    assert table["DSC, NSCLC-like, n = 12"].iloc[0].startswith("0.90")
    assert table["minus best baseline"].iloc[0].startswith("0.05")
    assert table["minus control"].iloc[0].startswith("0.28")
    own = model_pages.numbers(ladders, finished[:1])
    assert list(own["prompt"]) == ["no prompt"]  # cut to a prompt it is a control
    assert own[["minus best baseline", "minus control"]].iloc[0].tolist() == ["–", "–"]  # no rule predicts without a prompt


def test_the_answer_names_what_ran_by_whose_weights(finished):
    said = model_pages.answer({"unet": finished[:1], "medsam": finished[2:3], "sam": []})
    assert said.startswith(
        "The book describes 3 models. This edition trained U-Net from random weights, replaced MedSAM by stand-ins and did not run SAM."
    )
    assert "no results of the published model" in said
    assert "stand-in" not in model_pages.answer({"unet": finished[:1]})


def test_a_model_that_did_not_run_has_words_and_no_tables(finished):
    assert model_pages.page_values("sam", [], ["phantom_nsclc"]) == {"sam_ran": "", "sam_here": "not run", "sam_parameters": "–"}
    assert model_pages.tables_of("sam", "phantoms", [], {}, pd.DataFrame()) == {}


def test_failures_of_a_family_count_empty_answers_and_set_small_tumors_apart(finished, facts):
    table = model_pages.failures(finished[2:3], facts, "phantom_nsclc").set_index("prompt")
    assert table.loc["box on one slice", "empty"] == 1
    assert table.loc["box on one slice", "lowest DSC"] == "0.00"
    assert table.loc["box on every slice", "empty"] == 0
    values = dsc_by_patient(finished[2], "phantom_nsclc", "box_one_slice")
    assert table.loc["box on one slice", "DSC, tumors up to 30 mm, n = 3"] == f"{values.iloc[:3].mean():.2f}"
    finished[2].provenance["parameters"] = 160_000
    found = model_pages.page_values("medsam", finished[2:3], ["phantom_nsclc"])
    assert (found["medsam_here"], found["medsam_parameters"]) == ("stand-in: fine-tuned", "0.16 M")
    assert (found["medsam_predictions"], found["medsam_empty"], found["medsam_empty_prompted"], found["medsam_failed"]) == (24, 1, 1, 0)
    assert "stand-in" in found["medsam_ran"]


def test_a_setup_names_what_ran_and_what_the_published_weights_get(finished, monkeypatch):
    lines = [line for line in config.load().lines("phantoms") if line.notebook == "medsam_fine_tuned"]
    monkeypatch.setattr(model_pages.config.Grid, "lines", lambda self, profile: lines)
    history = pd.DataFrame({"step": [3], "quantity": ["seconds"], "value": [61.2]})
    result = results.RunResult(**{**vars(finished[2]), "history": history, "provenance": {**finished[2].provenance, "parameters": 12345}})
    table = model_pages.setup("medsam", "phantoms", [result]).set_index("setting")
    assert list(table.columns) == ["fine-tuned", "with the published weights"]
    assert table.loc["what runs", "fine-tuned"] == planning.experiment_title(result.experiment)
    assert table.loc["parameters", "fine-tuned"] == "12,345"
    assert table.loc["labeled patients, training + validation", "fine-tuned"] == "2 + 0"
    assert table.loc["seconds of training, here", "fine-tuned"] == "61"
    assert table.loc["picture (pixels)"].tolist() == ["64 × 64", "1024 × 1024"]
    assert table.loc["CT window (HU)", "with the published weights"] == "−160 to 240"
    assert table.loc["side of what is seen around a box, at least (mm)"].tolist() == ["40", "the whole slice"]
    assert table.loc["loss", "fine-tuned"] == "Dice + cross-entropy, per image"
    assert "training patch" not in " ".join(table.index)


def test_training_options_say_nothing_of_what_is_used_as_it_is():
    options = registry.card("models", "sam_stand_in").options
    assert (
        model_pages._options({k: v for k, v in options.items() if k not in model_pages._TRAINING})
        .keys()
        .isdisjoint({model_pages._LABELS[name] for name in model_pages._TRAINING})
    )


def _trap(result):
    rows = []
    for number, function in enumerate(protocols.PROTOCOLS[:-1]):
        row = {
            "experiment": result.experiment.name,
            "title": planning.experiment_title(result.experiment),
            "model": planning.model_title(result.experiment),
            "setting": "none",
            "n": 12,
            "share": 0.25,
        }
        value = 0.5 + 0.02 * number
        rows.append(row | {"protocol": function([]).name, "value": value, "shift": value - 0.5, "rank": 1.0})
    return pd.DataFrame(rows)


def test_the_trap_gives_a_value_a_shift_and_a_share_for_each_protocol(finished):
    answers = protocol.trap_values(_trap(finished[0]), finished[0].experiment.name, "none")
    assert (answers["trap_volume"], answers["trap_volume_shift"]) == ("0.50", "0.000")
    assert (answers["trap_tumor_slices"], answers["trap_tumor_slices_shift"], answers["trap_tumor_slices_slices"]) == (
        "0.54",
        "+0.040",
        "25 %",
    )


def test_the_own_protocol_stands_against_the_most_and_the_least_flattering_one():
    rows = [("own", 0.5, 0.0, 12), ("flattering", 0.8, 0.3, 9), ("strict", 0.25, -0.25, 12)]
    trap = pd.DataFrame(rows, columns=["protocol", "value", "shift", "n"]).assign(experiment="e", setting="none")
    other = trap.assign(experiment="f", value=0.9, shift=0.4)
    assert protocol.own_values(pd.concat([other, trap], ignore_index=True), "e", "none") == {
        "trap_own": "0.50",
        "trap_most": "0.80",
        "trap_least": "0.25",
        "trap_most_name": "flattering",
        "trap_own_dsc": 0.5,
        "trap_most_dsc": 0.8,
        "trap_n": 12,
    }


def test_protocols_that_put_another_method_first_are_counted():
    rows = [
        (p, e, r) for p, ranks in (("own", (1, 2, 3)), ("same", (1, 2, 3)), ("other", (2, 1, 3))) for e, r in zip("abc", ranks, strict=True)
    ]
    trap = pd.DataFrame(rows, columns=["protocol", "experiment", "rank"]).assign(setting="click")
    answers = protocol.order_values(trap, protocol.rank_agreement(trap), "click")
    assert (answers["trap_click_methods"], answers["trap_click_others"], answers["trap_click_another_first"]) == (3, 2, 1)
    assert answers["trap_click_least_tau"] == "0.33"
    ranks = pd.DataFrame({"rank_low": [1.0, 1.0, 3.0]})
    assert certainty.rank_values(ranks, "click") == {"ranks_click_methods": 3, "ranks_click_may_be_first": 2}


def test_costs_of_one_model_name_its_sizes_and_no_accuracy():
    measured = one_setting(read(project.project_root() / "data" / "results" / "efficiency_cpu.csv"))
    table = costs.printable_family(measured, "nnunet")
    assert list(table["full size"]) == ["nnU-Net 2d", "nnU-Net 3d_fullres"]
    assert "one volume, no prompt, mirrored" in table
    prompted = costs.printable_family(measured, "medsam2")
    assert [c for c in prompted if c.startswith("one volume")] == ["one volume, box on one slice", "one volume, box on every slice"]
    assert not any("DSC" in column for column in [*table, *prompted])
    assert np.isfinite(float(prompted["parameters (M)"].iloc[0]))
    assert analysis_plan.load().automatic_control == "unet_full"

"""What experiments say together, on tables made by hand: the ladder, contrasts, labels, curves, strata, failures, and the leaderboard."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lungseg_utils.core import masks
from lungseg_utils.evaluation import metrics, protocols
from lungseg_utils.experiments import analysis_plan, config, planning, store
from lungseg_utils.experiments import results as experiments_results
from lungseg_utils.experiments.results import RunResult
from lungseg_utils.reporting import box_accuracy as robustness
from lungseg_utils.reporting import (
    certainty,
    controls,
    drawing_shifts,
    failures,
    labels,
    ladder,
    methods,
    protocol,
    results,
    seeds,
    selection,
    strata,
    whole_chests,
)
from lungseg_utils.reporting import labels_or_prompts as few_shot
from lungseg_utils.reporting.results import experiment_titles, methods_by_setting
from lungseg_utils.reporting.values import dsc_by_patient
from lungseg_utils.types import Mask
from lungseg_utils.viewers import failure_wall
from lungseg_utils.viewers.leaderboard import leaderboard
from tests.support.sample_results import PATIENTS, TITLES, result_of, sample_results, values_around


@pytest.fixture
def finished():
    boxes = ("box_one_slice", 0.0)
    unet = result_of(
        planning.make_experiment("unet_full", "phantoms"),
        {("none", 0.0): values_around(0.5), boxes: values_around(0.6, 1)},
        train=["a", "b"],
        labels=["c"],
    )
    few = result_of(
        planning.make_experiment("unet_few_shot", "phantoms"),
        {("none", 0.0): values_around(0.3, 2), boxes: values_around(0.4, 3)},
        train=["a"],
    )
    ellipse = planning.make_experiment("baselines_zero_shot", "phantoms")
    ellipse = result_of(ellipse, {("none", 0.0): [0.0] * 12, boxes: values_around(0.55, 4)})
    otsu = planning.planned_runs("baselines_zero_shot", "phantoms")[1]
    otsu = result_of(otsu, {("none", 0.0): [0.0] * 12, boxes: values_around(0.65, 5)})
    sam = {
        boxes: [0.0, *values_around(0.7, 6)[1:]],
        ("box_one_slice", 0.1): values_around(0.6, 7),
        ("box_one_slice", 0.4): values_around(0.2, 8),
    }
    sam = result_of(planning.make_experiment("medsam_fine_tuned", "phantoms"), sam, actions=1.5, train=["a", "b"], labels=["c"])
    return [unet, few, ellipse, otsu, sam]


def test_the_ladder_sets_each_answer_beside_its_two_controls(finished):
    table = ladder.ladder_table(finished, "phantom_nsclc").set_index(["setting", "experiment"])
    unet, few, ellipse, otsu, sam = (r.experiment.name for r in finished)
    row = table.loc["box_one_slice", sam]
    own, control, best = (dsc_by_patient(r, "phantom_nsclc", "box_one_slice") for r in (finished[4], finished[0], finished[3]))
    assert row["over_control"] == pytest.approx((own - control).mean())
    assert row["over_trivial"] == pytest.approx((own - best).mean())
    assert row["over_control_low"] < row["over_control"] < row["over_control_high"]
    assert (row["role"], row["actions"], row["labels"], row["n"]) == ("model", 1.5, 3, 12)
    assert (row["dsc_detected"], row["n_detected"]) == (pytest.approx(own[own > 0].mean()), 11)
    assert table.loc["box_one_slice", few]["role"] == "control"
    assert table.loc["none", few]["role"] == "model"
    assert table.loc["none", few]["labels"] == 1
    assert table.loc["box_one_slice", ellipse]["role"] == "trivial"
    assert np.isnan(table.loc["box_one_slice", unet]["over_control"])  # not against itself
    assert np.isnan(table.loc["box_one_slice", otsu]["over_trivial"])
    assert list(dict.fromkeys(ladder.ladder_table(finished, "phantom_nsclc")["setting"])) == ["box_one_slice", "none"]


def test_settings_say_what_they_leak_and_cost(finished):
    table = ladder.printable_settings(ladder.ladder_table(finished, "phantom_nsclc")).set_index("prompt")
    assert table.loc["box on one slice", "seconds of a person"] == "10 to 52"  # 1.5 boxes of 7 to 35 s
    assert table.loc["no prompt", "actions per patient"] == "none"
    assert "Otsu" in table.loc["box on one slice", "best without a network"]


def test_a_family_has_six_places_and_says_why_one_is_empty(finished, monkeypatch):
    known = {r.experiment.name: r for r in finished}
    monkeypatch.setattr(
        experiments_results,
        "open_result",
        lambda e: known.get(e.name, result_of(e, {(r, 0.0): values_around(0.8) for r in ("box_every_slice", "box_one_slice")})),
    )
    monkeypatch.setattr(experiments_results, "is_finished", lambda e: e != finished[4].experiment)
    monkeypatch.setattr(methods, "open_result", experiments_results.open_result)
    table = certainty.contrasts("phantoms", "phantom_nsclc").set_index("name")
    assert len(table) == 6
    assert table.loc["one box against automatic + prompt", "method"].startswith("not run yet: ")
    few = table.loc["five patients against all"]
    a, b = (dsc_by_patient(r, "phantom_nsclc", "none") for r in (finished[1], finished[0]))
    assert few["difference"] == pytest.approx((a - b).mean())
    assert few["p"] == pytest.approx(2 / 2**12)  # all twelve differences have one sign
    assert few["p_holm"] == pytest.approx(6 * few["p"])
    assert 0 < few["detectable"] < 0.1
    assert "not applicable" in table.loc["every-slice box against ellipse", "method"]
    assert "not asked in this edition" in table.loc["detector box against the detector's own mask", "method"]
    printed = certainty.printable_contrasts(table.reset_index())
    assert list(printed["p, Holm"]).count("–") == table["p"].isna().sum() >= 2
    appendix = certainty.printable_appendix(table.reset_index()).set_index("contrast")
    assert set(appendix.index) == set(table.index[table["n"] > 0])
    assert appendix.loc["five patients against all", "DSC: p, Wilcoxon"] == "under 0.001"
    assert appendix.loc["five patients against all", "difference, NSD at 3 mm"].startswith("0.00")
    said = printed.set_index("contrast")["what is said"]
    assert said["five patients against all"].startswith("the second is higher (no claim: 12 patients)")
    answers = certainty.contrast_values(table.reset_index())
    assert answers["contrasts_significant"] == 1
    assert "five patients against all" in answers["contrasts_named"]
    untested = certainty.contrast_values(table.reset_index().assign(p=np.nan, p_holm=np.nan))
    assert (untested["contrasts_tested"], untested["contrasts_n"]) == (0, 12)  # differences of twelve patients all the same
    assert "1 show a difference in Dice after correction for all 6" in certainty.answer(table.reset_index(), "phantoms", "")
    assert certainty.answer(table.reset_index().assign(p=np.nan, p_holm=np.nan), "phantoms", "").startswith("None of the 6")
    short = certainty.short_table(table.reset_index()).set_index("contrast")["result"]
    assert short["one box against automatic + prompt"].startswith("not run yet")
    figure = certainty.contrast_figure(table.reset_index())
    assert len(figure.axes[0].get_yticklabels()) == (table["n"] > 0).sum()


def test_robustness_starts_at_no_error_and_never_mixes_shares(finished):
    table = robustness.robustness(finished, "phantom_nsclc")
    assert list(table["jitter"]) == [0.0, 0.1, 0.4]
    assert list(table["dsc"].round(2))[1:] == [0.6, 0.2]
    shifts = pd.DataFrame([("box_one_slice", 0.1, 1.94, 12)], columns=drawing_shifts.COLUMNS)
    assert list(table["change"].round(2)) == [0.0, -0.04, -0.44]  # one of twelve exact prompts was missed
    said = robustness.answer(robustness.lines_shown(table), shifts, "phantoms")
    assert "up to 10 % of the lesion's size, phantoms, n = 12" in said  # nearest to 20 %
    assert "off by 1.9 mm on average" in said
    assert said.count("(**0.64** exact, **−0.0") == 2
    changes = robustness.printable_changes(robustness.lines_shown(table))
    assert changes["box on one slice"][0].startswith("0.64, −0.0")
    assert list(robustness.printable_robustness(table, "box_one_slice", shifts).columns) == ["method", "0 mm", "1.9 mm (10 %)", "40 %"]
    empty = robustness.robustness(finished[:2], "phantom_nsclc")
    assert empty.empty
    assert "no answer" in robustness.answer(robustness.lines_shown(empty), shifts, "phantoms")
    with pytest.raises(ValueError, match="jittered"):
        methods_by_setting(finished[4].results, experiment_titles(finished), "phantom_nsclc")


def test_curves_put_full_training_at_all_and_zero_shot_at_none(finished):
    curve = few_shot.few_shot(finished, "phantom_nsclc", "none")
    assert {(row["model"], row["k"]) for _, row in curve.iterrows()} == {("U-Net", "all"), ("U-Net", 5)}
    zero = result_of(planning.make_experiment("medsam_zero_shot", "phantoms"), {("box_one_slice", 0.0): values_around(0.3)})
    curve = few_shot.few_shot([*finished, zero], "phantom_nsclc", "box_one_slice")
    sam = curve[curve["model"].str.startswith("SAM-type")]
    assert {str(k) for k in sam["k"]} == {"0", "all"}
    assert sam["model"].nunique() == 1
    table = few_shot.few_shot_runs(finished, "phantom_nsclc", "none")
    said = few_shot.answer({"none": table}, {}, "U-Net", "phantoms")
    assert "**0.30** with 5 patients and **0.50** with all patients (phantoms, n = 12)" in said
    assert set(few_shot.printable_few_shot(table)["the method"]) == {"no claim: one run"}


def test_labels_are_rows_and_a_model_with_a_prompt_is_a_column(finished):
    tables = {setting: few_shot.few_shot_runs(finished, "phantom_nsclc", setting) for setting in ("none", "box_one_slice")}
    table = few_shot.printable_by_labels(tables).set_index("labeled patients")
    assert list(table.index) == ["5", "all"]
    assert table["U-Net, no prompt"].str[:4].tolist() == ["0.30", "0.50"]
    sam = next(name for name in table if name.startswith("SAM-type"))
    assert table[sam].str[:4].tolist() == ["–", "0.64"]
    empty = {setting: part[:0] for setting, part in tables.items()}
    assert not any(letter.isdigit() for letter in few_shot.answer(empty, dict.fromkeys(empty), "U-Net", "phantoms"))


def test_training_that_falls_below_zero_shot_is_said():
    box = ("box_one_slice", 0.0)
    zero = result_of(planning.make_experiment("medsam_zero_shot", "phantoms"), {box: values_around(0.5)})
    made = [planning.make_experiment("medsam_few_shot", "phantoms", draw=d) for d in range(3)]
    draws = [result_of(experiment, {box: values_around(0.4 + 0.02 * d, d)}) for d, experiment in enumerate(made)]
    full = result_of(planning.make_experiment("medsam_fine_tuned", "phantoms"), {box: values_around(0.7)})
    table = few_shot.few_shot_runs([zero, *draws, full], "phantom_nsclc", "box_one_slice").set_index("k")
    assert table.loc[5, "over_zero_shot"] == pytest.approx(0.42 - 0.5)
    assert table.loc["all", "over_zero_shot"] == pytest.approx(0.2)
    assert np.isnan(table.loc[0, "over_zero_shot"])
    said = few_shot.below_zero_shot(table.reset_index())
    assert "5 patients −0.080 [" in said
    assert "all patients" not in said
    rising = few_shot.few_shot_runs([zero, full], "phantom_nsclc", "box_one_slice")
    assert few_shot.below_zero_shot(rising) == "No training falls below zero-shot."
    assert few_shot.below_zero_shot(rising[rising["k"] == 0]) == ""


def test_draws_are_compared_with_the_automatic_model_on_the_same_draws_only(finished):
    box = ("box_one_slice", 0.0)
    unets = [
        result_of(planning.make_experiment("unet_few_shot", "phantoms", draw=d), {box: values_around(0.4 + 0.1 * d, d)}) for d in range(3)
    ]
    sams = [
        result_of(planning.make_experiment("medsam_few_shot", "phantoms", draw=d), {box: values_around(0.5 + 0.1 * d, d + 5)})
        for d in range(4)
    ]
    table = few_shot.few_shot_runs([*unets, *sams], "phantom_nsclc", "box_one_slice").set_index("model")
    sam = table.loc[next(name for name in table.index if name.startswith("SAM-type"))]
    assert (sam["runs"], sam["over_control_runs"]) == (4, 3)
    assert sam["over_control"] == pytest.approx(0.1)
    assert sam["dsc"] == pytest.approx(0.65)
    assert (sam["lowest"], sam["highest"]) == (pytest.approx(0.5), pytest.approx(0.8))
    assert np.isnan(table.loc["U-Net", "over_control"])


def test_runs_of_one_method_are_spread_and_single_ones_left_out(finished):
    assert seeds.seed_spread(finished, "phantom_nsclc").empty
    again = result_of(planning.make_experiment("unet_full", "phantoms", seed=1), {("none", 0.0): values_around(0.7, 9)})
    table = seeds.seed_spread([*finished, again], "phantom_nsclc")
    assert len(table) == 1
    assert (table["lowest"][0], table["highest"][0]) == (pytest.approx(0.5), pytest.approx(0.7))
    assert table["sd"][0] == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert table["method_low"][0] < table["trained_low"][0] < table["dsc"][0] < table["trained_high"][0] < table["method_high"][0]
    assert "the method" in table["method_how"][0]
    assert len(seeds.printable_spread(table)) == 1
    assert "Dice" in seeds.seeds_figure(table).axes[0].get_xlabel()
    assert "U-Net" in seeds.seed_values(table)["seeds_answer"]
    assert "deviation of 0.141 to 0.141 (phantoms)" in seeds.answer(table, "phantoms")
    assert "nothing is known" in seeds.answer(table.iloc[:0], "phantoms")
    assert "nothing is known" in seeds.seed_values(table.iloc[:0])["seeds_answer"]


def test_methods_are_compared_only_where_both_were_trained_more_than_once(finished):
    box = ("box_one_slice", 0.0)
    sam = result_of(planning.make_experiment("medsam_fine_tuned", "phantoms", seed=1), {box: values_around(0.8, 7)})
    assert seeds.method_differences([*finished, sam], "phantom_nsclc").empty
    unet = result_of(
        planning.make_experiment("unet_full", "phantoms", seed=1), {box: values_around(0.4, 8), ("none", 0.0): values_around(0.4, 9)}
    )
    table = seeds.method_differences([*finished, sam, unet], "phantom_nsclc")
    assert list(table["runs"]) == [2]
    first = dsc_by_patient(finished[4], "phantom_nsclc", "box_one_slice")
    assert table["difference"][0] == pytest.approx((first.mean() + 0.8) / 2 - 0.5)
    assert "U-Net" in table["b"][0]
    assert len(seeds.printable_differences(table)) == 1
    assert seeds.how(pd.Series(["a t interval", "a bootstrap", "a t interval"])) == "95 % intervals: a t interval; a bootstrap."


def test_the_best_of_several_draws_is_told_apart_from_their_mean(finished):
    assert robustness.best_of_draws(finished, "phantom_nsclc").empty
    sam = finished[4]
    rows = sam.results[(sam.results["jitter"] == 0.1) & (sam.results["metric"] == "dsc")]
    best = rows.assign(metric=metrics.BEST_OF_DRAWS, value=rows["value"] + 0.07)
    table = robustness.best_of_draws([replace(sam, results=pd.concat([sam.results, best]))], "phantom_nsclc")
    assert (table["gain"][0], table["jitter"][0], table["n"][0]) == (pytest.approx(0.07), 0.1, 12)
    shifts = pd.DataFrame([("box_one_slice", 0.1, 1.94, 12)], columns=drawing_shifts.COLUMNS)
    assert robustness.printable_best_of_draws(table, shifts)["error"][0] == "1.9 mm (10 %)"


def test_choosing_by_labels_that_nobody_counts_brings_what_it_brings():
    """With 190 steps the first six patients score better, with 760 the others: chosen on the tested ones, the larger half always wins."""
    first = np.array([1.0] * 6 + [0.0] * 6)
    answers = {steps: first if steps == 190 else 1 - first for steps in (190, 760)}
    finished = [
        result_of(planning.make_experiment("unet_few_shot", "selection", options={"steps": steps}), {("none", 0.0): values})
        for steps, values in answers.items()
    ]
    table = selection.selection(finished, "phantom_nsclc", "none", others=4)
    fixed, free, tested = table["dsc"]
    assert fixed == pytest.approx(0.5, abs=0.02)
    assert free < fixed < tested  # the others are better off where the tested ones are worse off
    assert list(table["labels"]) == [5, 9, 13]
    assert set(table["n"]) == {8}
    assert selection.printable_selection(table)["shift"][2].startswith("+")
    assert selection.selection_values(table)["selection_free"].startswith("−")


def test_a_drop_on_the_external_test_set_is_between_independent_groups(finished):
    unet = finished[0]
    other = unet.results.assign(test_dataset="phantom_msd", patient_id="M" + unet.results["patient_id"])
    other.loc[other["metric"] == "dsc", "value"] -= 0.2
    table = whole_chests.external_results(
        [replace(unet, results=pd.concat([unet.results, other])), *finished[1:]], "phantom_nsclc", "phantom_msd"
    )
    assert list(table["setting"]) == ["box_one_slice", "none"]  # nothing else was asked of both
    assert table["drop"].tolist() == pytest.approx([0.2, 0.2])
    paired = (table["drop_low"] == table["drop_high"]).any()
    assert not paired
    assert "n = 12" in whole_chests.external_table(table).columns[2]
    assert whole_chests.external_values(table, "none") | {"largest_drop": ""} == {
        **{"n_methods": 1, "n_lower": 1, "largest_drop": "", "largest_drop_of": table["title"].iloc[1]}
    }
    assert whole_chests.external_values(table, "click")["n_methods"] == "(not run yet)"
    (method,) = methods.group_runs([replace(unet, results=pd.concat([unet.results, other]))])
    values = whole_chests.drop_values(method, "phantom_nsclc", "phantom_msd")
    assert values["drop"].startswith("0.200 [")
    assert (values["n_internal"], values["n_external"]) == (12, 12)
    names = ("phantom_nsclc", "the ones"), ("phantom_msd", "the others")
    assert "0.50 on them (n = 12) and 0.30 on the others (n = 12), a drop of 0.200 [" in whole_chests.answer(table, *names, method)
    assert "nothing can be said" in whole_chests.answer(table.iloc[:0], *names, method)
    assert len(whole_chests.drops_figure(table).axes) == 2


def test_the_data_set_of_the_training_is_the_internal_one(finished):
    unet, experiment = finished[0], replace(finished[0].experiment, train_dataset="phantom_msd")
    other = unet.results.assign(test_dataset="phantom_msd", patient_id="M" + unet.results["patient_id"])
    other.loc[other["metric"] == "dsc", "value"] -= 0.2
    results = pd.concat([unet.results, other]).assign(experiment=experiment.name)
    table = whole_chests.external_results([replace(unet, experiment=experiment, results=results)], "phantom_nsclc", "phantom_msd")
    assert table["drop"].tolist() == pytest.approx([-0.2, -0.2])


def test_diameters_are_the_longest_in_the_axial_plane():
    array = np.zeros((40, 40, 6), bool)
    array[5:35, 10:12, 2] = True  # 30 x 2 voxels
    array[20, 20:23, 4] = True
    mask = Mask(array, np.diag([1.0, 2.0, 3.0, 1.0]))
    assert masks.longest_axial_diameter_mm(mask) == pytest.approx(np.hypot(29, 2) + 1.5)
    assert np.isnan(masks.longest_axial_diameter_mm(Mask(np.zeros((3, 3, 3), bool), np.eye(4))))


@pytest.mark.parametrize("seed", range(5))
def test_the_short_cut_to_the_farthest_pair_is_exact(seed):
    from scipy.spatial.distance import pdist

    places = np.argwhere(np.random.default_rng(seed).random((12, 15)) > 0.8).astype(float)
    assert pdist(masks._hull(places)).max() == pdist(places).max()


def test_failed_and_empty_answers_are_all_listed_and_the_worst_three(finished):
    crashed = result_of(
        planning.make_experiment("medsam_few_shot", "phantoms"),
        {("box_one_slice", 0.0): [0.0, *values_around(0.4)[1:]]},
        failure="MemoryError: no room",
    )
    table = failures.failure_table([finished[4], crashed], ["phantom_nsclc"])
    kinds = table.groupby("method")["kind"].apply(list).to_dict()
    assert sorted(kinds[planning.experiment_title(finished[4].experiment)]) == ["empty", "worst", "worst"]
    assert sorted(kinds[planning.experiment_title(crashed.experiment)]) == ["failed", "worst", "worst"]
    assert "MemoryError: no room" in set(table["reason"])
    of = table[table["kind"] == "failed"].iloc[0]
    assert (of["experiment"], of["first_run"]) == (crashed.experiment.name, True)


def test_the_text_counts_failed_and_empty_predictions_and_the_empty_ones_despite_a_prompt():
    kinds = [("failed", "none"), ("empty", "none"), ("empty", "click"), ("empty", "box_one_slice"), ("worst", "click")]
    values = failures.failure_values(pd.DataFrame(kinds, columns=["kind", "setting"]))
    assert values == {"failures_failed": 1, "failures_empty": 3, "failures_empty_prompted": 2}


def _box(*ends):
    mask = np.zeros((12, 12, 8), bool)
    mask[tuple(slice(*end) for end in ends)] = True
    return mask


@pytest.mark.parametrize(
    ("kind", "prediction", "index"),
    [
        (failures.MISSED, _box((0, 2), (0, 2), (2, 5)), 2),
        (failures.MISSED, _box((0, 0), (0, 0), (0, 0)), 2),
        (failures.LEAKED, _box((0, 10), (2, 6), (2, 5)), 2),
        (failures.ENDS, _box((2, 6), (2, 6), (2, 8)), 5),
        (failures.SMALL, _box((2, 4), (2, 6), (2, 5)), 2),
    ],
)
def test_a_failure_is_of_the_kind_where_most_of_its_wrong_voxels_lie(kind, prediction, index):
    reference = _box((2, 6), (2, 6), (2, 5))
    assert (failures.classify(reference, prediction).kind, failures.classify(reference, prediction).index) == (kind, index)
    beside = failures.classify(reference, prediction, atelectasis=True)
    assert beside.kind == (failures.MISSED if kind == failures.MISSED else failures.ATELECTASIS)


def test_the_wall_shows_each_case_once_leads_to_it_and_leaks_no_voxel(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "results_folder", lambda experiment: tmp_path / experiment.name)
    monkeypatch.setattr(planning, "experiment_title", lambda experiment: TITLES[experiment.name])
    monkeypatch.setattr(failures, "_POOR", 0.99)
    finished = [replace(r, provenance=r.provenance | {"patients": {}}) for r in sample_results(tmp_path)]
    found = failures.examples(finished, ["phantom_msd", "folder"])
    assert len(found) == 5  # four phantoms with a tumor and one case of a folder
    assert len({example.case_id for example in found}) == 5
    assert {example.title.removesuffix(labels.CONTROL) for example in found} == {*TITLES.values()} - {"trivial: ellipse or ball"}
    assert [list(failures.KINDS).index(example.kind) for example in found] == sorted(list(failures.KINDS).index(e.kind) for e in found)
    shown = failure_wall.wall(found).data
    assert shown.count("<img") == 5
    assert shown.count('href="../explore.html#data=') == 5
    public = failure_wall.wall(found, public=True).data
    assert (public.count("<img"), public.count("href=")) == (4, 5)
    alone = failure_wall.wall([example for example in found if example.dataset == "folder"], public=True).data
    assert (alone.count("<img"), alone.count("does not allow its images")) == (0, 1)
    elsewhere = [replace(r, folder=tmp_path / "stored") for r in finished]
    assert failures.examples(elsewhere, ["phantom_msd"]) == []


def test_a_sentence_on_failures_leaves_out_what_is_not_known():
    values = {"failures_failed": 0, "failures_empty": 1200, "failures_empty_prompted": 3}
    sizes = {"strata_small": "0.40", "strata_large": "–", "strata_small_n": 2, "strata_large_n": 0}
    said = failures.answer(values, 5000, sizes, "phantoms")
    assert "Of 5,000 predictions on phantoms with a tumor, none failed outright and 1,200 were empty" in said
    assert "30 mm" not in said
    assert "0.40 on the 2 phantoms" in failures.answer(values, 5000, sizes | {"strata_large": "0.90", "strata_large_n": 4}, "phantoms")


def test_baselines_that_predict_nothing_without_a_prompt_are_no_failures(finished):
    assert finished[2].experiment.model == "trivial"
    assert set(failures.failure_table([finished[2]], ["phantom_nsclc"])["setting"]) == {"box_one_slice"}
    assert failures.predictions([finished[2]], ["phantom_nsclc"]) == 12


def test_a_short_table_of_tumors_has_a_row_per_level_and_a_few_methods(finished):
    facts = pd.DataFrame(
        {"diameter": ["≤ 20 mm"] * 2 + ["> 20 mm"] * 10, "diameter_mm": np.arange(12.0), "contact": "", "solidity": "solid"}
    )
    facts.index = PATIENTS
    table = strata.short_table(finished, "phantom_nsclc", facts)
    assert table["largest tumor"].tolist() == ["diameter ≤ 20 mm", "diameter > 20 mm", "solidity: solid"]  # contact is not given
    assert table["n"].tolist() == [2, 10, 12]
    assert [method.name for method, _ in controls.representatives(finished, ["phantom_nsclc"])] == [
        finished[i].experiment.name for i in (0, 0, 2, 4)
    ]
    assert table.iloc[2, 2] == "0.50"
    assert set(strata.full_tables(finished, "phantom_nsclc", "none", facts)) == {"diameter", "solidity"}


def test_real_cases_are_shown_one_by_one(finished):
    real = [
        replace(r, results=r.results[r.results["patient_id"].isin(PATIENTS[:2])].assign(test_dataset="lidc_idri"))
        for r in finished
        if r.experiment.model != "trivial"
    ]
    for result in real:
        for case in result.provenance["cases"]:
            case["cut_by_volume_end"] = False
    table = whole_chests.case_table(real, ["lidc_idri"])
    assert table["case"].tolist() == [f"LIDC-IDRI (real): {patient}" for patient in PATIENTS[:2]]
    own = dsc_by_patient(real[0], "lidc_idri", "none")
    assert table["U-Net, full training, no prompt: Dice"].tolist() == [f"{value:.2f}" for value in own]
    assert list(whole_chests.case_matrix(real, ["lidc_idri"]).columns) == ["prompt", "method", *PATIENTS[:2]]
    assert len(whole_chests.case_matrix(real, ["nsclc_radiomics"])) == 0
    said = whole_chests.cases_answer(real, ["lidc_idri"])
    assert f"On 2 real whole CTs, the U-Net that was trained on NSCLC-like phantoms reaches a Dice between {own.min():.2f} and" in said
    assert "No real whole CT" in whole_chests.cases_answer(real, [])


def test_small_tumors_end_at_three_centimeters():
    facts = pd.DataFrame({"diameter_mm": [12.0, 30.0, 31.0]}, index=["a", "b", "c"])
    values = strata.size_values(pd.Series({"a": 0.2, "b": 0.6, "c": 0.9}), facts)
    assert values == {"strata_small": "0.40", "strata_large": "0.90", "strata_small_n": 2, "strata_large_n": 1}
    only_small = strata.size_values(pd.Series({"a": 0.2, "b": 0.6}), facts[:2])
    assert (only_small["strata_large"], only_small["strata_large_n"]) == ("–", 0)


def test_failed_and_empty_answers_are_counted_beside_each_other_by_test_set():
    known = {"first_run": True, "experiment": "e", "case": "c", "dsc": 0.0, "reference_ml": 1.0, "reason": ""}
    given = [
        ("b", "none", "phantom_nsclc", "empty"), ("b", "none", "phantom_nsclc", "empty"), ("b", "none", "phantom_nsclc", "failed"),
        ("b", "none", "phantom_msd", "worst"), ("a", "box_one_slice", "phantom_msd", "empty"), ("a", "none", "phantom_msd", "worst"),
    ]  # fmt: skip
    table = pd.DataFrame([dict(zip(("method", "setting", "test_dataset", "kind"), row, strict=True)) | known for row in given])
    counts = failures.failure_counts(table)
    assert list(counts.columns) == ["method", "prompt", "phantoms, NSCLC-like", "phantoms, MSD-like"]
    assert counts.to_numpy().tolist() == [["b", "no prompt", "2 empty, 1 failed", "–"], ["a", "box on one slice", "–", "1 empty"]]
    assert failures.failure_counts(table[table["kind"] == "worst"]).empty


def test_cells_of_a_leaderboard_may_be_links():
    table = pd.DataFrame({"case": ["PN-1", "<PN-2>"], "DSC": ["0", "1"]})
    text = leaderboard(table, links={"case": ['explore.html#a=1&b="2"', ""]}).data
    assert '<td><a href="explore.html#a=1&amp;b=&quot;2&quot;">PN-1</a></td><td>0</td>' in text
    assert "<td>&lt;PN-2&gt;</td><td>1</td>" in text


def test_ranks_have_a_range_that_holds_the_rank(finished):
    table = certainty.ranks(finished, "phantom_nsclc", "box_one_slice")
    assert table.index[0] in {"U-Net, full training + prompt", *table.index}
    assert ((table["rank_low"] <= table["rank"]) & (table["rank"] <= table["rank_high"])).all()
    assert len(certainty.rank_figure(table).axes[0].get_yticklabels()) == 5


def test_figures_draw_and_name_their_axes(finished):
    table = ladder.ladder_table(finished, "phantom_nsclc")
    (axes,) = ladder.ladder_figure(table, [finished[0].experiment.name, finished[4].experiment.name]).axes
    assert "n = 12" in axes.get_xlabel()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["box on one slice", "no prompt"]
    sam = axes.get_lines()[1]
    assert np.isnan(sam.get_xdata()).tolist() == [False, True]  # its line breaks where it takes no such prompt
    assert axes.patches[0].get_width() == pytest.approx(0.65)  # the better of two rules
    drawn_wrongly = robustness.robustness(finished, "phantom_nsclc")
    assert "%" in robustness.robustness_figure(drawn_wrongly).axes[0].get_xlabel()
    moved = pd.DataFrame([("box_one_slice", 0.1, 2.0, 12), ("box_one_slice", 0.4, 2.0, 12)], columns=drawing_shifts.COLUMNS)
    panel = robustness.robustness_figure(drawn_wrongly, moved).axes[0]
    assert "mm" in panel.get_xlabel()
    assert panel.get_lines()[0].get_xdata().tolist() == [0.0, 2.0, 2.0]
    curves = {setting: few_shot.few_shot(finished, "phantom_nsclc", setting) for setting in ("none", "box_one_slice")}
    without = {setting: few_shot.best_without_network(finished, "phantom_nsclc", setting) for setting in curves}
    assert without["none"] is None
    assert without["box_one_slice"].mean == pytest.approx(0.65)  # the better of two rules
    figure = few_shot.figure(curves, without)
    assert [axes.get_title() for axes in figure.axes] == ["no prompt", "box on one slice"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["5", "all"]


@pytest.mark.parametrize("count", [2, 18])
def test_panels_of_robustness_keep_their_height_under_a_long_legend(count):
    values = {"dsc": 0.5, "dsc_low": 0.4, "dsc_high": 0.6, "n": 60, "setting": "box_one_slice"}
    table = pd.DataFrame(
        [
            {"title": f"SAM 2-type stand-in, CT-like pretraining, few-shot {number}", "role": "promptable", "jitter": jitter, **values}
            for number in range(count)
            for jitter in (0.0, 0.2)
        ]
    )
    shown = robustness.lines_shown(table)
    assert shown["title"].nunique() == min(count, 5)
    figure = robustness.robustness_figure(shown)
    figure.savefig(io.BytesIO())  # lays it out
    assert figure.axes[0].get_window_extent().height / figure.dpi > 2


def test_a_leaderboard_has_a_row_a_method_and_prompt_the_best_first(finished):
    board = results.board({"phantoms": finished}, "phantoms")
    rows = board.shown
    assert list(rows) == list(results.COLUMNS)
    assert rows["prompt"].tolist() == ["box on one slice"] * 5 + ["no prompt"] * 4
    names = ["rule: Otsu threshold", "SAM-type stand-in", "U-Net + prompt", "rule: ellipse or ball", "U-Net + prompt"]
    assert rows["architecture"].tolist()[:5] == names
    sam, few = rows.iloc[1], rows.iloc[4]
    assert (sam["pretraining"], sam["labels"], sam["drawn by"], sam["n"]) == ("CT-like", "3", "reference", 12)
    assert (few["pretraining"], few["labels"]) == ("none", "1")
    best, own = (dsc_by_patient(finished[n], "phantom_nsclc", "box_one_slice") for n in (3, 4))
    assert sam["Dice"].startswith(f"{own.mean():.2f} [")
    assert sam["minus best without a network"].startswith(labels.difference_text((own - best).mean()))
    assert rows["minus best without a network"][0] == "–"
    assert board.links[1] == "medsam_fine_tuned.html"
    assert board.more["method"][4] == "U-Net, few-shot, k = 5 + prompt"
    assert len(board.more) == len(rows) == len(board.links)
    twice = results.board({"phantoms": finished, "ladder": finished}, "phantoms")
    assert twice.shown["test set"].nunique() == 2  # of another profile, so another test set
    assert set(twice.links[len(rows) :]) == {""}


def test_a_leaderboard_is_a_plain_table_without_scripts_and_escapes_what_it_shows(finished):
    board = results.board({"phantoms": finished}, "phantoms")
    board.shown.loc[0, "architecture"] = "<b>x</b></script>"
    text = leaderboard(board.shown, ("prompt",), "x.csv", "caption", more=board.more, bars=("Dice",)).data
    assert text.count("<tr>") == len(board.shown) + 1
    assert "<b>x" not in text
    assert text.count("</script>") == 2
    assert text.count("--bar:65%") == 1
    assert not re.search(r"(src|href)=|https?://", text)


def test_contrasts_speak_of_notebooks_that_the_paper_profile_could_fill():
    lines = config.load().experiments
    assert {side[0] for c in analysis_plan.load().contrasts for side in (c.a, c.b)} <= set(lines)


def test_the_trap_scores_stored_predictions_by_every_protocol(finished, monkeypatch):
    """One patient: half of the tumor's slices found exactly. By volume 2/3, over tumor slices 1/2, cropped to found slices more."""
    reference, half = np.zeros((20, 20, 8), bool), np.zeros((20, 20, 8), bool)
    reference[2:14, 2:14, 2:6] = half[2:14, 2:14, 2:4] = True
    right = finished[0].experiment.name

    def counts(self, dataset, prompter):
        mask = reference if self.experiment.name == right else half
        measured = protocols.measure(protocols.CaseMasks("P00", reference, (mask,)))
        return [protocols.CaseCounts.of_plain(json.loads(json.dumps(measured.as_plain())))]

    monkeypatch.setattr(RunResult, "protocol_counts", counts)
    trap = protocol.protocol_trap(finished, "phantom_nsclc", ["none", "box_one_slice"])
    few = trap[(trap["experiment"] == finished[1].experiment.name) & (trap["setting"] == "none")].set_index("protocol")
    assert few["value"].iloc[0] == pytest.approx(2 / 3)
    assert few.loc["2-D, tumor slices only, mean per patient first", "value"] == pytest.approx(0.5)
    assert few.loc["2-D, tumor slices only, mean per patient first", "shift"] == pytest.approx(-1 / 6)
    assert few["rank"].iloc[0] == 2
    assert set(trap["setting"]) == {"none", "box_one_slice"}
    agreement = protocol.rank_agreement(trap)
    assert agreement["box_one_slice"].iloc[0] == 1
    assert len(protocol.printable_trap(trap, right, "none")) == len(few)
    assert len(protocol.trap_figure(trap, "none").axes) == 2
    assert len(protocol.short_table(trap, right, "none")) == 10
    assert protocol.shifts_figure(trap, right, "none").axes[0].get_yticklabels()[0].get_text().startswith("3-D, all slices")
    assert "scores a Dice of 0.67 by the protocol" in protocol.answer(trap, finished[1].experiment.name, agreement, "phantoms")
    assert protocol.ranked_settings(trap) == ["none", "box_one_slice"]


def test_predictions_that_are_not_here_are_not_scored_again_and_that_is_said(finished, tmp_path):
    stored = [replace(result, folder=tmp_path) for result in finished]
    assert protocol.counted(stored, "phantom_nsclc") == []
    trap = protocol.protocol_trap([], "phantom_nsclc", ["none"])
    said = protocol.answer(trap, finished[0].experiment.name, protocol.rank_agreement(trap), "phantoms")
    assert "not on the machine" in said
    assert protocol.own_values(trap, "e", "none")["trap_own"] == "–"

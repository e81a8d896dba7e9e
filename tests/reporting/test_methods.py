"""Experiments that are one method: runs as columns, folds of a cross-validation as one, and two methods side by side."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lungseg_utils.data import splits
from lungseg_utils.evaluation import intervals, metrics, tables
from lungseg_utils.experiments import analysis_plan, planning, results
from lungseg_utils.reporting import certainty, controls, ladder, methods
from lungseg_utils.reporting.values import dsc_by_patient
from lungseg_utils.types import InputError

FIXED = ["LUNG1-001", "LUNG1-002", "LUNG1-003"]  # tested by whoever was trained on what


def _result(experiment, tested, tumor_free=()):
    """A RunResult of the prompt setting `none` from {data set: {patient: DSC}}; a tumor-free patient is tested, and has no DSC."""
    rows = []
    for dataset, values in tested.items():
        for patient, value in values.items():
            shared = {"experiment": experiment.name, "test_dataset": dataset, "prompter": "none", "jitter": 0.0}
            shared |= {"patient_id": patient, "case_id": patient}
            value = np.nan if patient in tumor_free else value
            case = dict.fromkeys(metrics.UNITS, 1.0) | {"dsc": value}
            rows += tables.result_rows(shared, "reference", case, {1: {"lesion_hit": 1, "lesion_volume": 4.0, "lesion_dsc": value}}, False)
    patients = {"train": [], "validation": []} | {name: list(values) for name, values in tested.items()}
    provenance = {"patients": patients, "cases": []}
    return results.RunResult(experiment, None, tables.results_frame(rows), tables.costs_frame([]), None, provenance)


def _msd(fold):
    return sorted(splits.held_out_patients("msd_lung", fold))


def _folds(notebook="unet_full", folds=range(5)):
    """Trained on MSD Task06: fold f scores 0.1 f on its own part of it, and 0.5 + 0.1 f on the fixed patients."""
    planned = [planning.make_experiment(notebook, "paper", fold=fold, train_dataset="msd_lung") for fold in folds]
    return [
        _result(e, {"msd_lung": dict.fromkeys(_msd(e.fold), 0.1 * e.fold), "nsclc_radiomics": dict.fromkeys(FIXED, 0.5 + 0.1 * e.fold)})
        for e in planned
    ]


def test_folds_are_one_answer_where_each_tests_its_own_part_and_runs_where_all_test_the_same_patients():
    (method,) = methods.group_runs(_folds())
    everybody = sorted(patient for fold in range(5) for patient in _msd(fold))
    table = method.table("msd_lung", "none")
    assert list(table.columns) == ["seed 0, all folds, draw 0"]
    assert list(table.index) == everybody
    assert table.iloc[:, 0].mean() == pytest.approx(sum(0.1 * fold * len(_msd(fold)) for fold in range(5)) / len(everybody))
    table = method.table("nsclc_radiomics", "none")
    assert table.mean().tolist() == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    assert method.mean("nsclc_radiomics", "none").tolist() == pytest.approx([0.7] * 3)


def test_seeds_of_a_cross_validation_stay_apart():
    again = [replace(r, experiment=replace(r.experiment, seed=1)) for r in _folds()]
    again = [replace(r, results=r.results.assign(experiment=r.experiment.name)) for r in again]
    (method,) = methods.group_runs([*_folds(), *again])
    assert list(method.runs("msd_lung")) == ["seed 0, all folds, draw 0", "seed 1, all folds, draw 0"]


def test_a_patient_whom_no_fold_or_more_than_one_has_tested_is_named():
    (method,) = methods.group_runs(_folds(folds=[0, 1, 2, 4]))
    assert method.table("nsclc_radiomics", "none").shape == (3, 4)  # there a fold is a run, and four are four
    with pytest.raises(InputError, match=rf"{len(_msd(3))} patients are tested by no fold, {_msd(3)[0]} first"):
        method.table("msd_lung", "none")
    folds = _folds()
    twice = _msd(0)[0]
    folds[1] = _result(folds[1].experiment, {"msd_lung": dict.fromkeys([*_msd(1), twice], 0.1)})
    with pytest.raises(InputError, match=f"1 patients are tested by several folds, {twice} first"):
        methods.group_runs(folds)[0].table("msd_lung", "none")


def test_a_tumor_free_patient_is_tested_and_has_no_dsc():
    folds = _folds()
    free = _msd(2)[0]
    folds[2] = _result(folds[2].experiment, {"msd_lung": dict.fromkeys(_msd(2), 0.2)}, tumor_free=[free])
    table = methods.group_runs(folds)[0].table("msd_lung", "none")
    assert free not in table.index


def test_few_shot_draws_leave_out_one_fold_and_are_compared_on_its_patients():
    draws = [planning.make_experiment("unet_few_shot", "paper", k=5, draw=draw, train_dataset="msd_lung") for draw in range(10)]
    rng = np.random.default_rng(0)
    few = [_result(e, {"msd_lung": dict(zip(_msd(0), rng.uniform(size=len(_msd(0))), strict=True))}) for e in draws]
    (few,), (full,) = methods.group_runs(few), methods.group_runs(_folds())
    pair = methods.pair_methods(few, "none", full, "none", "msd_lung")
    assert pair.a.shape == (len(_msd(0)), 10)
    assert pair.b.shape == (len(_msd(0)), 1)
    assert pair.trained_models().mean == pytest.approx(pair.a.to_numpy().mean() - 0.0)  # fold 0 of the other scored 0
    assert pair.trained_models().n == len(_msd(0))
    assert "no claim, one run only" in pair.method().method


def test_runs_that_share_draws_or_folds_are_matched_and_equal_seeds_are_not():
    def trained(notebook, shift, **varied):
        found = []
        for number in range(3):
            e = planning.make_experiment(notebook, "paper", **{name: number for name in varied})
            found.append(_result(e, {"nsclc_radiomics": dict(zip(FIXED, (shift, shift + 0.1, shift + 0.01 * number), strict=True))}))
        return methods.group_runs(found)[0]

    for varied, matched in (({"fold": 0}, True), ({"seed": 0}, False)):
        pair = methods.pair_methods(
            trained("unet_full", 0.3, **varied), "none", trained("deeplabv3_full", 0.2, **varied), "none", "nsclc_radiomics"
        )
        assert pair.matched == matched
        assert pair.trained_models().mean == pytest.approx(0.1)
    trivial = methods.group_runs(
        [_result(planning.make_experiment("baselines_zero_shot", "paper"), {"nsclc_radiomics": dict.fromkeys(FIXED, 0.1)})]
    )[0]
    pair = methods.pair_methods(trained("unet_full", 0.3, fold=0), "none", trivial, "none", "nsclc_radiomics")
    assert pair.matched  # what is not trained is the same in every run
    assert pair.method().mean == pytest.approx((0.3 + 0.4 + 0.31) / 3 - 0.1)


def test_one_table_of_several_runs_holds_their_means_and_the_parts_of_a_cross_validation_as_they_are():
    (method,) = methods.group_runs(_folds())
    frame = tables.validate(method.averaged())
    assert set(frame["experiment"]) == {method.name}
    dsc = frame[(frame["metric"] == "dsc") & (frame["lesion_id"] == "")].set_index(["test_dataset", "case_id"])["value"]
    assert dsc["nsclc_radiomics"].tolist() == pytest.approx([0.7] * 3)
    assert dsc["msd_lung", _msd(4)[0]] == pytest.approx(0.4)
    single = methods.group_runs(_folds()[:1])[0]
    pd.testing.assert_frame_equal(single.averaged(), single.results[0].asked())


def test_a_run_that_failed_or_has_no_value_shows_in_the_mean():
    first, second = (frame.results for frame in _folds()[:2])
    first = first[first["test_dataset"] == "nsclc_radiomics"]
    second = second[second["test_dataset"] == "nsclc_radiomics"].copy()
    second.loc[second["metric"] == "dsc", "status"] = "failed"
    second.loc[second["metric"] == "hd95", "value"] = np.inf
    second.loc[second["metric"] == "nsd_3mm", ["value", "status"]] = np.nan, "undefined"
    mean = tables.validate(tables.mean_runs([first, second], "both")).set_index("metric")
    assert set(mean.loc["dsc", "status"]) == {"failed"}
    assert mean.loc["dsc", "value"].tolist() == pytest.approx([0.55] * 3)
    assert np.isinf(mean.loc["hd95", "value"]).all()
    assert set(mean.loc["nsd_3mm", "status"]) == {"undefined"}


def test_methods_trained_on_the_target_and_elsewhere_are_rows_apart_with_controls_of_their_own():
    internal = [
        _result(planning.make_experiment("unet_full", "paper", fold=fold), {"nsclc_radiomics": dict.fromkeys(FIXED, 0.9)})
        for fold in range(2)
    ]
    table = ladder.ladder_table([*internal, *_folds()], "nsclc_radiomics").set_index("training")
    assert table["runs"].to_dict() == {"target": 2, "external": 5}
    assert table["dsc"].to_dict() == {"target": pytest.approx(0.9), "external": pytest.approx(0.7)}
    own = controls.control_experiment(_folds()[0].experiment, "nsclc_radiomics")
    assert own.train_dataset == "msd_lung"
    zero_shot = planning.make_experiment("medsam_zero_shot", "paper")
    assert controls.control_experiment(zero_shot, "msd_lung").train_dataset == "msd_lung"
    assert controls.control_experiment(zero_shot, "rider_lung_ct").train_dataset == "nsclc_radiomics"
    assert list(certainty.ranks([*internal, *_folds()], "nsclc_radiomics", "none").index) == [
        planning.experiment_title(internal[0].experiment)
    ]


def test_a_cross_validation_waits_for_its_last_fold(monkeypatch):
    planned = [
        planning.make_experiment("unet_full", "paper", fold=fold, train_dataset=name)
        for name in ("nsclc_radiomics", "msd_lung")
        for fold in range(5)
    ]
    monkeypatch.setattr(results, "is_finished", lambda e: e.fold != 3)
    assert {(e.train_dataset, e.fold) for e in results.finished_only(planned)} == {("nsclc_radiomics", fold) for fold in (0, 1, 2, 4)}


def test_what_has_one_run_reads_exactly_as_its_experiment():
    """The tables of larger profiles that are stored with the project: no digit of theirs may depend on how methods are put together."""
    settings = list(analysis_plan.load().primary_settings)
    finished = [replace(r, results=r.asked(*settings)) for r in results.results_at_hand("ladder")]
    table = ladder.ladder_table(finished, "phantom_nsclc").set_index(["experiment", "setting"])
    control = next(
        r for r in finished if methods.group_key(r.experiment) == methods.group_key(planning.make_experiment("unet_full", "ladder"))
    )
    assert len(table) == sum(methods.was_asked(r, "phantom_nsclc", setting) for r in finished for setting in settings)
    assert set(table["runs"]) == {1}
    for result in finished:
        for setting in [setting for setting in settings if methods.was_asked(result, "phantom_nsclc", setting)]:
            values, row = dsc_by_patient(result, "phantom_nsclc", setting), table.loc[(result.experiment.name, setting)]
            alone = intervals.summarize_mean(values.to_numpy())
            assert (row["n"], row["dsc"], row["dsc_low"], row["dsc_high"]) == (alone.n, alone.mean, alone.low, alone.high)
            if setting != "none" and result is not control:
                gain = intervals.summarize_paired_difference(values, dsc_by_patient(control, "phantom_nsclc", setting))
                assert (row["over_control"], row["over_control_low"], row["over_control_high"]) == (gain.mean, gain.low, gain.high)


def _judged(reader, value, source="reference"):
    row = {"experiment": "e", "test_dataset": "lidc_nodules", "prompter": "box_one_slice", "source": source, "jitter": 0.0}
    row |= {"patient_id": "p", "case_id": "c", "lesion_id": "", "reader": reader, "metric": "dsc", "value": value}
    return row | {"unit": "1", "status": "scored"}


def test_the_reference_judges_and_prompts_of_a_reader_are_judged_by_the_others(monkeypatch):
    frame = pd.DataFrame(
        [
            *(_judged("consensus", 0.9), _judged("reader-1", 0.1), _judged("reader-2", 0.2)),
            *(_judged("other readers", 0.6, "another_reader"), _judged("another reader", 0.3, "another_reader")),
        ]
    )
    result = SimpleNamespace(experiment=SimpleNamespace(name="e"), results=frame)
    method = methods.Method((result,))
    monkeypatch.setattr(methods, "_runs", lambda results, dataset: {"run": (result,)})
    own = method.table("lidc_nodules", "box_one_slice")
    assert own.to_numpy().tolist() == [[0.9]]
    assert method.table("lidc_nodules", "box_one_slice", source="another_reader").to_numpy().tolist() == [[0.6]]
    assert method.asked("lidc_nodules", "box_one_slice", source="another_reader")
    assert not method.asked("lidc_nodules", "box_every_slice", source="another_reader")

"""Real data sets with a split: who trains, validates and is tested, and that nobody is lost or stands on both sides."""

import dataclasses
import hashlib
from types import SimpleNamespace

import pandas as pd
import pytest

from lungseg_utils import __main__ as command_line
from lungseg_utils import registry
from lungseg_utils.core import project
from lungseg_utils.data import cases, exclusions, splits
from lungseg_utils.experiments import cohorts, config
from lungseg_utils.types import Case, Experiment, InputError

PROFILE = config.load().profile("phantoms")
MSD_TRAINING_SCANS = 63  # doi:10.1038/s41467-022-30695-9
LUNG1 = [f"LUNG1-{number:03d}" for number in range(1, 423)]  # doi:10.7937/K9/TCIA.2015.PF0M9REI
SEEN = {"LUNG1-001", "LUNG1-002"}  # the samples, which everything here was built with


@pytest.fixture
def msd(tmp_path, monkeypatch):
    """MSD Task06 as if it lay here: `msd.patients` have a case each, `msd.trained_on` is what the profile trains on."""
    state = SimpleNamespace(patients=list(splits.read_splits("msd_lung")["patient_id"]), trained_on={"msd_lung"}, folder=tmp_path)
    monkeypatch.setattr(exclusions, "path", lambda dataset: tmp_path / f"{dataset}.csv")
    monkeypatch.setattr(config.Grid, "trained_on", lambda _self, _profile: state.trained_on)
    module = registry.plugin("datasets", "msd_lung")
    monkeypatch.setattr(module, "cases", lambda root: [Case("msd_lung", p, p, root / p, (root / p,)) for p in state.patients])
    return state


def _exclude(msd, *patients):
    table = pd.DataFrame([("msd_lung", p, "damaged") for p in patients], columns=exclusions.COLUMNS)
    table.to_csv(msd.folder / "msd_lung.csv", index=False)


def _tested(train_dataset="msd_lung", fold=0):
    experiment = Experiment("phantoms", train_dataset, "unet", "full", fold=fold)
    return [c.patient_id for c in cohorts.cases_to_test("msd_lung", PROFILE, experiment=experiment)]


def test_without_a_test_part_each_patient_is_tested_once_by_the_fold_that_left_it_out(msd):
    tested = {fold: _tested(fold=fold) for fold in range(5)}
    assert sorted(p for part in tested.values() for p in part) == sorted(msd.patients)
    for fold, out_of_fold in tested.items():
        cohort = cohorts.training_cohort("msd_lung", PROFILE, fold)
        train, validation = ({c.patient_id for c in part} for part in (cohort.train, cohort.validation))
        assert sorted([*train, *validation, *out_of_fold]) == sorted(msd.patients)  # all, each on one side
        assert validation == set(tested[(fold + 1) % 5])


def test_what_was_trained_elsewhere_is_tested_on_all_folds_and_where_nobody_trains_on_it_a_split_says_nothing(msd):
    assert _tested("nsclc_radiomics") == msd.patients
    msd.trained_on = {"phantom_nsclc"}
    msd.patients.append("lung_999")
    assert _tested("phantom_nsclc") == msd.patients


def test_an_excluded_patient_is_on_no_side_and_few_shot_draws_pass_it_over(msd):
    first = cohorts.few_shot_patients("msd_lung", PROFILE, 0, 5, draw=0)
    _exclude(msd, first[0])
    assert first[0] not in _tested("nsclc_radiomics")
    for fold in range(5):
        train, validation = cohorts.training_patients("msd_lung", PROFILE, fold)
        assert first[0] not in {*train, *validation, *_tested(fold=fold)}
    again = cohorts.training_cohort("msd_lung", PROFILE, 0, k=5, draw=0)
    assert len(again.train) == 5
    assert first[0] not in {c.patient_id for c in again.train}


def test_a_patient_on_one_side_only_of_disk_and_split_is_named(msd):
    msd.patients.append("lung_999")
    with pytest.raises(InputError, match=r"msd_lung\.csv: 1 patients on disk are not in it, lung_999 first"):
        _tested()
    msd.patients = msd.patients[1:-1]  # without lung_001, of fold 1
    with pytest.raises(InputError, match="lung_001: the split names this patient"):
        cohorts.training_cohort("msd_lung", PROFILE, fold=0)


def test_all_scans_of_a_patient_go_where_the_patient_goes(msd, monkeypatch):
    module = registry.plugin("datasets", "msd_lung")
    two = module.cases(msd.folder) + [dataclasses.replace(c, case_id=f"{c.case_id}-again") for c in module.cases(msd.folder)]
    monkeypatch.setattr(module, "cases", lambda _root: two)
    cohort = cohorts.training_cohort("msd_lung", PROFILE, 0)
    assert len(cohort.train) == 2 * len({c.patient_id for c in cohort.train})


def test_studies_are_read_one_at_a_time_when_they_are_asked_for(msd, monkeypatch):
    read = []
    named = {}

    def load(case):
        read.append(case.case_id)
        return named.setdefault(case.case_id, SimpleNamespace(name=case.case_id, image=None))

    monkeypatch.setattr(registry.plugin("datasets", "msd_lung"), "load", load)
    monkeypatch.setattr(cases.grids, "require_hu", lambda image, where: None)
    studies = cases.Studies(cohorts.training_cohort("msd_lung", PROFILE, 0).train)
    assert read == []
    assert len(studies) == 37
    assert studies[1].name == read[0]
    assert list(studies[:2]) == [studies[0], studies[1]]
    assert [study.name for study in studies] == read[-37:]


# --- the committed splits --------------------------------------------------------------------------------------------


def test_the_splits_of_real_data_sets_hold_all_their_patients_and_follow_from_the_patients_names():
    for dataset, expected, share in (("msd_lung", MSD_TRAINING_SCANS, 0.0), ("nsclc_radiomics", len(LUNG1), 0.25)):
        frame = splits.read_splits(dataset).set_index("patient_id")
        assert len(frame) == expected
        dealt = frame.drop(index=SEEN & set(frame.index))
        ordered = sorted(dealt.index, key=lambda p: hashlib.sha256(f"{dataset}/{p}".encode()).hexdigest())
        tested = round(share * len(ordered))
        assert set(dealt.index[dealt["split"] == "test"]) == set(ordered[:tested])
        assert dealt.loc[ordered[tested:], "fold"].tolist() == [index % 5 for index in range(len(ordered) - tested)]
    frame = splits.read_splits("nsclc_radiomics")
    assert list(frame["patient_id"]) == LUNG1
    assert set(frame["patient_id"][frame["split"] == "set_aside"]) == SEEN
    assert (frame["split"] == "test").sum() >= 60  # protocol: of at least 60 patients


def test_nobody_trains_on_the_external_test_set():
    assert not (project.project_root() / "data" / "splits" / "rider_lung_ct.csv").exists()
    assert all("rider_lung_ct" not in config.load().trained_on(profile) for profile in config.load().profiles)


def test_a_split_is_written_once_from_what_lies_on_disk(msd, monkeypatch, capsys):
    monkeypatch.setattr(splits, "_split_path", lambda dataset: msd.folder / "splits" / f"{dataset}.csv")
    _exclude(msd, "lung_003")
    assert command_line.main(["split", "msd_lung", "--test", "0.2", "--set-aside", "lung_001"]) == 0
    frame = splits.read_splits("msd_lung")
    assert frame["split"].value_counts().to_dict() == {"development": 49, "test": 12, "set_aside": 1}
    assert set(frame["patient_id"]) == set(msd.patients) - {"lung_003"}
    assert command_line.main(["split", "msd_lung", "--test", "0.2"]) == 2
    assert "there is a split already" in capsys.readouterr().err


def _nodules(test_split="test", train=None, test=None, folds=(0,)):
    counts = config.PatientCounts(train, None, test, test_split)
    return dataclasses.replace(config.load().profile("smoke"), patients=counts, folds=folds)


def test_a_profile_takes_the_first_patients_in_the_order_of_the_split():
    frame = splits.read_splits("lidc_nodules")
    everybody = set(frame["patient_id"][frame["split"] == "test"])
    assert set(cohorts.tested_patients("lidc_nodules", _nodules(), None)) == everybody
    sixty = cohorts.tested_patients("lidc_nodules", _nodules(test=60), None)
    assert (len(sixty), sixty) == (60, sorted(splits.in_order("lidc_nodules", everybody)[:60]))
    train, validation = cohorts.training_patients("lidc_nodules", _nodules(train=12), 0)
    assert (len(train), len(validation)) == (12, 41)
    assert not {*train, *validation} & everybody


def test_a_quick_run_takes_twelve_development_patients():
    profile, frame = config.load().profile("quick"), splits.read_splits("lidc_nodules").set_index("patient_id")
    train, validation = cohorts.training_patients("lidc_nodules", profile, 0)
    patients = [*train, *validation, *cohorts.tested_patients("lidc_nodules", profile, 0)]
    assert len(set(patients)) == len(patients) == 12
    assert set(frame.loc[patients, "split"]) == {"development"}


def test_while_settings_are_chosen_no_test_patient_is_touched():
    frame = splits.read_splits("lidc_nodules").set_index("patient_id")
    profile = _nodules("development")
    train, validation = cohorts.training_patients("lidc_nodules", profile, 0)
    tested = cohorts.tested_patients("lidc_nodules", profile, 0)
    assert {fold for fold in frame.loc[tested, "fold"]} == {0}
    assert {fold for fold in frame.loc[validation, "fold"]} == {1}
    assert set(frame.loc[[*train, *validation, *tested], "split"]) == {"development"}
    assert not set(tested) & {*train, *validation}
    assert cohorts.tested_patients("lidc_nodules", profile, None) == tested  # what was not trained on it is asked of the same patients

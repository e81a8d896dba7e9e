"""Runs on real patients with several readers: who is loaded, and whose prompts are judged by whom. Development patients only."""

import shutil

import numpy as np
import pytest

from lungseg_utils.core.masks import dsc
from lungseg_utils.core.project import project_root
from lungseg_utils.data import splits
from lungseg_utils.data.cases import load_study
from lungseg_utils.evaluation import judges
from lungseg_utils.experiments import planning, results, run
from lungseg_utils.models.trivial import TrivialSegmenter
from lungseg_utils.prompts import ladder

ROOT = project_root()


@pytest.fixture(scope="module")
def project(tmp_path_factory, real_data):
    """A project root with four development patients in fold 0, on which settings are chosen."""
    root = tmp_path_factory.mktemp("patients")
    text = (ROOT / "experiments.yml").read_text()
    assert "patients: {test_split: development}" in text
    (root / "experiments.yml").write_text(
        text.replace("patients: {test_split: development}", "patients: {test_split: development, train: 3, validation: 2, test: 4}")
    )
    shutil.copytree(ROOT / "data" / "splits", root / "data" / "splits")
    for name in ("frozen.json", "lidc_nodules.csv"):
        shutil.copy(ROOT / "data" / name, root / "data")
    (root / "data" / "cache").mkdir()
    (root / "data" / "cache" / "lidc_nodules").symlink_to(real_data / "lidc_nodules")
    return root


@pytest.fixture
def finished(project, monkeypatch) -> results.RunResult:
    monkeypatch.setenv("LUNGSEG_ROOT", str(project))
    experiment = planning.make_experiment("baselines_zero_shot", "patients_dev")
    return run.run(experiment, ["lidc_nodules"], ["box_one_slice", "none"], progress=False)


def test_only_development_patients_are_asked(finished):
    split = splits.read_splits("lidc_nodules").set_index("patient_id")
    tested = set(finished.results["patient_id"])
    assert len(tested) == 4
    assert set(split.loc[sorted(tested), "split"]) == {"development"}
    assert set(split.loc[sorted(tested), "fold"]) == {0}


def test_what_one_reader_prompts_is_judged_by_the_others(finished):
    rows = finished.results[finished.results["metric"] == "dsc"].set_index(["case_id", "prompter", "source", "reader"])["value"]
    for case in finished.cases("lidc_nodules")[:2]:
        study = load_study(case)
        readers = list(judges.readers_of(study).values())
        segmenter = TrivialSegmenter("ellipse", 12.2)
        segmenter.set_image(study.image)
        own, another, others = [], [], []
        for number, reader in enumerate(readers):
            (prompt,) = ladder.first_prompts(case, reader, "box_one_slice")
            found = segmenter.predict([prompt]).mask.array
            rest = [mask.array for other, mask in enumerate(readers) if other != number]
            own.append(dsc(reader.array, found))
            another.append(np.mean([dsc(mask, found) for mask in rest]))
            others.append(dsc(np.sum(rest, axis=0) >= 2, found))
        key = (case.case_id, "box_one_slice", "another_reader")
        assert rows[*key, judges.ANOTHER] == pytest.approx(np.mean(another))
        assert rows[*key, judges.OTHERS] == pytest.approx(np.mean(others))
        reference = segmenter.predict(ladder.first_prompts(case, study.reference, "box_one_slice")).mask.array
        assert rows[case.case_id, "box_one_slice", "reference", "consensus"] == pytest.approx(dsc(study.reference.array, reference))


def test_predictions_are_kept_for_prompts_of_the_reference_alone(finished):
    folder = finished.folder / "predictions" / "lidc_nodules"
    assert sorted(path.name for path in folder.iterdir()) == ["box_one_slice", "none"]
    case = finished.cases("lidc_nodules")[0]
    study = load_study(case)
    assert finished.prediction("lidc_nodules", "box_one_slice", case.case_id, study).shape == (50, 50, 50)

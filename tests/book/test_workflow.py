"""The workflow: an unchanged one does no work, a second one at once is refused, a failed one leaves no book."""

import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from lungseg_utils import __main__ as command_line
from lungseg_utils.book import build, workflow
from lungseg_utils.core import files, locks, project
from lungseg_utils.data import samples
from lungseg_utils.evaluation import metrics, tables
from lungseg_utils.experiments import config, planning, results, store
from lungseg_utils.experiments import grid as experiments_grid
from lungseg_utils.experiments.grid import datasets_to_test, export, prompt_settings, run_all, run_names, trained
from lungseg_utils.reporting import wording
from lungseg_utils.types import InputError
from lungseg_utils.viewers.results import result_viewers
from tests.support.sample_book import needs_smoke_book

ROOT = project.project_root()
COMMAND = [sys.executable, "-m", "lungseg_utils", "workflow", "--profile", "smoke"]


@needs_smoke_book
def test_an_unchanged_workflow_does_no_work_and_ends_in_seconds():
    index = ROOT / "build" / "smoke" / "html" / "index.html"
    before, start = index.stat().st_mtime_ns, time.monotonic()
    done = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing had changed" in done.stdout
    assert str(index) in done.stdout
    assert index.stat().st_mtime_ns == before
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(("profile", "drawn"), [("paper", 0), ("robustness", 1), ("smoke", 2)])
def test_the_target_runs_makes_every_run_and_no_page(profile, drawn):
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--nolock",
        "--cores",
        "1",
        "--dry-run",
        "--forceall",
    ]
    command += ["--quiet", "rules", "--config", f"profile={profile}", "cluster=True", "--", "runs"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    assert int(counts["run"]) == len(planning.all_planned(profile))
    assert int(counts.get("phantoms", 0)) == drawn
    assert not {"notebook", "page_data", "book"} & set(counts)


def test_a_second_workflow_at_once_is_refused_and_a_dead_one_blocks_nobody(hold_lock):
    lock = ROOT / "build" / ".workflow.lock"
    with hold_lock(lock):
        done = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "another workflow is running" in done.stderr
    with locks.exclusive(lock, "still held"):
        pass


@pytest.mark.parametrize("targets", [(), ("build/gigantic/notebooks/unet_full.ipynb",)])
def test_an_unknown_profile_is_refused_before_anything_starts(targets):
    with pytest.raises(InputError, match="Choose one of"):
        workflow.run_workflow("gigantic", cores=1, targets=targets)


def test_a_profile_without_what_the_first_page_speaks_of_is_refused_before_anything_starts():
    spoken_of = "baselines_zero_shot, litemedsam_fine_tuned, litemedsam_zero_shot, unet_full, unet_prompted_full"
    with pytest.raises(InputError, match=f"profile losses: its book's first page speaks of {spoken_of}, which"):
        workflow.run_workflow("losses", cores=1)


def test_packages_of_the_book_that_npm_cannot_bring_stop_a_workflow_before_its_first_job(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "_VENDORED", (*build._VENDORED, ("new", "new")))  # so what is here is not enough
    for key, value in {"registry": "http://127.0.0.1:9", "cache": str(tmp_path), "fetch_retries": "0"}.items():
        monkeypatch.setenv(f"npm_config_{key}", value)
    monkeypatch.setattr(workflow.files, "remove_leftovers", lambda _folder: pytest.fail("work had begun"))
    with pytest.raises(InputError, match="npm could not bring its packages") as raised:
        workflow.run_workflow("smoke", cores=1)
    assert "127.0.0.1:9" in raised.value.problem  # npm's own words
    assert raised.value.where.endswith("package-lock.json")
    assert "needs the network once" in raised.value.remedy


def test_only_real_data_that_is_here_is_tested_on(monkeypatch):
    monkeypatch.setattr(samples, "available", lambda name, root: name == "lidc_idri")
    assert datasets_to_test("unet_full", "phantoms") == ["phantom_nsclc", "phantom_msd", "lidc_idri"]
    assert datasets_to_test("unet_full", "dev") == ["phantom_nsclc", "phantom_msd"]


def test_build_info_says_what_is_missing(tmp_path, monkeypatch):
    import json

    monkeypatch.setattr(samples, "available", lambda name, root: name == "lidc_idri")
    workflow.write_build_info("phantoms", True, tmp_path / "build_info.json")
    info = json.loads((tmp_path / "build_info.json").read_text())
    assert info["real_data"] == ["LIDC-IDRI"]
    assert info["real_data_missing"] == ["NSCLC-Radiomics", "NSCLC-Radiomics-Interobserver1", "4D-Lung"]
    assert info["public"] is True


def test_a_stand_in_that_two_models_share_is_asked_what_either_is_asked(monkeypatch):
    """medsam2 takes boxes only, medical_sam2 takes clicks too; in smoke both are the same network."""
    asked = prompt_settings(planning.make_experiment("medsam2_zero_shot", "smoke"))
    assert asked == prompt_settings(planning.make_experiment("medical_sam2_zero_shot", "smoke"))
    assert "click" in asked
    assert "click" not in prompt_settings(planning.make_experiment("medsam_zero_shot", "smoke"))
    assert prompt_settings(planning.make_experiment("unet_full", "phantoms")) == ["box_every_slice", "box_one_slice", "none"]


@pytest.mark.parametrize("chosen", [{"seed": 1}, {"fold": 3}, {"k": 3, "draw": 7}])
def test_a_run_that_no_profile_plans_gets_the_prompt_settings_of_its_notebook(chosen):
    """papermill with another seed asked nothing of the model that it had trained."""
    for notebook in ["unet_few_shot", "medsam_few_shot"] if "k" in chosen else ["unet_full", "medsam_fine_tuned"]:
        assert (
            prompt_settings(planning.make_experiment(notebook, "smoke", **chosen))
            == prompt_settings(planning.make_experiment(notebook, "smoke"))
            != []
        )


@pytest.fixture
def long_run(tmp_path, monkeypatch):
    """An experiment of a long profile as a run leaves it, in a project of its own."""
    grid = config.load()
    monkeypatch.setattr(project, "project_root", lambda: tmp_path)
    monkeypatch.setattr(config, "load", lambda: grid)
    experiment = planning.make_experiment("unet_full", "seeds")
    shared = {"experiment": experiment.name, "test_dataset": "phantom_nsclc", "prompter": "none", "jitter": 0.0}
    shared |= {"patient_id": "P", "case_id": "P"}
    lesion = {1: dict.fromkeys(metrics.LESION_UNITS, 1.0)}
    rows = tables.results_frame(tables.result_rows(shared, "reference", dict.fromkeys(metrics.UNITS, 1 / 3), lesion, False))
    cost = {k: v for k, v in shared.items() if k != "patient_id"}
    costs = tables.costs_frame([{**cost, "quantity": q, "value": 2.0, "unit": u} for q, u in (("actions", "1"), ("prediction", "s"))])
    cases = [{"case_id": "P", "failure": ""}, {"case_id": "Q", "failure": "MemoryError: no room"}]
    place = tmp_path / "results" / "seeds" / experiment.name
    files.write(rows, place / "results.csv")
    files.write(costs, place / "costs.csv")
    files.write(pd.DataFrame([(5, "loss", 0.4), (6, "seconds", 12.5)], columns=["step", "quantity", "value"]), place / "history.csv")
    files.write_json({"commit": "abc", "sha256": {"weights": "own"}, "cases": cases}, place / "experiment.json")
    return experiment


def test_an_exported_experiment_opens_where_it_was_never_run(long_run, tmp_path):
    here = results.open_result(long_run)
    folder = export("seeds")
    assert results.open_result(long_run).folder == here.folder  # as it was run here, while that is at hand
    shutil.rmtree(tmp_path / "results")
    result = results.open_result(long_run)
    assert result.folder == folder
    assert set(result.results["metric"]) == set(store.METRICS) - {metrics.BEST_OF_DRAWS}
    own = here.results.query("metric == 'dsc'")["value"].item()
    assert result.results.query("metric == 'dsc'")["value"].item() == pytest.approx(own, abs=1e-6)
    assert list(result.costs["quantity"]) == ["actions"]
    assert list(result.history["value"]) == [12.5]
    assert result.provenance["commit"] == "abc"
    assert [case["case_id"] for case in result.provenance["cases"]] == ["Q"]


def test_an_export_keeps_what_is_stored_and_is_not_here(long_run, tmp_path):
    first, later = long_run, replace(long_run, seed=1)
    export("seeds")
    before = store.read("seeds", first.name)
    (tmp_path / "results" / "seeds" / first.name).rename(tmp_path / "results" / "seeds" / later.name)  # as the next run would leave it
    for name in ("results.csv", "costs.csv"):
        path = tmp_path / "results" / "seeds" / later.name / name
        path.write_text(path.read_text().replace(first.name, later.name))
    export("seeds")
    shutil.rmtree(tmp_path / "results")
    assert [r.experiment.name for r in results.results_at_hand("seeds")] == [first.name, later.name]
    pd.testing.assert_frame_equal(results.open_result(first).results, before.results)


def test_what_was_only_stored_is_not_exported_again(long_run, tmp_path):
    export("seeds")
    shutil.rmtree(tmp_path / "results")
    with pytest.raises(InputError, match="none of its experiments was run here"):
        export("seeds")


def test_equal_results_are_exported_to_equal_bytes(long_run):
    folder = export("seeds")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    export("seeds")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_profile_that_grew_in_part_says_what_is_missing(long_run, monkeypatch):
    (result,) = results.results_at_hand("seeds")
    text = wording.what_is_shown("seeds", [result])
    assert "run with this book" in text
    assert "U-Net, full training (1 of 5 runs are here)" in text
    assert "`abc`" in text
    with pytest.raises(InputError, match="none of its experiments"):
        results.results_at_hand("ladder")
    monkeypatch.setattr(wording, "all_planned", lambda profile: [long_run])
    assert "All 1 planned runs are here." in wording.what_is_shown("seeds", [result])


def test_a_page_says_where_another_training_of_a_detector_may_have_drawn_the_boxes(long_run):
    (own,) = results.results_at_hand("seeds")  # stands for the detector and for who asks for its boxes
    name, asked = own.experiment.name, own.results.assign(prompter="detector_box")

    def words(*detectors):
        others = [replace(own, results=asked, provenance={**own.provenance, **found}) for found in detectors]
        return wording.what_is_shown("seeds", [*others, own]).partition("**Boxes of a detector:** ")[2]

    same, other = ({"detectors": {name: {"weights": value}}} for value in ("own", "of another machine"))
    assert words(same, same) == ""
    assert words(same, other) == "in 1 of 2 runs another training of the same detector drew them than the one whose own mask is shown."
    assert words({}, other, same).endswith("; in 1 of 3 runs it was not recorded which training drew them.")


def test_a_notebook_that_a_profile_leaves_out_is_asked_its_own_prompt_settings():
    assert "sam_zero_shot" not in config.load().notebooks("patients")
    assert prompt_settings(planning.make_experiment("sam_zero_shot", "patients")) == ["box_every_slice", "box_one_slice"]


def test_of_stored_results_no_viewer_shows_empty_masks():
    stored = results.open_result(planning.make_experiment("unet_full", "ladder"))
    assert stored.folder == store.folder("ladder")
    assert result_viewers(stored, ["phantom_nsclc", "phantom_msd"]) == []


def test_a_profile_may_ask_for_fewer_data_sets_than_its_experiments_name():
    assert datasets_to_test("unet_full", "seeds") == ["phantom_nsclc"]
    assert datasets_to_test("unet_full", "dev") == ["phantom_nsclc", "phantom_msd"]


def test_a_profile_without_pages_runs_what_it_plans_first_runs_first(monkeypatch):
    asked = []
    monkeypatch.setattr(experiments_grid, "_run", lambda notebook, experiment: asked.append((notebook, experiment)))
    list(run_all("losses"))
    assert {notebook for notebook, _ in asked} == {"unet_few_shot", "medsam_fine_tuned"}
    losses = [dict(e.options).get("loss") for notebook, e in asked if notebook == "unet_few_shot"]
    assert losses == [None, "tversky", "focal_tversky", "hausdorff", "adaptive"]
    asked.clear()
    list(run_all("seeds"))
    assert [e.seed for _, e in asked] == sorted(e.seed for _, e in asked)
    monkeypatch.setattr(store, "holds", lambda profile, experiment: "seed0" in experiment)
    asked.clear()
    list(run_all("seeds", missing=True))
    assert {e.seed for _, e in asked} == {1, 2, 3, 4}


def test_what_is_missing_is_run_after_the_detectors_that_it_takes_boxes_of(monkeypatch):
    asked = []
    monkeypatch.setattr(experiments_grid, "_run", lambda notebook, experiment: asked.append(notebook))
    monkeypatch.setattr(store, "holds", lambda profile, experiment: "nnunet__few_shot" not in experiment)
    list(run_all("ladder", missing=True))
    assert asked == ["nnunet_few_shot"]  # an automatic model takes no boxes
    monkeypatch.setattr(store, "holds", lambda profile, experiment: "sam_stand_in__few_shot" not in experiment)
    asked.clear()
    list(run_all("ladder", missing=True))
    assert asked == ["unet_few_shot", "medsam_few_shot", "litemedsam_few_shot"]  # the last two share a stand-in


def test_a_data_set_that_cannot_be_fetched_is_here_if_its_place_is(tmp_path):
    assert not samples.is_here("of_my_own", tmp_path)
    (tmp_path / "of_my_own").mkdir()
    assert samples.is_here("of_my_own", tmp_path)
    assert not samples.is_here("lidc_idri", tmp_path)


def test_what_a_notebook_needs_follows_from_its_model_and_paradigm():
    detecting = ["unet_full", "unet_few_shot", "deeplabv3_full", "deeplabv3_few_shot", "nnunet_full", "nnunet_few_shot"]
    assert sorted(experiments_grid.automatic("phantoms")) == sorted(detecting)
    assert set(detecting) < set(trained("phantoms"))
    assert not {"baselines_zero_shot", "sam_zero_shot"} & set(trained("phantoms"))


@pytest.mark.parametrize(("gpus", "launcher"), [(1, ""), (4, "-m torch.distributed.run --standalone --nproc-per-node 4 ")])
def test_a_training_that_is_given_several_gpus_is_started_as_as_many_processes(gpus, launcher):
    root, name = project.project_root(), run_names("unet_full", "smoke")[0]
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--dry-run",
        "--printshellcmds",
        "--nolock",
        "--cores",
        "1",
        "--set-resources",
        f"run:gpu={gpus}",
    ]
    command += ["--config", "profile=smoke", "cluster=True", "--", f"build/smoke/runs/{name}.done"]
    planned = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    assert f"{sys.executable} {launcher}-m lungseg_utils run {name} --profile smoke" in planned


def test_runs_are_jobs_of_their_own_where_pages_show_one_of_several():
    further = {name for name in config.load().profiles if workflow.has_further_runs(name)}
    assert not further & {"smoke", "dev", "phantoms", "ladder", "robustness"}
    assert {"standard", "few_shot", "seeds", "paper"} <= further


def test_prose_pages_say_of_an_edition_what_it_was_tested_on_and_which_models_ran():
    phantoms, patients = workflow.edition_words("phantoms"), workflow.edition_words("paper")
    assert "phantom results" in phantoms["evidence"]
    assert phantoms["published_models"] == "none has been run in this edition"
    assert "results on patients" in patients["evidence"]
    assert "LiteMedSAM, SAM 2.1" in patients["published_models"]
    assert workflow.edition_words("patients")["published_models"].endswith(": LiteMedSAM")


def test_quick_takes_real_patients_where_they_can_be_had_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(workflow.project, "cache_root", lambda: tmp_path / "cache")
    entry = SimpleNamespace(name="lidc_nodules/A.mha", url="https://host/path/A.mha")
    monkeypatch.setattr(samples, "_entries_of", lambda _name: [entry])
    monkeypatch.delenv("LUNGSEG_MIRROR", raising=False)
    assert workflow.quick_profile() == "smoke"
    copy = tmp_path / "mirror" / "host" / "path" / "A.mha"
    copy.parent.mkdir(parents=True)
    monkeypatch.setenv("LUNGSEG_MIRROR", str(tmp_path / "mirror"))
    assert workflow.quick_profile() == "smoke"  # a mirror of other files
    copy.touch()
    assert workflow.quick_profile() == "quick"
    monkeypatch.setenv("LUNGSEG_MIRROR", "")
    assert workflow.quick_profile() == "smoke"
    here = tmp_path / "cache" / "lidc_nodules" / "A.mha"
    here.parent.mkdir(parents=True)
    here.touch()
    assert workflow.quick_profile() == "quick"


@pytest.mark.parametrize(("chosen", "kind"), [("quick", "real patients"), ("smoke", "phantoms")])
def test_the_quick_workflow_says_which_profile_it_takes(chosen, kind, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(workflow, "quick_profile", lambda: chosen)
    monkeypatch.setattr(workflow, "run_workflow", lambda profile, *_more: started.append(profile) or 0)
    assert command_line.main(["workflow", "--quick"]) == 0
    assert started == [chosen]
    assert capsys.readouterr().out.startswith(f"== profile {chosen}, {kind}: ")


def test_patients_of_a_profile_are_fetched_before_any_work_and_their_lack_names_a_way_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workflow.project, "cache_root", lambda: tmp_path)
    monkeypatch.setenv("LUNGSEG_MIRROR", str(tmp_path / "nothing"))
    workflow.bring_patients("phantoms")  # phantoms alone are trained on and tested: nothing is fetched
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match=r"mirror lacks this file.*make book PROFILE=phantoms"):
        workflow.bring_patients("patients")
    assert "license" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.mha"))


@pytest.mark.parametrize("own", ["", "elsewhere"])
@pytest.mark.parametrize("status", [0, 1])
def test_embeddings_are_kept_while_a_workflow_that_shares_them_runs(tmp_path, monkeypatch, own, status):
    """They go when it has ended well; after a failure the next try finds them. A folder that the user names stays his."""
    shutil.copy(ROOT / "experiments.yml", tmp_path)
    monkeypatch.setenv("LUNGSEG_ROOT", str(tmp_path))
    monkeypatch.setenv("LUNGSEG_EMBEDDINGS", own)
    if not own:
        monkeypatch.delenv("LUNGSEG_EMBEDDINGS")
    folder, seen = tmp_path / "build" / "patients" / "embeddings", {}
    folder.mkdir(parents=True)

    def run(command, cwd, env, check):
        seen.update(env)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(workflow.subprocess, "run", run)
    monkeypatch.setattr(workflow, "bring_patients", lambda profile: None)
    assert workflow.run_workflow("patients", 1, targets=("anything",)) == status
    assert seen["LUNGSEG_EMBEDDINGS"] == (own or str(folder))
    assert float(seen["LUNGSEG_EMBEDDINGS_GB"]) > 20
    assert folder.exists() == (status == 1)

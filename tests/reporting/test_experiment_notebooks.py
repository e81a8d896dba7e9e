"""The page of one experiment: one notebook for all models of a paradigm, and sentences that follow from hand-made tables."""

import json
import re
from types import SimpleNamespace

import pandas as pd
import pytest

from lungseg_utils import registry
from lungseg_utils.book import inputs, notebooks, workflow
from lungseg_utils.core import project
from lungseg_utils.evaluation import metrics, tables
from lungseg_utils.experiments import config, planning
from lungseg_utils.experiments.results import RunResult
from lungseg_utils.reporting import experiment_page, model_texts
from lungseg_utils.types import InputError

ROOT = project.project_root()
NAME = re.compile(r'experiment: str = \\"\w+\\"')
LINES = list(config.load().experiments.values())


def _source(notebook):
    return inputs.notebook(notebook).read_text(encoding="utf-8")


@pytest.mark.parametrize("paradigm", registry.names("paradigms"))
def test_all_notebooks_of_a_paradigm_are_the_same_but_for_the_name_of_the_experiment(paradigm):
    texts = [_source(line.notebook) for line in LINES if line.paradigm == paradigm]
    assert all(len(NAME.findall(text)) == 1 for text in texts)
    assert len({NAME.sub("", text) for text in texts}) <= 1  # a paradigm of models that readers bring has none


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.notebook)
def test_the_notebook_of_a_line_shows_that_line(line):
    path = inputs.notebook(line.notebook)
    shown = config.load().experiments[path.stem]  # the line itself, or another one of its paradigm, whose notebook is told the name
    assert notebooks.declared_parameters(path)["experiment"] == ("str", shown.notebook)
    assert shown.paradigm == line.paradigm


def test_an_unknown_experiment_is_refused_before_the_kernel_starts():
    with pytest.raises(InputError, match="segresnet_full"):
        notebooks.check_parameters(ROOT / "notebooks" / "unet_full.ipynb", {"experiment": "segresnet_full"})


@pytest.mark.parametrize(
    ("notebook", "profile", "title"),
    [
        ("medsam_few_shot", "phantoms", "MedSAM (stand-in), few-shot"),
        ("medsam_few_shot", "paper", "MedSAM, few-shot"),
        ("medical_sam2_fine_tuned", "smoke", "Medical SAM 2 (stand-in), fine-tuned"),
        ("unet_full", "phantoms", "U-Net, full training"),
        ("baselines_zero_shot", "phantoms", "Trivial baselines: what the prompt gives away"),
        ("prompts", "phantoms", ""),
    ],
)
def test_the_page_of_an_experiment_is_named_after_its_model_and_says_if_a_stand_in_ran(notebook, profile, title):
    assert workflow.experiment_title(notebook, profile) == title


def test_no_two_pages_have_one_title():
    for profile in ("phantoms", "paper"):
        titles = [experiment_page.page_title(line.notebook, profile) for line in config.load().lines(profile)]
        assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("model", model_texts.sections())
def test_the_text_of_a_model_is_read_with_its_options(model):
    text = model_texts.read(model, registry.card("models", model).options)
    assert text.name
    assert text.about
    assert not re.search(r"[{}#]", text.about + text.training)


def test_a_model_without_a_text_is_told_by_its_card(tmp_path):
    (tmp_path / "texts.md").write_text("# sam: SAM\n\nOther.\n")
    card = registry.card("models", "unet")
    assert model_texts.read("unet", card.options, tmp_path / "texts.md") == model_texts.ModelText(card.title, card.summary)


def test_a_text_that_names_an_unknown_option_is_refused(tmp_path):
    path = tmp_path / "texts.md"
    path.write_text("# unet: U\n\n{canvas} pixels\n\n# sam: SAM\n\nOther.\n")
    with pytest.raises(InputError, match=r"texts\.md, unet.*'canvas' in braces"):
        model_texts.read("unet", registry.card("models", "unet").options, path)


def _run(experiment, dsc, ceiling=0.9, seconds=None):
    """A run with these DSC by (data set, prompt setting), one patient each."""
    rows = []
    for (dataset, setting), values in dsc.items():
        for number, value in enumerate(values):
            shared = {"experiment": experiment.name, "test_dataset": dataset, "prompter": setting, "jitter": 0.0}
            shared |= {"patient_id": f"{dataset}-{number}", "case_id": f"{dataset}-{number}"}
            rows += tables.result_rows(shared, "reference", dict.fromkeys(metrics.UNITS, value), {}, failed=False)
    cases = [{"test_dataset": HOME, "case_id": f"{HOME}-0", "resolution_ceiling": ceiling, "cut_by_volume_end": False}]
    history = [] if seconds is None else [(1, "training loss", 0.5), (40, "training loss", 0.4), (40, "seconds", seconds)]
    provenance = {"parameters": 1234, "cases": cases, "options": {}}
    frame = pd.DataFrame(history, columns=["step", "quantity", "value"])
    return RunResult(experiment, ROOT, tables.results_frame(rows), pd.DataFrame(), frame, provenance)


HOME, ABROAD = "phantom_nsclc", "phantom_msd"


@pytest.fixture
def automatic():
    """0.5 on two internal patients, 0.3 on one external patient; better with a prompt."""
    dsc = {(HOME, "none"): [0.4, 0.6], (ABROAD, "none"): [0.3], (HOME, "box_one_slice"): [0.8, 0.8], ("lidc_idri", "none"): [0.1]}
    return experiment_page.open_page("unet_full", [_run(planning.make_experiment("unet_full", "phantoms"), dsc, seconds=62.4)])


@pytest.fixture
def promptable(monkeypatch):
    """Better than the ellipse by 0.1 with a box on every slice, worse by 0.2 with one box; and a control with random weights."""
    own = planning.make_experiment("sam_zero_shot", "phantoms")
    random = planning.make_experiment("sam_zero_shot", "phantoms", options={"pretraining": "random"})
    ellipse = _run(
        planning.make_experiment("baselines_zero_shot", "phantoms"),
        {(HOME, "box_every_slice"): [0.7, 0.7], (HOME, "box_one_slice"): [0.6, 0.6], (HOME, "none"): [0.0, 0.0]},
        ceiling=None,
    )
    monkeypatch.setattr(experiment_page.grid, "run_experiment", lambda notebook, profile: ellipse)
    settings = {(HOME, "box_every_slice"): [0.8, 0.8], (HOME, "box_one_slice"): [0.4, 0.4]}
    return experiment_page.open_page("sam_zero_shot", [_run(own, settings), _run(random, settings)])


def test_the_answer_of_an_automatic_model_is_without_a_prompt(automatic):
    said = experiment_page.answer(automatic)
    assert said.split("\n\n") == [
        "Without a prompt, the model reaches a mean 3-D DSC of 0.50 on 2 NSCLC-like phantoms, the kind it was trained on. "
        "On 1 MSD-like phantoms, it reaches 0.30. The network has 1,234 parameters. Its training of 40 steps took 62 s.",
        "A perfect prediction on its working grid would reach 0.90. There is no interval under 10 patients.",
    ]
    values = experiment_page.page_values(automatic)
    assert (values["unet_full_internal_dsc"], values["unet_full_internal_n"], values["unet_full_external_dsc"]) == ("0.50", 2, "0.30")
    assert experiment_page.viewed_setting(automatic) == "none"


def test_the_rows_of_an_automatic_model_with_a_prompt_are_its_control(automatic):
    assert "**control** for that prompt" in experiment_page.how_to_read(automatic)
    table = experiment_page.cohort_table(automatic).set_index(["test set", "prompt"])
    assert table.loc[("phantoms, NSCLC-like", "box on one slice"), "model"] == "U-Net, full training + prompt"
    assert len(table) == 3
    assert list(experiment_page.real_cases(automatic)["test set"]) == ["LIDC-IDRI (real)"]
    assert set(automatic.own_tested()["test_dataset"]) == {HOME, ABROAD}


def test_the_answer_of_a_promptable_model_stands_beside_that_of_the_ellipse(promptable):
    said = experiment_page.answer(promptable)
    assert said.split("\n\n") == [
        "With a box on every slice, the model reaches a mean 3-D DSC of 0.80 on 2 NSCLC-like phantoms. "
        "From the same prompts, “trivial: ellipse or ball” reaches 0.70 (paired difference 0.100). "
        "With a box on one slice, it reaches 0.40. "
        "From the same prompts, “trivial: ellipse or ball” reaches 0.60 (paired difference −0.200).",
        "A perfect prediction in the picture that it sees of a slice would reach 0.90. There is no interval under 10 patients.",
    ]
    assert experiment_page.viewed_setting(promptable) == "box_one_slice"


def test_the_table_of_a_promptable_model_has_its_controls_and_the_ellipse_at_its_own_prompt_settings(promptable):
    table = experiment_page.cohort_table(promptable)
    assert list(dict.fromkeys(table["model"])) == [*promptable.titles.values()]
    assert len(promptable.titles) == 3
    assert set(table["prompt"]) == {"box on every slice", "box on one slice"}
    said = experiment_page.how_to_read(promptable)
    assert "the ellipse in each box" in said
    assert "random weights is a control" in said


def test_the_page_of_the_baselines_compares_two_rules():
    runs = [
        _run(experiment, {(HOME, "box_every_slice"): [value]}, ceiling=None)
        for experiment, value in zip(planning.planned_runs("baselines_zero_shot", "phantoms"), (0.8, 0.7), strict=True)
    ]
    page = experiment_page.open_page("baselines_zero_shot", runs)
    said = experiment_page.answer(page)
    assert said.startswith(
        "With a box on every slice, the rule reaches a mean 3-D DSC of 0.80 on 1 NSCLC-like phantoms. From the same prompts, "
    )
    assert "“trivial: Otsu threshold” reaches 0.70 (paired difference 0.100)." in said
    assert "perfect prediction" not in said
    assert len(experiment_page.cohort_table(page)) == 2
    assert "weights" not in experiment_page.how_to_read(page)
    alone = experiment_page.open_page("baselines_zero_shot", runs[:1])
    assert "From the same prompts" not in experiment_page.answer(alone)


def test_a_page_tells_of_the_model_of_its_stand_in_and_of_its_training():
    fine_tuned = planning.make_experiment("medsam_fine_tuned", "phantoms")
    page = experiment_page.ExperimentPage("medsam_fine_tuned", (SimpleNamespace(experiment=fine_tuned),), None)
    said = experiment_page.how_it_works(page)
    assert "plain resize to\n1024" in said
    assert "at 64 × 64\npixels" in said
    assert "The prompt encoder stays frozen" not in said
    assert "The prompt encoder stays frozen" in experiment_page.how_it_was_trained(page)
    assert experiment_page.tuning_sentence("sam_stand_in") == ""
    trials = pd.read_csv(ROOT / "data" / "results" / "tuning.csv").query("model == 'unet'")
    said = experiment_page.tuning_sentence("unet")
    assert f"The best of {len(trials)} settings that were tried reached a mean DSC of {trials['dev_test_dsc_mean'].max():.2f}" in said


def test_what_the_weights_have_seen_is_said_where_nothing_was_trained(promptable, monkeypatch):
    monkeypatch.setattr(experiment_page.contamination, "sentence", lambda *_: "SEEN")
    assert experiment_page.opening(promptable).endswith("\n\nSEEN")
    assert "no number on this page is a result of SAM" in experiment_page.opening(promptable)
    few = experiment_page.ExperimentPage(
        "unet_few_shot", (SimpleNamespace(experiment=planning.make_experiment("unet_few_shot", "phantoms")),), None
    )
    assert "SEEN" not in experiment_page.opening(few)


def test_notebooks_have_no_text_of_a_single_model():
    names = {registry.card("models", line.model).title.split(" (")[0] for line in LINES}
    for line in LINES:
        cells = json.loads(_source(line.notebook))["cells"]
        said = " ".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        assert not [name for name in names if name in said]

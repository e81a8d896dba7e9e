"""The page of one experiment: its sentences, tables and figures.

The notebooks of one paradigm differ in the experiment's name alone, so what differs between models is decided here, from their cards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import registry
from ..core import project
from ..core.stand_ins import RANDOM
from ..evaluation import intervals
from ..experiments import config, grid, planning
from ..experiments.results import RunResult
from ..types import Row
from . import contamination, methods, model_texts, wording
from .experiment_tables import (
    mean_ceiling,
    printable_case_table,
    printable_cohort_table,
    setting_values,
    values_by_dataset,
    values_by_setting,
)
from .labels import interval_text, label_of
from .values import training_seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


BASELINES = "baselines_zero_shot"  # the notebook whose first run is the ellipse in the box
_NAMED_SETTINGS = ("box_every_slice", "box_one_slice")  # those that the answer of a promptable model states
_VIEWED_SETTINGS = ("box_one_slice", "box_every_slice")  # the first of them that was run is shown in the viewer


@dataclass(frozen=True)
class ExperimentPage:
    """The results that the page of one notebook shows.

    `runs`: the experiment's own first, then its controls, such as random weights. `baseline`: a prediction from the same prompts by a rule
    that learned nothing; None for a model without prompts.
    """

    notebook: str
    runs: tuple[RunResult, ...]
    baseline: RunResult | None

    @property
    def result(self) -> RunResult:
        """The experiment's own run."""
        return self.runs[0]

    @property
    def takes_prompts(self) -> bool:
        """Whether the model predicts from a prompt; an automatic one is only cut to a prompt, as a control."""
        return not registry.card("models", self.result.experiment.model).is_automatic

    @property
    def tested(self) -> list[str]:
        """Test sets that are summed up by means, internal first."""
        return wording.datasets(self.result.experiment.profile)

    @property
    def titles(self) -> dict[str, str]:
        """Experiment -> what it is called beside its numbers, in the order of the table."""
        return {run.experiment.name: planning.experiment_title(run.experiment) for run in self._compared()}

    def own(self) -> pd.DataFrame:
        """The experiment's own predictions: an automatic model's without a prompt, a promptable one's at every prompt setting."""
        return self.result.asked() if self.takes_prompts else self.result.asked("none")

    def own_tested(self) -> pd.DataFrame:
        """Those of `own` on the test sets that are summed up by means."""
        rows = self.own()
        return rows[rows["test_dataset"].isin(self.tested)]

    def shown(self) -> pd.DataFrame:
        """The rows of the table of means: all runs and the baseline, at the prompt settings of the experiment."""
        rows = pd.concat([run.asked() for run in self._compared()], ignore_index=True)
        return rows[rows["test_dataset"].isin(self.tested) & rows["prompter"].isin(self.result.asked()["prompter"].unique())]

    def _compared(self) -> list[RunResult]:
        runs = [*self.runs, *([self.baseline] if self.baseline else [])]
        return list({run.experiment.name: run for run in runs}.values())


def open_page(notebook: str, runs: Sequence[RunResult]) -> ExperimentPage:
    """The page of a notebook's `runs`, with the baseline that its prompts need. The page of the baselines compares its first two rules."""
    own, card = runs[0].experiment, registry.card("models", runs[0].experiment.model)
    if card.is_automatic:
        baseline = None
    elif card.learns:
        baseline = grid.run_experiment(BASELINES, own.profile)
    else:
        baseline = runs[1] if len(runs) > 1 else None
    return ExperimentPage(notebook, tuple(runs), baseline)


def page_title(notebook: str, profile: str) -> str:
    """The title of an experiment's page: "MedSAM (stand-in), few-shot" where the profile runs a stand-in, else "MedSAM, few-shot"."""
    line, experiment = config.load().experiment(notebook), planning.make_experiment(notebook, profile)
    card = registry.card("models", line.model)
    name = _text_of(line.model, profile, notebook).name
    if not card.learns:
        return name
    return f"{name}{'' if experiment.model == line.model else ' (stand-in)'}, {registry.card('paradigms', line.paradigm).title}"


def _text_of(model: str, profile: str, notebook: str) -> model_texts.ModelText:
    experiment = planning.make_experiment(notebook, profile)
    same = model == experiment.model
    options = config.resolve_options(experiment, config.load().profile(profile)) if same else registry.card("models", model).options
    return model_texts.read(model, options)


def opening(page: ExperimentPage) -> str:
    """Markdown for the head of the page: what runs here, and, without training on the tested data, what the weights have seen."""
    experiment = page.result.experiment
    text = wording.what_runs_here(experiment, page.notebook)
    if registry.card("paradigms", experiment.paradigm).uses_target_labels or not registry.card("models", experiment.model).learns:
        return text
    seen = contamination.sentence(experiment.model, page.result.provenance["options"], page.own()["test_dataset"].unique())
    return f"{text}\n\n{seen}"


def answer(page: ExperimentPage) -> str:
    """Markdown: the experiment's mean DSC on each test set, what it is compared with, and the ceiling of its grid."""
    values = page_values(page)
    parts = _prompted_paragraphs(page, values) if page.takes_prompts else [_automatic_paragraph(page, values)]
    least = f"under {intervals.MIN_PATIENTS_FOR_INTERVAL} patients"
    if any("[" in part for part in parts):
        last = f"Brackets hold the 95 % interval over patients; {least} there is none."
    else:
        last = f"There is no interval {least}."
    if f"{page.notebook}_ceiling" in values:
        grid_name = "in the picture that it sees of a slice" if page.takes_prompts else "on its working grid"
        last = f"A perfect prediction {grid_name} would reach {values[f'{page.notebook}_ceiling']}. {last}"
    return "\n\n".join([*parts, last])


def _automatic_paragraph(page: ExperimentPage, values: Row) -> str:
    key, experiment, parts = page.notebook, page.result.experiment, []
    for dataset, role in wording.roles(experiment.profile).items():
        if f"{key}_{role}_n" in values:
            start = "On" if parts else "Without a prompt, the model reaches a mean 3-D DSC of {dsc} on"
            kind = ", the kind it was trained on" if dataset == experiment.train_dataset else ""
            end = ", it reaches {dsc}." if parts else f"{kind}."
            text = f"{start} {values[f'{key}_{role}_n']} {wording.named(dataset)}{end}"
            parts.append(text.format(dsc=values[f"{key}_{role}_dsc"]))
    parts.append(f"The network has {values[f'{key}_parameters']} parameters.")
    if f"{key}_seconds" in values:
        parts.append(f"Its training of {values[f'{key}_steps']} steps took {values[f'{key}_seconds']} s.")
    return " ".join(parts)


def _prompted_paragraphs(page: ExperimentPage, values: Row) -> list[str]:
    key, parts = page.notebook, []
    subject = "model" if registry.card("models", page.result.experiment.model).learns else "rule"
    other = planning.experiment_title(page.baseline.experiment) if page.baseline else ""
    for dataset, role in wording.roles(page.result.experiment.profile).items():
        settings = [name for name in _NAMED_SETTINGS if f"{key}_{role}_{name}" in values]
        sentences = []
        for setting in settings:
            value = f"{key}_{role}_{setting}"
            where = f"it reaches {values[value]}"
            if not sentences:
                where = f"the {subject} reaches a mean 3-D DSC of {values[value]} on {values[f'{key}_{role}_n']} {wording.named(dataset)}"
            sentences.append(f"With a {label_of(setting)}, {where}.")
            if f"{value}_gain" in values:
                base, gain = values[f"{value}_baseline"], values[f"{value}_gain"]
                sentences.append(f"From the same prompts, “{other}” reaches {base} (paired difference {gain}).")
        parts += [" ".join(sentences)] if sentences else []
    return parts


def page_values(page: ExperimentPage) -> dict[str, object]:
    """Values of the page by glue key; each key begins with the notebook's name.

    NOTEBOOK_title, _parameters, _ceiling, after a training _steps and _seconds; of a promptable model those of `setting_values`; of an
    automatic one NOTEBOOK_ROLE_dsc and _n without a prompt.
    """
    key, result, roles = page.notebook, page.result, wording.roles(page.result.experiment.profile)
    values: dict[str, Any] = {f"{key}_title": planning.experiment_title(result.experiment)}
    values[f"{key}_parameters"] = f"{result.provenance['parameters']:,}"
    ceiling = mean_ceiling(result.provenance["cases"], page.tested[0])
    if not np.isnan(ceiling):
        values[f"{key}_ceiling"] = f"{ceiling:.2f}"
    if "seconds" in set(result.history["quantity"]):
        values[f"{key}_steps"] = int(result.history["step"].max())
        values[f"{key}_seconds"] = training_seconds(result.history)
    if page.takes_prompts:
        return values | setting_values(key, result.asked(), page.baseline.asked() if page.baseline else None, roles)
    for row in intervals.cohort_table(page.own()).to_dict("records"):
        if role := roles.get(row["test_dataset"]):
            values[f"{key}_{role}_dsc"] = interval_text(row["dsc"], row["dsc_low"], row["dsc_high"])
            values[f"{key}_{role}_n"] = int(row["n"])
    return values


def how_to_read(page: ExperimentPage) -> str:
    """Markdown for the table of means: what the numbers rest on, and what the rows beside the experiment's own are."""
    experiment = page.result.experiment
    text = wording.statement(experiment.profile) + methods.one_of_several(experiment, page.notebook)
    text += "\n\nMeans over patients with 95 % intervals (BCa bootstrap over patients). Under "
    text += f"{intervals.MIN_PATIENTS_FOR_INFERENCE} patients they are descriptive only."
    if registry.card("models", experiment.model).learns:
        text += " They describe *these weights*, not the method."
    if not page.takes_prompts and set(page.shown()["prompter"]) - {"none"}:
        text += (
            "\n\nThe rows with a prompt are the **control** for that prompt: those parts of the network's own prediction that touch the "
            "prompt, cut to the prompt's box grown by 5 mm. This is what a prompt gives to a model that cannot read it. The rest of this "
            "page uses no prompt."
        )
    elif page.baseline and registry.card("models", experiment.model).learns:
        text += (
            "\n\nEach prompt setting has a row of the trivial baseline with the same prompts: the ellipse in each box, or the ellipsoid on "
            "the one box. What a box gives away is part of every number."
        )
    if any(dict(run.experiment.options).get("pretraining") == RANDOM for run in page.runs[1:]):
        text += " The same network with random weights is a control. It has learned nothing: its score comes from prompt and architecture."
    return text


def cohort_table(page: ExperimentPage) -> pd.DataFrame:
    """Means of the page's runs and of the baseline, a row for each prompt setting and test set."""
    return printable_cohort_table(page.shown(), page.titles)


def values_figure(page: ExperimentPage) -> Figure:
    """Each patient a point: by prompt setting and model, or by test set for an automatic model."""
    if page.takes_prompts:
        return values_by_setting(page.shown(), page.titles)
    return values_by_dataset(page.own_tested())


def real_cases(page: ExperimentPage) -> pd.DataFrame:
    """The real cases that are shown one by one, outside the test sets that are summed up."""
    real = [name for name in page.own()["test_dataset"].unique() if name not in page.tested]
    return printable_case_table(page.own(), real, page.result.provenance["cases"])


def viewed_setting(page: ExperimentPage) -> str:
    """The prompt setting whose predictions the viewer of the page shows."""
    asked = set(page.own()["prompter"])
    return next((name for name in _VIEWED_SETTINGS if name in asked), page.own()["prompter"].iloc[0])


def how_it_works(page: ExperimentPage) -> str:
    """Markdown on the model and on the stand-in that ran in its place."""
    return "\n\n".join(text.about for text in _texts(page))


def how_it_was_trained(page: ExperimentPage) -> str:
    """Markdown on what is special in the training of the model; empty for a model whose file says nothing of it."""
    parts = [*(text.training for text in _texts(page)), tuning_sentence(page.result.experiment.model)]
    return "\n\n".join(filter(None, parts))


def _texts(page: ExperimentPage) -> list[model_texts.ModelText]:
    experiment, line = page.result.experiment, config.load().experiment(page.notebook)
    return [_text_of(name, experiment.profile, page.notebook) for name in dict.fromkeys((line.model, experiment.model))]


def tuning_sentence(model: str) -> str:
    """One sentence on how an automatic model's settings were chosen; empty if no trials are stored."""
    path = project.project_root() / "data" / "results" / "tuning.csv"
    trials = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["model", "dev_test_dsc_mean"])
    trials = trials[trials["model"] == model]
    if trials["dev_test_dsc_mean"].isna().all():
        return ""
    best = trials.loc[trials["dev_test_dsc_mean"].idxmax()]
    return (
        f"The best of {len(trials)} settings that were tried reached a mean DSC of {best['dev_test_dsc_mean']:.2f} on development phantoms "
        f"(median {best['dev_test_dsc_median']:.2f}); `data/results/{path.name}` lists every trial."
    )

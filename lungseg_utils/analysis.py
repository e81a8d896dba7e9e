"""What the finished experiments say together: the ladder, the planned contrasts, labels used, strata, failures, seeds, few-shot curves.

Everything is computed from tables and provenance of `run.RunResult`s; nothing is predicted here. The unit is the patient, values of
one data set are never mixed with those of another, and rows of jittered prompts never with those of prompts as they should be drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist

from . import config, detector, figures, inference, metrics, plan, protocols, registry, run, stats, tables
from .prompts.ladder import PROMPTERS
from .types import Experiment, Mask

TRIVIAL_MODEL = "trivial"
WORST_SHOWN = 3


def phantom_datasets(finished: Sequence[run.RunResult]) -> list[str]:
    """The phantom data sets that were tested on, in reading order."""
    known = {name for r in finished for name in r.results["test_dataset"].unique()}
    return [name for name in figures.TITLES if name in known and registry.card("datasets", name).phantom]


def titles(finished: Iterable[run.RunResult]) -> dict[str, str]:
    """Experiment -> what it is called beside a number."""
    return {r.experiment.name: run.title(r.experiment) for r in finished}


def results_of(finished: Iterable[run.RunResult]) -> pd.DataFrame:
    """All results with prompts as they should be drawn, in one table."""
    return pd.concat([r.asked() for r in finished], ignore_index=True)


def dsc_by_patient(result: run.RunResult, dataset: str, rung: str, jitter: float = 0.0) -> pd.Series:
    """One DSC per patient with a tumor (index patient_id); empty if this was not asked."""
    return _by_patient(result, dataset, rung, "dsc", jitter)


def _by_patient(result: run.RunResult, dataset: str, rung: str, metric: str, jitter: float = 0.0) -> pd.Series:
    rows = tables.case_values(result.results[result.results["jitter"] == jitter], metric)
    return stats.patient_means(rows[(rows["test_dataset"] == dataset) & (rows["prompter"] == rung)])


def target_labels_used(result: run.RunResult, dataset: str, rung: str) -> int:
    """Labelled patients of the tested data set that an answer rests on, training and validation, those of a detector included."""
    used = _labels(result.experiment, result.provenance["patients"], dataset)
    if PROMPTERS[rung].from_detector:
        finder = run.open_result(detector.detector_of(result.experiment, dataset))
        used |= _labels(finder.experiment, finder.provenance["patients"], dataset)
    return len(used)


def _labels(experiment: Experiment, patients: Mapping[str, Sequence[str]], dataset: str) -> set[str]:
    return {*patients["train"], *patients["validation"]} if experiment.train_dataset == dataset else set()


# --- the ladder -------------------------------------------------------------------------------------------------------


def ladder(finished: Sequence[run.RunResult], dataset: str) -> pd.DataFrame:
    """One row per method and rung of one data set, from most help to none.

    Columns: experiment, title, rung, role ("model", "control", "trivial"), n, dsc with interval, nsd_3mm, hit (lesion sensitivity),
    dsc_detected (mean DSC of hit lesions) with n_detected, actions per patient, labels (of the target used), and the paired differences
    to the control and to the best trivial answer with the same prompt, with intervals.
    """
    roles = {r.experiment.name: _role(r.experiment) for r in finished}
    control, rows = _control(finished), []
    for rung in [name for name in PROMPTERS if any(_asked(r, dataset, name) for r in finished)]:
        here = {r.experiment.name: dsc_by_patient(r, dataset, rung) for r in finished if _asked(r, dataset, rung)}
        trivial = [values for name, values in here.items() if roles[name] == "trivial"]
        best = max(trivial, key=lambda values: values.mean()) if trivial else None
        for result in (r for r in finished if r.experiment.name in here):
            values = here[result.experiment.name]
            row = _ladder_row(result, dataset, rung, values)
            role = roles[result.experiment.name]
            row["role"] = "control" if role == "automatic" and rung != "none" else "trivial" if role == "trivial" else "model"
            row |= _difference("control", values, _control_values(result, dataset, rung, here.get(control)))
            rows.append(row | _difference("trivial", values, best))
    return pd.DataFrame(rows)


def _control_values(result: run.RunResult, dataset: str, rung: str, control: pd.Series | None) -> pd.Series | None:
    """What an answer is measured against: the automatic model with the same prompt, or the detector's own mask beside its boxes."""
    if PROMPTERS[rung].from_detector:
        return dsc_by_patient(run.open_result(detector.detector_of(result.experiment, dataset)), dataset, "none")
    return control if rung != "none" else None


def _role(experiment: Experiment) -> str:
    if experiment.model == TRIVIAL_MODEL:
        return "trivial"
    return "automatic" if "none" in registry.card("models", experiment.model).prompters else "promptable"


def _control(finished: Sequence[run.RunResult]) -> str:
    planned = run.plan(plan.load().automatic_control, finished[0].experiment.profile)
    return planned.name


def _asked(result: run.RunResult, dataset: str, rung: str) -> bool:
    rows = result.results
    return bool(((rows["test_dataset"] == dataset) & (rows["prompter"] == rung) & (rows["jitter"] == 0)).any())


def _ladder_row(result: run.RunResult, dataset: str, rung: str, values: pd.Series) -> dict[str, Any]:
    summary = stats.summarize_mean(values.to_numpy())
    rows = result.asked(rung)
    rows = rows[rows["test_dataset"] == dataset]
    whole, lesions = rows[rows["lesion_id"] == ""], rows[rows["metric"] == "lesion_dsc"]
    hit = lesions[lesions["value"] > 0]
    costs = result.costs[(result.costs["quantity"] == "actions") & (result.costs["jitter"] == 0)]
    costs = costs[(costs["test_dataset"] == dataset) & (costs["prompter"] == rung) & costs["case_id"].isin(values.index)]
    name = figures.method_titles(result.asked(), {result.experiment.name: run.title(result.experiment)})
    return {
        "experiment": result.experiment.name,
        "title": name[result.experiment.name, rung],
        "rung": rung,
        "n": summary.n,
        "dsc": summary.mean,
        "dsc_low": summary.low,
        "dsc_high": summary.high,
        "nsd_3mm": _mean_of(whole, "nsd_3mm"),
        "hit": _mean_of(whole, "lesion_sensitivity"),
        "dsc_detected": hit["value"].mean() if len(hit) else np.nan,
        "n_detected": len(hit),
        "actions": costs["value"].mean() if len(costs) else 0.0,
        "labels": target_labels_used(result, dataset, rung),
        "failed": int(whole[whole["status"] == "failed"]["case_id"].nunique()),
    }


def _mean_of(rows: pd.DataFrame, metric: str) -> float:
    values = tables.case_values(rows, metric)
    return float(stats.patient_means(values).mean()) if len(values) else np.nan


def _difference(name: str, values: pd.Series, other: pd.Series | None) -> dict[str, float]:
    if other is None or values is other:
        return {f"over_{name}": np.nan, f"over_{name}_low": np.nan, f"over_{name}_high": np.nan}
    gain = stats.summarize_paired_difference(values, other)
    return {f"over_{name}": gain.mean, f"over_{name}_low": gain.low, f"over_{name}_high": gain.high}


# --- planned contrasts ------------------------------------------------------------------------------------------------


def contrasts(profile: str, dataset: str) -> pd.DataFrame:
    """The six planned contrasts on one data set, Holm inside the family; a place that this profile cannot fill says why.

    Columns: name, a, b (titles with rungs), n, difference, low, high, p, p_holm, detectable (minimum detectable difference), p_wilcoxon
    (for the appendix), the secondary metric's secondary, secondary_low, secondary_high, secondary_n, and method.
    """
    filled = {c.name: _contrast(c, profile, dataset) for c in plan.load().contrasts}
    made = [found.contrast for found in filled.values() if isinstance(found, _Filled)]
    empty = [inference.Contrast(name, *[np.nan] * 4, np.nan, 0, why) for name, why in filled.items() if isinstance(why, str)]
    adjusted = {c.name: c for c in inference.adjust_family([*made, *empty])}
    rows = []
    for name, found in filled.items():
        contrast = adjusted[name]
        row = {"name": name, "n": contrast.n, "difference": contrast.difference, "low": contrast.low, "high": contrast.high}
        row |= {"p": contrast.p, "p_holm": contrast.p_holm, "method": contrast.method, "a": "", "b": ""}
        rows.append(row | (found.columns() if isinstance(found, _Filled) else {}))
    table = pd.DataFrame(rows)
    return table.reindex(columns=[*table.columns, *(name for name in _Filled.NUMBERS if name not in table)])


@dataclass(frozen=True)
class _Filled:
    """A place of the family that could be filled: the contrast, its sides by name, and what stands beside it."""

    contrast: inference.Contrast
    a: str
    b: str
    detectable: float
    p_wilcoxon: float
    secondary: stats.Summary

    NUMBERS: ClassVar = ("detectable", "p_wilcoxon", "secondary", "secondary_low", "secondary_high", "secondary_n")

    def columns(self) -> dict[str, Any]:
        numbers = (self.detectable, self.p_wilcoxon, self.secondary.mean, self.secondary.low, self.secondary.high, self.secondary.n)
        return {"a": self.a, "b": self.b} | dict(zip(self.NUMBERS, numbers, strict=True))


def _contrast(planned: plan.PlannedContrast, profile: str, dataset: str) -> _Filled | str:
    """The contrast and what stands beside it; or why this profile has none."""
    known, results = [line.notebook for line in config.load().lines(profile)], []
    for notebook, rung in (planned.a, planned.b):
        if notebook not in known or rung not in config.load().profile(profile).prompters:
            return f"not asked in this profile: {notebook} with {figures.title(rung)}"
        experiment = run.plan(notebook, profile)
        if not run.is_finished(experiment):
            return f"not run yet: {notebook}"
        results.append(run.open_result(experiment))
        if not _asked(results[-1], dataset, rung):
            return f"not applicable: {notebook} with {figures.title(rung)} on this data set"
    rungs = (planned.a[1], planned.b[1])
    if (results[0].experiment, rungs[0]) == (results[1].experiment, rungs[1]):
        return "both are the same stand-in here: only the published weights tell them apart"
    a, b = (dsc_by_patient(result, dataset, rung) for result, rung in zip(results, rungs, strict=True))
    sides = [_side(result, rung) for result, rung in zip(results, rungs, strict=True)]
    difference = (a - b.reindex(a.index)).to_numpy()
    detectable = inference.minimum_detectable_difference(float(difference.std(ddof=1)), len(a)) if len(a) > 2 else np.nan
    other = pd.DataFrame(
        {
            number: _by_patient(r, dataset, rung, plan.load().raw["secondary_metric"])
            for number, (r, rung) in enumerate(zip(results, rungs, strict=True))
        }
    )
    secondary = stats.summarize_paired_difference(*(other.dropna()[side] for side in other))  # undefined where no surface is judged
    contrast = inference.compare_paired(planned.name, a, b, plan.load().seed)
    return _Filled(contrast, *sides, detectable, inference.wilcoxon_test(a, b), secondary)


def _side(result: run.RunResult, rung: str) -> str:
    name = figures.method_titles(result.asked(), titles([result]))[result.experiment.name, rung]
    return f"{name}, {figures.title(rung)}"


# --- ranks ------------------------------------------------------------------------------------------------------------


def ranks(finished: Sequence[run.RunResult], dataset: str, rung: str) -> pd.DataFrame:
    """Rank of each method on one rung with the bootstrap's rank range; see `inference.rank_sets`. Index: titles."""
    columns = {r.experiment.name: dsc_by_patient(r, dataset, rung) for r in finished if _asked(r, dataset, rung)}
    names = figures.method_titles(results_of(finished), titles(finished))
    table = pd.DataFrame(columns)
    return inference.rank_sets(table, higher_is_better=True, seed=plan.load().seed).rename(index=lambda e: names[e, rung])


# --- jitter -----------------------------------------------------------------------------------------------------------


def robustness(finished: Sequence[run.RunResult], dataset: str) -> pd.DataFrame:
    """Mean DSC with interval by method, rung and share of wrong drawing (0 first); draws are averaged within the patient."""
    rows, names = [], figures.method_titles(results_of(finished), titles(finished))
    for result in finished:
        asked = result.results[result.results["test_dataset"] == dataset]
        wrongly = asked[asked["jitter"] > 0]
        for rung in [name for name in PROMPTERS if name in set(wrongly["prompter"])]:
            for share in sorted({0.0, *wrongly[wrongly["prompter"] == rung]["jitter"]}):
                summary = stats.summarize_mean(dsc_by_patient(result, dataset, rung, share).to_numpy())
                row = {"experiment": result.experiment.name, "title": names[result.experiment.name, rung], "rung": rung, "jitter": share}
                rows.append(row | {"n": summary.n, "dsc": summary.mean, "dsc_low": summary.low, "dsc_high": summary.high})
    return pd.DataFrame(rows, columns=["experiment", "title", "rung", "jitter", "n", "dsc", "dsc_low", "dsc_high"])


def best_of_draws(finished: Sequence[run.RunResult], dataset: str) -> pd.DataFrame:
    """What is gained by keeping the best of several wrongly drawn prompts by the reference: by method, rung and share of wrong drawing.

    Columns: title, rung, jitter, n, dsc (draws averaged within the patient), best (best draw of each case), gain with interval.
    """
    rows, names = [], figures.method_titles(results_of(finished), titles(finished))
    for result in finished:
        best = result.results[(result.results["test_dataset"] == dataset) & (result.results["metric"] == metrics.BEST_OF_DRAWS)]
        for (rung, share), part in best[best["status"] != "undefined"].groupby(["prompter", "jitter"], sort=False):
            means, bests = dsc_by_patient(result, dataset, rung, share), stats.patient_means(part)
            gain = stats.summarize_paired_difference(bests, means)
            row = {"title": names[result.experiment.name, rung], "rung": rung, "jitter": share, "n": gain.n}
            rows.append(row | {"dsc": means.mean(), "best": bests.mean(), "gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high})
    return pd.DataFrame(rows, columns=["title", "rung", "jitter", "n", "dsc", "best", "gain", "gain_low", "gain_high"])


# --- the protocol trap -------------------------------------------------------------------------------------------------


def protocol_trap(finished: Sequence[run.RunResult], dataset: str, rungs: Sequence[str]) -> pd.DataFrame:
    """The stored predictions of every method and rung, scored by every published protocol; this project's own stands first.

    Columns: experiment, title, rung, protocol, formula, value, n, unit, share (of all slices that were looked at), shift (against the
    own protocol), rank (among the methods of the rung, 1 is best).
    """
    counts: dict[tuple[str, str], list[protocols.CaseCounts]] = {}
    for case in finished[0].cases(dataset):
        study = run.load_study(case)
        reference = next(iter(study.references.values())).array
        for result in finished if reference.any() else []:
            for rung in [name for name in rungs if _asked(result, dataset, name)]:
                answer = result.prediction(dataset, rung, case.case_id, study).array
                measured = protocols.measure(protocols.CaseMasks(case.patient_id, reference, (answer,)))
                counts.setdefault((result.experiment.name, rung), []).append(measured)
    names, rows = figures.method_titles(results_of(finished), titles(finished)), []
    for (experiment, rung), cases in counts.items():
        values = protocols.all_protocols(cases)
        for found in values:
            row = {
                "experiment": experiment,
                "title": names[experiment, rung],
                "rung": rung,
                "protocol": found.name,
                "formula": found.formula,
            }
            row |= {"value": found.value, "n": found.n, "unit": found.unit_of_n, "share": found.slices_scored_share}
            rows.append(row | {"shift": found.value - values[0].value})
    table = pd.DataFrame(rows)
    table["rank"] = table.groupby(["rung", "protocol"])["value"].rank(ascending=False, method="min")
    return table


def rank_agreement(trap: pd.DataFrame) -> pd.DataFrame:
    """Kendall's tau between the methods' ranks by the own protocol and by each other one, per rung (rows: protocols).

    NaN where a protocol gives some method no value, such as "only detected cases" to one that detected none.
    """
    own, result = trap["protocol"].iloc[0], {}
    for rung, part in trap.groupby("rung", sort=False):
        ranks_by = part.pivot(index="experiment", columns="protocol", values="rank")
        if len(ranks_by) > 2:
            defined = {name: ranks_by[name].notna().all() for name in part["protocol"].unique()}
            result[rung] = {n: inference.kendall_tau(ranks_by[own], ranks_by[n]) if ok else np.nan for n, ok in defined.items()}
    return pd.DataFrame(result).rename_axis("protocol").reset_index()


# --- few-shot curves and seeds ----------------------------------------------------------------------------------------


def few_shot(finished: Sequence[run.RunResult], dataset: str, rung: str) -> pd.DataFrame:
    """Mean DSC of each draw by model and k; "all" stands for full training or fine-tuning of the same model, where it was run."""
    rows = []
    for result in _learning(finished, dataset, rung):
        e, values = result.experiment, dsc_by_patient(result, dataset, rung)
        rows.append({"model": _model(e), "k": _shots(e), "draw": e.draw, "seed": e.seed, "dsc": values.mean(), "n": len(values)})
    return pd.DataFrame(rows, columns=["model", "k", "draw", "seed", "dsc", "n"])


def few_shot_runs(finished: Sequence[run.RunResult], dataset: str, rung: str) -> pd.DataFrame:
    """The same by model and k over all draws: lowest, highest and SD of the runs' means, and both estimands with their intervals.

    Columns beside those of `_spread`: model, k, and over_<automatic>: paired difference to the automatic model trained on the same draws
    of the same k ("the method", matched runs), with interval.
    """
    groups = _runs(_learning(finished, dataset, rung), dataset, rung, lambda e: (_model(e), _shots(e)))
    control = _model(run.plan(plan.load().automatic_control, finished[0].experiment.profile))
    rows = []
    for (model, k), table in sorted(groups.items(), key=lambda item: (item[0][0], np.inf if item[0][1] == "all" else item[0][1])):
        row = {"model": model, "k": k} | _spread(table)
        other = groups.get((control, k)) if model != control else None
        rows.append(row | _matched_difference("control", table, other))
    return pd.DataFrame(rows)


def _matched_difference(name: str, a: pd.DataFrame, b: pd.DataFrame | None) -> dict[str, Any]:
    """On the runs that both sides have; fewer than two common ones say nothing of the methods."""
    common = [] if b is None else [run_label for run_label in a.columns if run_label in b.columns]
    if len(common) < 2:
        return {f"over_{name}": np.nan, f"over_{name}_low": np.nan, f"over_{name}_high": np.nan, f"over_{name}_runs": len(common)}
    gain = stats.summarize_method_difference(a[common], b[common], matched_runs=True)
    return {f"over_{name}": gain.mean, f"over_{name}_low": gain.low, f"over_{name}_high": gain.high, f"over_{name}_runs": len(common)}


def seed_spread(finished: Sequence[run.RunResult], dataset: str) -> pd.DataFrame:
    """Per method and rung that was trained more than once: how far its runs differ, and both estimands; see `_spread`.

    Columns: title, rung, those of `_spread`.
    """
    names = figures.method_titles(results_of(finished), titles(finished))
    rows = []
    for rung in PROMPTERS:
        for name, table in _runs(finished, dataset, rung, lambda e, rung=rung: names[e.name, rung]).items():
            if table.shape[1] > 1:
                rows.append({"title": name, "rung": rung} | _spread(table))
    return pd.DataFrame(rows, columns=["title", "rung", *_SPREAD_COLUMNS])


def method_differences(finished: Sequence[run.RunResult], dataset: str) -> pd.DataFrame:
    """Promptable methods minus the automatic one with the same prompt, over other patients AND other trainings of both.

    Columns: a, b, rung, runs, n, difference, low, high, how; rungs on which both were trained more than once.
    """
    names, control = figures.method_titles(results_of(finished), titles(finished)), _control_line(finished)
    rows = []
    for rung in [name for name in PROMPTERS if name != "none"]:
        groups = _runs(finished, dataset, rung, lambda e, rung=rung: ((e.model, e.paradigm) == control, names[e.name, rung]))
        several = {key: table for key, table in groups.items() if table.shape[1] > 1}
        baseline = next(((name, table) for (is_control, name), table in several.items() if is_control), None)
        for (is_control, name), table in several.items() if baseline else ():
            if not is_control:
                found = stats.summarize_method_difference(table, baseline[1])
                row = {"a": name, "b": baseline[0], "rung": rung, "runs": min(table.shape[1], baseline[1].shape[1]), "n": found.n}
                rows.append(row | {"difference": found.mean, "low": found.low, "high": found.high, "how": found.method})
    return pd.DataFrame(rows, columns=["a", "b", "rung", "runs", "n", "difference", "low", "high", "how"])


_SPREAD_COLUMNS = (
    *("runs", "n", "dsc", "lowest", "highest", "sd", "trained_low", "trained_high", "trained_how"),
    *("method_low", "method_high", "method_how"),
)


def _spread(table: pd.DataFrame) -> dict[str, Any]:
    """Of a table patients x runs: mean DSC, the runs' lowest and highest mean and their SD, and the intervals of both estimands."""
    means, trained, method = table.mean(), stats.summarize_trained_models(table), stats.summarize_method(table)
    return {
        "runs": table.shape[1], "n": trained.n, "dsc": trained.mean, "lowest": means.min(), "highest": means.max(),
        "sd": means.std(ddof=1), "trained_low": trained.low, "trained_high": trained.high, "trained_how": trained.method,
        "method_low": method.low, "method_high": method.high, "method_how": method.method,
    }  # fmt: skip


def _runs(
    finished: Iterable[run.RunResult],
    dataset: str,
    rung: str,
    key: Callable[[Experiment], Hashable],
    label: Callable[[Experiment], Hashable] = lambda e: f"seed {e.seed}, fold {e.fold}, draw {e.draw}",
) -> dict[Hashable, pd.DataFrame]:
    """DSC as tables patients x runs, one per key; a run has a label."""
    found: dict[Hashable, dict[Hashable, pd.Series]] = {}
    for result in finished:
        if _asked(result, dataset, rung):
            found.setdefault(key(result.experiment), {})[label(result.experiment)] = dsc_by_patient(result, dataset, rung)
    return {name: pd.DataFrame(columns) for name, columns in found.items()}


def _learning(finished: Iterable[run.RunResult], dataset: str, rung: str) -> list[run.RunResult]:
    return [r for r in finished if _asked(r, dataset, rung) and r.experiment.model != TRIVIAL_MODEL]


def _model(experiment: Experiment) -> str:
    """A title without its paradigm and number of patients."""
    return run.title(experiment).rsplit(", k =", 1)[0].rsplit(", ", 1)[0]


def _shots(experiment: Experiment) -> int | str:
    if experiment.k is None:
        return "all" if registry.card("paradigms", experiment.paradigm).uses_target_labels else 0
    return experiment.k


def _control_line(finished: Sequence[run.RunResult]) -> tuple[str, str]:
    planned = run.plan(plan.load().automatic_control, finished[0].experiment.profile)
    return planned.model, planned.paradigm


# --- choosing with labels that nobody counts --------------------------------------------------------------------------

SELECTION_SPLITS = 500


def selection(finished: Sequence[run.RunResult], dataset: str, rung: str, others: int = 20, seed: int = 0) -> pd.DataFrame:
    """What it brings to choose the number of training steps by patients whose labels are not counted, for one few-shot method.

    The tested patients are split at random, `SELECTION_SPLITS` times: `others` of them play labelled patients at hand, the rest are
    tested. Rows: steps fixed beforehand; chosen by the others ("free validation"); chosen by the tested patients themselves. Columns:
    rule, labels (k and what else was used), dsc, shift (against the first), shift_low and shift_high (lowest and highest draw), draws, n.
    """
    fixed = dict(run.plan(_notebook(finished[0].experiment), finished[0].experiment.profile).options)["steps"]
    draws = _runs(finished, dataset, rung, lambda e: e.draw, lambda e: dict(e.options)["steps"])
    draws = {draw: table for draw, table in draws.items() if table.shape[1] > 1 and fixed in table}
    scores = {draw: _chosen_scores(table, fixed, others, seed) for draw, table in draws.items()}
    table = pd.DataFrame(scores).T.rename_axis("draw")
    n, k = len(next(iter(draws.values()))) - others, finished[0].experiment.k
    labels = {"fixed beforehand": k, "chosen by other labelled patients": k + others, "chosen by the tested patients": k + n}
    rows = []
    for (rule, used), column in zip(labels.items(), table, strict=True):
        shift = table[column] - table[table.columns[0]]
        row = {"rule": rule, "labels": used, "dsc": table[column].mean(), "shift": shift.mean()}
        rows.append(row | {"shift_low": shift.min(), "shift_high": shift.max(), "draws": len(table), "n": n})
    return pd.DataFrame(rows)


def _chosen_scores(table: pd.DataFrame, fixed: int, others: int, seed: int) -> tuple[float, float, float]:
    """Mean over splits of the tested patients' mean: with fixed steps, with those that are best on the others, on themselves."""
    rng, values, scores = np.random.default_rng(seed), stats.complete_table(table, "steps"), []
    for _ in range(SELECTION_SPLITS):
        order = rng.permutation(len(values))
        known, tested = values.iloc[order[:others]].mean(), values.iloc[order[others:]].mean()
        scores.append((tested[fixed], tested[known.idxmax()], tested.max()))
    return tuple(np.mean(scores, axis=0))


def _notebook(experiment: Experiment) -> str:
    lines = config.load().lines(experiment.profile)
    return next(line.notebook for line in lines if experiment in run.planned(line.notebook, experiment.profile))


# --- strata -----------------------------------------------------------------------------------------------------------


def longest_axial_diameter_mm(mask: Mask) -> float:
    """Largest distance between two voxel centres of one lesion on one axial slice, over all lesions; NaN without a lesion."""
    labels, best = metrics.label_lesions(mask.array), np.nan
    for index in np.flatnonzero(labels.any(axis=(0, 1))):
        for lesion in np.unique(labels[:, :, index])[1:]:
            places = np.argwhere(labels[:, :, index] == lesion) * np.asarray(mask.spacing_mm[:2])
            length = pdist(_hull(places)).max() if len(places) > 1 else 0.0
            best = np.nanmax([best, length + float(np.mean(mask.spacing_mm[:2]))])
    return float(best)


def _hull(places: np.ndarray) -> np.ndarray:
    """The first and last place of each row: the farthest pair is among them."""
    order = np.lexsort((places[:, 1], places[:, 0]))
    places = places[order]
    starts = np.flatnonzero(np.r_[True, np.diff(places[:, 0]) > 0])
    return np.unique(np.concatenate([places[starts], places[np.r_[starts[1:] - 1, len(places) - 1]]]), axis=0)


def facts_of_cases(finished: Sequence[run.RunResult], dataset: str) -> pd.DataFrame:
    """What each case with a tumor is like (index case_id): diameter class in mm and the attributes of the plan's strata."""
    edges = [0.0, *plan.load().diameter_mm, np.inf]
    labels = [f"≤ {edges[1]:g} mm", *(f"{a:g}–{b:g} mm" for a, b in zip(edges[1:-2], edges[2:-1], strict=True)), f"> {edges[-2]:g} mm"]
    rows = {}
    for case in finished[0].cases(dataset):
        reference = next(iter(run.load_study(case).references.values()))
        if reference.array.any():
            diameter = longest_axial_diameter_mm(reference)
            facts = {name: str(case.attributes.get(name, "")).split(";")[0] for name in plan.load().raw["strata"]["attributes"]}
            rows[case.case_id] = {"diameter": labels[int(np.searchsorted(edges[1:], diameter))], "diameter_mm": diameter} | facts
    return pd.DataFrame.from_dict(rows, orient="index")


def strata(finished: Sequence[run.RunResult], dataset: str, rung: str, facts: pd.DataFrame) -> pd.DataFrame:
    """Mean DSC by method (rows) and level of each stratum (columns "what: level (n)"); descriptive."""
    names, rows = figures.method_titles(results_of(finished), titles(finished)), {}
    for result in (r for r in finished if _asked(r, dataset, rung)):
        values = tables.case_values(result.asked(rung), "dsc")
        values = values[values["test_dataset"] == dataset].groupby("case_id")["value"].mean()
        row = rows.setdefault(names[result.experiment.name, rung], {})
        for what in [c for c in facts.columns if c != "diameter_mm"]:
            for level, part in facts.sort_values("diameter_mm" if what == "diameter" else what).groupby(what, sort=False):
                name = level.replace("_", "-") or "not given"
                row[f"{what}: {name} (n = {len(part)})"] = values.reindex(part.index).mean()
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method").reset_index()


# --- abroad -----------------------------------------------------------------------------------------------------------


def abroad(finished: Sequence[run.RunResult], home: str, elsewhere: str) -> pd.DataFrame:
    """Mean DSC by method and rung on the data set that was trained on and on another one, and the drop between the two.

    An experiment that was trained on `elsewhere` is at home there; one that was not trained at all, on `home`. The patients differ, so
    that the groups are independent. Columns: title, rung, trained, home, elsewhere, drop with interval, n_home, n_elsewhere.
    """
    rows, names = [], figures.method_titles(results_of(finished), titles(finished))
    for rung in PROMPTERS:
        for result in (r for r in finished if _asked(r, home, rung) and _asked(r, elsewhere, rung)):
            swapped = result.experiment.train_dataset == elsewhere
            here, there = (dsc_by_patient(result, name, rung) for name in ((elsewhere, home) if swapped else (home, elsewhere)))
            drop = stats.summarize_difference(here.to_numpy(), there.to_numpy())
            row = {"title": names[result.experiment.name, rung], "rung": rung, "home": here.mean(), "elsewhere": there.mean()}
            row |= {"trained": result.experiment.train_dataset != config.NO_DATASET}
            row |= {"drop": drop.mean, "drop_low": drop.low, "drop_high": drop.high}
            rows.append(row | {"n_home": len(here), "n_elsewhere": len(there)})
    return pd.DataFrame(rows)


# --- failures ---------------------------------------------------------------------------------------------------------


def failures(finished: Sequence[run.RunResult], datasets: Sequence[str]) -> pd.DataFrame:
    """Every failed and every empty answer, and the worst ones of each method and rung: what, where, why, DSC."""
    rows, names = [], figures.method_titles(results_of(finished), titles(finished))
    for result in finished:
        reasons = {(c["test_dataset"], c["prompter"], c["case_id"]): c["failure"] for c in result.provenance["cases"]}
        wide = _wide(result.asked(), datasets)
        for (dataset, rung), part in wide.groupby(["test_dataset", "prompter"], sort=False):
            worst = part["dsc"].nsmallest(WORST_SHOWN).index
            for index, row in part.iterrows():
                reason = reasons.get((dataset, rung, row["case_id"]), "")
                kind = "failed" if reason else "empty" if row["prediction_volume"] == 0 else "worst" if index in worst else ""
                if kind:
                    found = {"method": names[result.experiment.name, rung], "rung": rung, "test_dataset": dataset, "case": row["case_id"]}
                    rows.append(found | {"kind": kind, "dsc": row["dsc"], "reference_ml": row["reference_volume"], "reason": reason})
    return pd.DataFrame(rows, columns=["method", "rung", "test_dataset", "case", "kind", "dsc", "reference_ml", "reason"])


def _wide(results: pd.DataFrame, datasets: Sequence[str]) -> pd.DataFrame:
    rows = results[(results["lesion_id"] == "") & results["test_dataset"].isin(datasets)]
    rows = rows[rows["metric"].isin(["dsc", "prediction_volume", "reference_volume"])]
    keys = ["test_dataset", "prompter", "case_id"]
    wide = rows.groupby([*keys, "metric"], sort=False)["value"].first().unstack("metric").reset_index()
    return wide[wide["reference_volume"] > 0]

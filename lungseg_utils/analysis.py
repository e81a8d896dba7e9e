"""What the finished experiments say together: the ladder, the planned contrasts, labels used, strata, failures, seeds, few-shot curves.

Everything is computed from tables and provenance of `run.RunResult`s; nothing is predicted here. A row is a method (`methods`), the unit
is the patient: runs of a method are averaged within the patient for "these trained models", and crossed with patients for "the method".
Values of one data set are never mixed with those of another, methods trained on it never with those trained on another, and rows of
jittered prompts never with those of prompts as they should be drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist

from . import config, detector, figures, inference, methods, metrics, plan, protocols, registry, run, stats, tables
from .methods import Method
from .prompts.ladder import PROMPTERS
from .types import Case, Experiment, Mask

TRIVIAL_MODEL = "trivial"
WORST_SHOWN = 3


def tested_datasets(finished: Sequence[run.RunResult]) -> list[str]:
    """The data sets that were tested on, without those that are shown case by case; in reading order."""
    case_by_case = config.load().profile(finished[0].experiment.profile).real_datasets
    known = {name for r in finished for name in r.results["test_dataset"].unique()} - set(case_by_case)
    return [name for name in figures.TITLES if name in known]


def titles(finished: Iterable[run.RunResult]) -> dict[str, str]:
    """Experiment -> what it is called beside a number."""
    return {r.experiment.name: run.title(r.experiment) for r in finished}


def results_of(finished: Iterable[run.RunResult]) -> pd.DataFrame:
    """All results with prompts as they should be drawn, in one table; a method with several runs stands there once, with their means."""
    return pd.concat([method.averaged() for method in methods.of(finished)], ignore_index=True)


def dsc_by_patient(result: run.RunResult, dataset: str, rung: str, jitter: float = 0.0) -> pd.Series:
    """One DSC per patient with a tumor (index patient_id) of one experiment; empty if this was not asked."""
    rows = tables.case_values(result.results[result.results["jitter"] == jitter], "dsc")
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


NOT_TRAINED, TARGET, EXTERNAL = "", "target", "external"


def training(experiment: Experiment, dataset: str) -> str:
    """What an answer on a data set was trained on: `TARGET` that data set, `EXTERNAL` another one, `NOT_TRAINED` no labelled patients."""
    if experiment.train_dataset == config.NO_DATASET:
        return NOT_TRAINED
    return TARGET if experiment.train_dataset == dataset else EXTERNAL


def ladder(finished: Sequence[run.RunResult], dataset: str) -> pd.DataFrame:
    """One row per method and rung of one data set, from most help to none.

    Columns: experiment (the method's first), title, rung, role ("model", "control", "trivial"), training (see `training`), runs, n, dsc
    with interval for these trained models, method_low and method_high (that of the method, NaN with one run), nsd_3mm, hit (lesion
    sensitivity), dsc_detected (mean DSC of hit lesions) with n_detected (over all runs), actions per patient, labels (of the target
    used), failed (answers, over all runs), and the paired differences of these trained models to the control and to the best trivial
    answer with the same prompt, with intervals.
    """
    found, names, rows = methods.of(finished), methods.titles(finished), []
    for rung in [name for name in PROMPTERS if any(m.asked(dataset, name) for m in found)]:
        here = [method for method in found if method.asked(dataset, rung)]
        trivial = [method for method in here if _role(method.experiment) == "trivial"]
        best = max(trivial, key=lambda method: method.mean(dataset, rung).mean()) if trivial else None
        for method in here:
            row = {"experiment": method.name, "title": names[method.name, rung], "rung": rung} | _ladder_row(method, dataset, rung)
            role = _role(method.experiment)
            row["role"] = "control" if role == "automatic" and rung != "none" else "trivial" if role == "trivial" else "model"
            row |= _difference("control", method, rung, _control(method, here, dataset, rung), dataset)
            rows.append(row | _difference("trivial", method, rung, (best, rung), dataset))
    return pd.DataFrame(rows)


def _control(method: Method, here: Sequence[Method], dataset: str, rung: str) -> tuple[Method | None, str]:
    """What an answer is measured against, with its rung: the automatic model with the same prompt, or the detector's own mask."""
    if PROMPTERS[rung].from_detector:
        detectors = dict.fromkeys(detector.detector_of(result.experiment, dataset) for result in method.results)
        return Method(tuple(map(run.open_result, detectors))), "none"
    if rung == "none":
        return None, rung
    own = _control_experiment(method.experiment, dataset)
    return next((other for other in here if methods.key(other.experiment) == own), None), rung


def _control_experiment(experiment: Experiment, dataset: str) -> Experiment:
    """The planned automatic control by its `methods.key`: trained on what the other was, else on the tested data set if it can be."""
    notebook, profile = plan.load().automatic_control, experiment.profile
    choices = config.load().train_datasets(notebook, profile)
    train_dataset = next((name for name in (experiment.train_dataset, dataset) if name in choices), choices[0])
    return methods.key(run.plan(notebook, profile, train_dataset=train_dataset))


def _role(experiment: Experiment) -> str:
    if experiment.model == TRIVIAL_MODEL:
        return "trivial"
    return "automatic" if "none" in registry.card("models", experiment.model).prompters else "promptable"


def _ladder_row(method: Method, dataset: str, rung: str) -> dict[str, Any]:
    table, rows = method.table(dataset, rung), method.rows(dataset, rung)
    trained, over_runs = stats.summarize_trained_models(table), stats.summarize_method(table)
    lesions = rows[rows["metric"] == "lesion_dsc"]
    hit = lesions[lesions["value"] > 0]
    actions = _actions(method, dataset, rung, table.index)
    failed = rows[(rows["lesion_id"] == "") & (rows["status"] == "failed")]
    return {
        "training": training(method.experiment, dataset),
        "runs": table.shape[1],
        "n": trained.n,
        "dsc": trained.mean,
        "dsc_low": trained.low,
        "dsc_high": trained.high,
        "method_low": over_runs.low,
        "method_high": over_runs.high,
        "nsd_3mm": method.mean(dataset, rung, "nsd_3mm").mean(),
        "hit": method.mean(dataset, rung, "lesion_sensitivity").mean(),
        "dsc_detected": hit["value"].mean() if len(hit) else np.nan,
        "n_detected": len(hit),
        "actions": actions.mean() if len(actions) else 0.0,
        "labels": max(target_labels_used(result, dataset, rung) for result in method.results),
        "failed": len(failed[["experiment", "case_id"]].drop_duplicates()),
    }


def _actions(method: Method, dataset: str, rung: str, cases: pd.Index) -> pd.Series:
    costs = pd.concat([result.costs[(result.costs["quantity"] == "actions") & (result.costs["jitter"] == 0)] for result in method.results])
    return costs[(costs["test_dataset"] == dataset) & (costs["prompter"] == rung) & costs["case_id"].isin(cases)]["value"]


def _difference(name: str, method: Method, rung: str, other: tuple[Method | None, str], dataset: str) -> dict[str, float]:
    if other[0] is None or (other[0].name, other[1]) == (method.name, rung):
        return {f"over_{name}": np.nan, f"over_{name}_low": np.nan, f"over_{name}_high": np.nan}
    gain = methods.pair(method, rung, *other, dataset).trained_models()
    return {f"over_{name}": gain.mean, f"over_{name}_low": gain.low, f"over_{name}_high": gain.high}


# --- planned contrasts ------------------------------------------------------------------------------------------------


def contrasts(profile: str, dataset: str) -> pd.DataFrame:
    """The six planned contrasts on one data set, Holm inside the family; a place that this profile cannot fill says why.

    The sides are trained on that data set, where the profile trains on it, else on its first one. Columns: name, a, b (titles with
    rungs), n, difference, low, high, p, p_holm (all for these trained models), detectable (minimum detectable difference), p_wilcoxon (for
    the appendix), the secondary metric's secondary, secondary_low, secondary_high, secondary_n; runs (the fewer of the two sides),
    over_runs_low, over_runs_high, over_runs_how (the interval for the methods, NaN with one run), and method.
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
    return table.reindex(columns=[*table.columns, *(name for name in (*_Filled.NUMBERS, "over_runs_how") if name not in table)])


@dataclass(frozen=True)
class _Filled:
    """A place of the family that could be filled: the contrast, its sides by name, and what stands beside it."""

    contrast: inference.Contrast
    a: str
    b: str
    detectable: float
    p_wilcoxon: float
    secondary: stats.Summary
    runs: int
    over_runs: stats.Summary

    NUMBERS: ClassVar = (
        *("detectable", "p_wilcoxon", "secondary", "secondary_low", "secondary_high", "secondary_n"),
        *("runs", "over_runs_low", "over_runs_high"),
    )

    def columns(self) -> dict[str, Any]:
        numbers = (self.detectable, self.p_wilcoxon, self.secondary.mean, self.secondary.low, self.secondary.high, self.secondary.n)
        numbers += (self.runs, self.over_runs.low, self.over_runs.high)
        return {"a": self.a, "b": self.b, "over_runs_how": self.over_runs.method} | dict(zip(self.NUMBERS, numbers, strict=True))


def _contrast(planned: plan.PlannedContrast, profile: str, dataset: str) -> _Filled | str:
    """The contrast and what stands beside it; or why this profile has none."""
    known, sides = [line.notebook for line in config.load().lines(profile)], []
    for notebook, rung in (planned.a, planned.b):
        if notebook not in known or rung not in config.load().profile(profile).prompters:
            return f"not asked in this profile: {notebook} with {figures.title(rung)}"
        finished = methods.at_hand(notebook, profile, dataset)
        if not finished:
            return f"not run yet: {notebook}"
        sides += methods.of(finished)
        if not sides[-1].asked(dataset, rung):
            return f"not applicable: {notebook} with {figures.title(rung)} on this data set"
    rungs = (planned.a[1], planned.b[1])
    if (sides[0].name, rungs[0]) == (sides[1].name, rungs[1]):
        return "both are the same stand-in here: only the published weights tell them apart"
    a, b = sides
    pair = methods.pair(a, rungs[0], b, rungs[1], dataset)
    contrast = inference.compare_paired(planned.name, pair.a, pair.b, plan.load().seed)
    left, right = pair.a.mean(axis=1), pair.b.mean(axis=1)
    spread = float((left - right.reindex(left.index)).std(ddof=1))
    detectable = inference.minimum_detectable_difference(spread, len(left)) if len(left) > 2 else np.nan
    other = methods.pair(a, rungs[0], b, rungs[1], dataset, plan.load().raw["secondary_metric"])
    defined = pd.concat([other.a.mean(axis=1), other.b.mean(axis=1)], axis=1).dropna()  # undefined where no surface is judged
    secondary = stats.summarize_paired_difference(*(defined[side] for side in defined))
    runs = min(pair.a.shape[1], pair.b.shape[1])
    names = [_side(side, rung) for side, rung in zip(sides, rungs, strict=True)]
    return _Filled(contrast, *names, detectable, inference.wilcoxon_test(left, right), secondary, runs, pair.method())


def _side(method: Method, rung: str) -> str:
    return f"{methods.titles(method.results)[method.name, rung]}, {figures.title(rung)}"


# --- ranks ------------------------------------------------------------------------------------------------------------


def ranks(finished: Sequence[run.RunResult], dataset: str, rung: str) -> pd.DataFrame:
    """Rank of each method on one rung with the bootstrap's rank range; see `inference.rank_sets`. Index: titles.

    Where methods were trained on the data set, those trained on another one are not ranked beside them; nor is a method that was tested
    on a part of the patients only, as few-shot training is out of fold.
    """
    asked, names = [method for method in methods.of(finished) if method.asked(dataset, rung)], methods.titles(finished)
    kinds = {method.name: training(method.experiment, dataset) for method in asked}
    left_out = EXTERNAL if TARGET in kinds.values() else None
    columns = {method.name: method.mean(dataset, rung) for method in asked if kinds[method.name] != left_out}
    most = max(map(len, columns.values()))
    table = pd.DataFrame({name: values for name, values in columns.items() if len(values) == most})
    return inference.rank_sets(table, higher_is_better=True, seed=plan.load().seed).rename(index=lambda e: names[e, rung])


# --- jitter -----------------------------------------------------------------------------------------------------------


def robustness(finished: Sequence[run.RunResult], dataset: str) -> pd.DataFrame:
    """Mean DSC with interval by method, rung and share of wrong drawing (0 first); draws are averaged within the patient."""
    rows, names = [], methods.titles(finished)
    for method in methods.of(finished):
        for rung, shares in _wrongly(method, dataset).items():
            for share in (0.0, *shares):
                summary = stats.summarize_trained_models(method.table(dataset, rung, jitter=share))
                row = {"experiment": method.name, "title": names[method.name, rung], "rung": rung, "jitter": share}
                rows.append(row | {"n": summary.n, "dsc": summary.mean, "dsc_low": summary.low, "dsc_high": summary.high})
    return pd.DataFrame(rows, columns=["experiment", "title", "rung", "jitter", "n", "dsc", "dsc_low", "dsc_high"])


def _wrongly(method: Method, dataset: str) -> dict[str, list[float]]:
    """Rung -> the shares by which prompts were drawn wrongly, the smallest first."""
    asked = pd.concat([r.results[(r.results["test_dataset"] == dataset) & (r.results["jitter"] > 0)] for r in method.results])
    shares = {rung: sorted(part["jitter"].unique()) for rung, part in asked.groupby("prompter")}
    return {rung: shares[rung] for rung in PROMPTERS if rung in shares}


def best_of_draws(finished: Sequence[run.RunResult], dataset: str) -> pd.DataFrame:
    """What is gained by keeping the best of several wrongly drawn prompts by the reference: by method, rung and share of wrong drawing.

    Columns: title, rung, jitter, n, dsc (draws averaged within the patient), best (best draw of each case), gain with interval.
    """
    rows, names = [], methods.titles(finished)
    for method in methods.of(finished):
        for rung, share in [(rung, share) for rung, shares in _wrongly(method, dataset).items() for share in shares]:
            means, bests = (method.mean(dataset, rung, metric, share) for metric in ("dsc", metrics.BEST_OF_DRAWS))
            if len(bests):
                gain = stats.summarize_paired_difference(bests, means)
                row = {"title": names[method.name, rung], "rung": rung, "jitter": share, "n": gain.n}
                row |= {"dsc": means.mean(), "best": bests.mean()}
                rows.append(row | {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high})
    return pd.DataFrame(rows, columns=["title", "rung", "jitter", "n", "dsc", "best", "gain", "gain_low", "gain_high"])


# --- the protocol trap -------------------------------------------------------------------------------------------------


def protocol_trap(finished: Sequence[run.RunResult], dataset: str, rungs: Sequence[str]) -> pd.DataFrame:
    """The stored predictions of every method and rung, scored by every published protocol; this project's own stands first.

    Columns: experiment, title, rung, protocol, formula, value (mean over runs), n (of one run), unit, share (of all slices that were
    looked at), shift (against the own protocol), rank (among the methods of the rung, 1 is best).
    """
    counts, names, rows = _protocol_counts(finished, dataset, rungs), methods.titles(finished), []
    for method in methods.of(finished):
        for rung in [name for name in rungs if method.asked(dataset, name)]:
            asked = [[r.experiment.name for r in results] for results in method.runs(dataset).values()]
            runs = [[case for name in run_names for case in counts[name, rung]] for run_names in asked]
            rows += _trap_rows({"experiment": method.name, "title": names[method.name, rung], "rung": rung}, runs)
    table = pd.DataFrame(rows)
    table["rank"] = table.groupby(["rung", "protocol"])["value"].rank(ascending=False, method="min")
    return table


def _protocol_counts(
    finished: Sequence[run.RunResult], dataset: str, rungs: Sequence[str]
) -> dict[tuple[str, str], list[protocols.CaseCounts]]:
    """(experiment, rung) -> what the protocols need of each case with a tumor; every case is read once."""
    counts: dict[tuple[str, str], list[protocols.CaseCounts]] = {}
    for case, tested in _cases(finished, dataset).values():
        study = run.load_study(case)
        reference = next(iter(study.references.values())).array
        for result, rung in [(r, rung) for r in tested for rung in rungs] if reference.any() else []:
            if methods.was_asked(result, dataset, rung):
                answer = result.prediction(dataset, rung, case.case_id, study).array
                measured = protocols.measure(protocols.CaseMasks(case.patient_id, reference, (answer,)))
                counts.setdefault((result.experiment.name, rung), []).append(measured)
    return counts


def _cases(finished: Sequence[run.RunResult], dataset: str) -> dict[str, tuple[Case, list[run.RunResult]]]:
    """case_id -> a tested case, and the experiments that were tested on it."""
    tested = [(result, set(result.provenance["patients"].get(dataset, ()))) for result in finished]
    cases: dict[str, Case] = {}
    for result, patients in tested:
        if patients - {case.patient_id for case in cases.values()}:  # else they are known: to look for them takes reading headers
            cases |= {case.case_id: case for case in result.cases(dataset) if case.case_id not in cases}
    return {name: (case, [r for r, patients in tested if case.patient_id in patients]) for name, case in cases.items()}


def _trap_rows(shared: Mapping[str, Any], runs: Sequence[Sequence[protocols.CaseCounts]]) -> list[dict[str, Any]]:
    scored, rows = [protocols.all_protocols(cases) for cases in runs], []
    own = float(np.mean([values[0].value for values in scored]))
    for found in zip(*scored, strict=True):
        first, value = found[0], float(np.mean([part.value for part in found]))
        row = {"protocol": first.name, "formula": first.formula, "value": value, "n": first.n, "unit": first.unit_of_n}
        rows.append({**shared, **row, "share": float(np.mean([part.slices_scored_share for part in found])), "shift": value - own})
    return rows


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
    """Mean DSC of each run by model and k; "all" stands for full training or fine-tuning of the same model, where it was run.

    Only methods that learned from this data set, or from none: *k* counts its patients. Columns: model, k, draw, seed, dsc, n.
    """
    rows = []
    for method in _learning(finished, dataset, rung):
        table, first = method.table(dataset, rung), {label: parts[0].experiment for label, parts in method.runs(dataset).items()}
        for label, values in table.items():
            row = {"model": _model(method.experiment), "k": _shots(method.experiment), "draw": first[label].draw, "seed": first[label].seed}
            rows.append(row | {"dsc": values.mean(), "n": int(values.notna().sum())})
    return pd.DataFrame(rows, columns=["model", "k", "draw", "seed", "dsc", "n"])


def few_shot_runs(finished: Sequence[run.RunResult], dataset: str, rung: str) -> pd.DataFrame:
    """The same by model and k over all draws: lowest, highest and SD of the runs' means, and both estimands with their intervals.

    Columns beside those of `_spread`: model, k, and over_<automatic>: paired difference to the automatic model trained on the same draws
    of the same k ("the method", matched runs), with interval.
    """
    groups = {(_model(m.experiment), _shots(m.experiment)): m for m in _learning(finished, dataset, rung)}
    control, rows = _model(_control_experiment(finished[0].experiment, dataset)), []
    for (model, k), method in sorted(groups.items(), key=lambda item: (item[0][0], np.inf if item[0][1] == "all" else item[0][1])):
        table, other = method.table(dataset, rung), groups.get((control, k)) if model != control else None
        row = {"model": model, "k": k} | _spread(table)
        rows.append(row | _matched_difference("control", table, other.table(dataset, rung) if other else None))
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
    names, found, rows = methods.titles(finished), methods.of(finished), []
    for rung in PROMPTERS:
        for method in (m for m in found if m.asked(dataset, rung)):
            table = method.table(dataset, rung)
            if table.shape[1] > 1:
                rows.append({"title": names[method.name, rung], "rung": rung} | _spread(table))
    return pd.DataFrame(rows, columns=["title", "rung", *_SPREAD_COLUMNS])


def method_differences(finished: Sequence[run.RunResult], dataset: str) -> pd.DataFrame:
    """Promptable methods minus the automatic one with the same prompt, over other patients AND other trainings of both.

    Columns: a, b, rung, runs, n, difference, low, high, how; rungs on which both were trained more than once.
    """
    names, found, rows = methods.titles(finished), methods.of(finished), []
    for rung in [name for name in PROMPTERS if name != "none"]:
        several = {methods.key(m.experiment): m for m in found if m.asked(dataset, rung) and m.table(dataset, rung).shape[1] > 1}
        for own, method in several.items():
            control = several.get(_control_experiment(method.experiment, dataset))
            if control is None or methods.key(control.experiment) == own:
                continue
            pair = methods.pair(method, rung, control, rung, dataset)
            summary, runs = pair.method(), min(pair.a.shape[1], pair.b.shape[1])
            row = {"a": names[method.name, rung], "b": names[control.name, rung], "rung": rung, "runs": runs, "n": summary.n}
            rows.append(row | {"difference": summary.mean, "low": summary.low, "high": summary.high, "how": summary.method})
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


def _learning(finished: Iterable[run.RunResult], dataset: str, rung: str) -> list[Method]:
    """The methods with a network that learned from a data set, or from none, and were asked there."""
    asked = [method for method in methods.of(finished) if method.asked(dataset, rung) and method.experiment.model != TRIVIAL_MODEL]
    return [method for method in asked if training(method.experiment, dataset) != EXTERNAL]


def _model(experiment: Experiment) -> str:
    """A title without its paradigm and number of patients."""
    return run.title(experiment).rsplit(", k =", 1)[0].rsplit(", ", 1)[0]


def _shots(experiment: Experiment) -> int | str:
    if experiment.k is None:
        return "all" if registry.card("paradigms", experiment.paradigm).uses_target_labels else 0
    return experiment.k


# --- choosing with labels that nobody counts --------------------------------------------------------------------------

SELECTION_SPLITS = 500


def selection(finished: Sequence[run.RunResult], dataset: str, rung: str, others: int = 20, seed: int = 0) -> pd.DataFrame:
    """What it brings to choose the number of training steps by patients whose labels are not counted, for one few-shot method.

    The tested patients are split at random, `SELECTION_SPLITS` times: `others` of them play labelled patients at hand, the rest are
    tested. Rows: steps fixed beforehand; chosen by the others ("free validation"); chosen by the tested patients themselves. Columns:
    rule, labels (k and what else was used), dsc, shift (against the first), shift_low and shift_high (lowest and highest draw), draws, n.
    """
    fixed = dict(run.plan(_notebook(finished[0].experiment), finished[0].experiment.profile).options)["steps"]
    found: dict[int, dict[int, pd.Series]] = {}
    for result in (r for r in finished if methods.was_asked(r, dataset, rung)):
        steps = dict(result.experiment.options)["steps"]
        found.setdefault(result.experiment.draw, {})[steps] = dsc_by_patient(result, dataset, rung)
    draws = {draw: pd.DataFrame(columns) for draw, columns in found.items() if len(columns) > 1 and fixed in columns}
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
    for case, _ in _cases(finished, dataset).values():
        reference = next(iter(run.load_study(case).references.values()))
        if reference.array.any():
            diameter = longest_axial_diameter_mm(reference)
            facts = {name: str(case.attributes.get(name, "")).split(";")[0] for name in plan.load().raw["strata"]["attributes"]}
            rows[case.case_id] = {"diameter": labels[int(np.searchsorted(edges[1:], diameter))], "diameter_mm": diameter} | facts
    return pd.DataFrame.from_dict(rows, orient="index")


def strata(finished: Sequence[run.RunResult], dataset: str, rung: str, facts: pd.DataFrame) -> pd.DataFrame:
    """Mean DSC by method (rows) and level of each stratum (columns "what: level (n)"); descriptive.

    Cases are averaged over runs first. A method that was tested on a part of the cases of a level only has no value there.
    """
    names, rows = methods.titles(finished), {}
    for method in (m for m in methods.of(finished) if m.asked(dataset, rung)):
        values = tables.case_values(method.rows(dataset, rung), "dsc").groupby("case_id")["value"].mean()
        row = rows.setdefault(names[method.name, rung], {})
        for what in [c for c in facts.columns if c != "diameter_mm"]:
            for level, part in facts.sort_values("diameter_mm" if what == "diameter" else what).groupby(what, sort=False):
                name = level.replace("_", "-") or "not given"
                row[f"{what}: {name} (n = {len(part)})"] = values.reindex(part.index).mean(skipna=False)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method").reset_index()


# --- abroad -----------------------------------------------------------------------------------------------------------


def abroad(finished: Sequence[run.RunResult], home: str, elsewhere: str) -> pd.DataFrame:
    """Mean DSC by method and rung on the data set that was trained on and on another one, and the drop between the two.

    An experiment that was trained on `elsewhere` is at home there; one that was not trained at all, on `home`. The patients differ, so
    that the groups are independent. Columns: title, rung, trained, home, elsewhere, drop with interval, n_home, n_elsewhere.
    """
    rows, names, found = [], methods.titles(finished), methods.of(finished)
    for rung in PROMPTERS:
        for method in (m for m in found if m.asked(home, rung) and m.asked(elsewhere, rung)):
            swapped = method.experiment.train_dataset == elsewhere
            here, there = (method.mean(name, rung) for name in ((elsewhere, home) if swapped else (home, elsewhere)))
            drop = stats.summarize_difference(here.to_numpy(), there.to_numpy())
            row = {"title": names[method.name, rung], "rung": rung, "home": here.mean(), "elsewhere": there.mean()}
            row |= {"trained": method.experiment.train_dataset != config.NO_DATASET}
            row |= {"drop": drop.mean, "drop_low": drop.low, "drop_high": drop.high}
            rows.append(row | {"n_home": len(here), "n_elsewhere": len(there)})
    return pd.DataFrame(rows)


# --- failures ---------------------------------------------------------------------------------------------------------


def failures(finished: Sequence[run.RunResult], datasets: Sequence[str]) -> pd.DataFrame:
    """Every failed and every empty answer, and the worst ones of each method and rung over all its runs: what, where, why, DSC.

    `experiment`: the method's name. `first_run`: whether the answer is of the run that the book's viewers show.
    """
    rows, names = [], methods.titles(finished)
    for method in methods.of(finished):
        records = [(r.experiment.name, case) for r in method.results for case in r.provenance["cases"]]
        reasons = {(name, c["test_dataset"], c["prompter"], c["case_id"]): c["failure"] for name, c in records}
        wide = pd.concat([_wide(r.asked(), datasets).assign(experiment=r.experiment.name) for r in method.results], ignore_index=True)
        for (dataset, rung), part in wide.groupby(["test_dataset", "prompter"], sort=False):
            worst = part["dsc"].nsmallest(WORST_SHOWN).index
            first = {r.experiment.name for r in method.first_run(dataset)}
            for index, row in part.iterrows():
                reason = reasons.get((row["experiment"], dataset, rung, row["case_id"]), "")
                kind = "failed" if reason else "empty" if row["prediction_volume"] == 0 else "worst" if index in worst else ""
                if kind:
                    found = {"method": names[method.name, rung], "rung": rung, "test_dataset": dataset, "case": row["case_id"]}
                    found |= {"experiment": method.name, "first_run": row["experiment"] in first}
                    rows.append(found | {"kind": kind, "dsc": row["dsc"], "reference_ml": row["reference_volume"], "reason": reason})
    known = ["method", "rung", "test_dataset", "case", "experiment", "first_run"]
    return pd.DataFrame(rows, columns=[*known, "kind", "dsc", "reference_ml", "reason"])


def _wide(results: pd.DataFrame, datasets: Sequence[str]) -> pd.DataFrame:
    rows = results[(results["lesion_id"] == "") & results["test_dataset"].isin(datasets)]
    rows = rows[rows["metric"].isin(["dsc", "prediction_volume", "reference_volume"])]
    keys = ["test_dataset", "prompter", "case_id"]
    wide = rows.groupby([*keys, "metric"], sort=False)["value"].first().unstack("metric").reset_index()
    return wide[wide["reference_volume"] > 0]

"""Page "Patient flow": who was named, used, left out, trained on and tested, counted from splits and from the provenance of experiments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from .. import registry
from ..data import exclusions, splits
from ..experiments import analysis_plan, cohorts, config, grid, planning
from ..experiments.results import RunResult
from .labels import label_of
from .style import plot_style

if TYPE_CHECKING:
    from IPython.display import Markdown
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas.io.formats.style import Styler


_TRAINING, _TESTING = "#cfe2f1", "#f3dcc3"  # colors of the boxes
_PARTS = {"training": _TRAINING, "validation": _TRAINING, "test, with tumor": _TESTING, "test, tumor-free": _TESTING}
_BOTH = "trained on and tested by one experiment"
_UNUSED = "not used by this profile"
_WIDTH = 4.6  # of a data set in the drawing


def patients_by_part(finished: Sequence[RunResult]) -> dict[tuple[str, str], set[str]]:
    """(data set, part) -> patients, over all experiments; parts are train, validation and test."""
    patients: dict[tuple[str, str], set[str]] = {}
    for result in finished:
        for name, ids in result.provenance["patients"].items():
            of_training = name in ("train", "validation")
            key = (result.experiment.train_dataset, name) if of_training else (name, "test")
            patients.setdefault(key, set()).update(ids)
    return patients


def count_predictions(finished: Sequence[RunResult]) -> pd.DataFrame:
    """Predictions and failed ones of all experiments, by data set (index)."""
    records = [(case["test_dataset"], bool(case["failure"])) for result in finished for case in result.provenance["cases"]]
    frame = pd.DataFrame(records, columns=["dataset", "failed"])
    return frame.groupby("dataset", sort=False)["failed"].agg(predictions="count", failed="sum").astype(int)


def planned_exclusions() -> list[str]:
    """The exclusions of the analysis plan, each with its reason."""
    return [str(line) for line in analysis_plan.load().raw["exclusions"]]


def unusable_cases(datasets: Sequence[str], profile: str) -> pd.DataFrame:
    """The listed cases of these data sets, and of the profile's real ones, that cannot be used, with their reasons."""
    return exclusions.read([*datasets, *grid.real_datasets(profile)])


def count_patients(finished: Sequence[RunResult], datasets: Sequence[str], excluded: Sequence[str] = ()) -> pd.DataFrame:
    """The flow of patients: a row for each step (index), a column for each data set.

    A data set without a split names all who were tested. `excluded`: of `planned_exclusions`.
    """
    patients, predictions = patients_by_part(finished), count_predictions(finished)
    both = _trained_on_and_tested(finished)
    flow = {}
    for name in datasets:
        train, validation, test = (patients.get((name, part), set()) for part in ("train", "validation", "test"))
        split = _split(name, test)
        used, free = train | validation | test, test & set(split.loc[split["tumor_free"] == 1, "patient_id"])
        left_out = sum(name in line for line in excluded)
        flow[name] = {
            "named in the split": len(split),
            _UNUSED: len(split) - len(used) - left_out,
            "excluded": left_out,
            "used": len(used),
            "training": len(train),
            "validation": len(validation),
            "test, with tumor": len(test - free),
            "test, tumor-free": len(free),
            _BOTH: len(both[name]) if name in both else 0,
            **{what: int(predictions[what].get(name, 0)) for what in ("predictions", "failed")},
        }
    return pd.DataFrame(flow).rename_axis("patients")


def _split(dataset: str, tested: set[str]) -> pd.DataFrame:
    if splits.has_split(dataset):
        return splits.read_splits(dataset)
    return pd.DataFrame({"patient_id": sorted(tested), "tumor_free": 0})


def _trained_on_and_tested(finished: Sequence[RunResult]) -> dict[str, set[str]]:
    """Data set -> patients that one experiment both learned from and was tested on."""
    both: dict[str, set[str]] = {}
    for result in finished:
        parts = result.provenance["patients"]
        learned = {*parts["train"], *parts["validation"]}
        for name in parts.keys() - {"train", "validation"}:
            both.setdefault(name, set()).update(learned & set(parts[name]))
    return both


def flow_figure(flow: pd.DataFrame) -> Figure:
    """Boxes and arrows from the patients of each data set to their predictions. `flow`: of `count_patients`."""
    plot_style()
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(3.6 * max(2, len(flow.columns)), 3.4), facecolor="white", layout="constrained")
    axes.set(xlim=(-0.6, _WIDTH * len(flow.columns) - 1.0), ylim=(-0.6, 3.5))
    axes.axis("off")
    for number, name in enumerate(flow):
        _draw_boxes(axes, flow[name], label_of(str(name)), _WIDTH * number + 1.5)
    plt.close(figure)
    return figure


def _draw_boxes(axes: Axes, counts: pd.Series, label: str, middle: float) -> None:
    named, used = (middle, 3.0), (middle, 2.0)
    _draw_box(axes, f"{label}\nnamed in the split: {counts['named in the split']}", named)
    _draw_box(axes, f"used: {counts['used']}\n(not used: {counts[_UNUSED]}, excluded: {counts['excluded']})", used, (named,))
    for place, (part, color) in enumerate(_PARTS.items()):
        text = part.replace(", ", "\n")
        _draw_box(axes, f"{text}\n{counts[part]}", (middle - 1.5 + place, 0.9), (used,), color)
    tested = ((middle + 0.5, 0.9), (middle + 1.5, 0.9))
    _draw_box(axes, f"predictions: {counts['predictions']}, failed: {counts['failed']}", (middle + 1, -0.2), tested)


def _draw_box(axes: Axes, text: str, at: tuple[float, float], above: Sequence[tuple[float, float]] = (), color: str = "white") -> None:
    for x, y in above:
        axes.annotate("", (at[0], at[1] + 0.33), (x, y - 0.25), arrowprops={"arrowstyle": "->", "color": "black"})
    outline = {"boxstyle": "round,pad=0.45", "edgecolor": "black", "facecolor": color}
    axes.text(*at, text, ha="center", va="center", color="black", fontsize=9, bbox=outline, zorder=2)


def in_words(flow: pd.DataFrame) -> str:
    """The figure's text for those who cannot see it."""
    return ". ".join(f"{label_of(str(name))}: " + ", ".join(f"{step} {count}" for step, count in flow[name].items()) for name in flow)


def or_none(table: pd.DataFrame, none: str) -> Styler | Markdown:
    """A table for a page, or a sentence in its place if it is empty."""
    from IPython.display import Markdown

    return Markdown(f"There is {none}.") if table.empty else table.style.hide(axis="index")


def answer(flow: pd.DataFrame, finished: Sequence[RunResult], n_excluded: int, patients: str = "patients") -> str:
    """How many patients (or `patients`: phantoms) were used, for what, and how many predictions failed."""
    return (
        "{flow_drawn} {patients} were used: {flow_trained} for training and validation, {flow_tested} for testing, and {flow_both} for "
        "both in one experiment. {flow_excluded} cases were excluded. {flow_experiments} experiments made {flow_predictions} "
        "predictions, whole CTs of patients included; {flow_failed} failed."
    ).format(patients=patients, **flow_values(flow, finished, n_excluded))


def printable_flow(flow: pd.DataFrame) -> pd.DataFrame:
    """`count_patients` for people: data sets by their names."""
    return flow.rename(columns=label_of).reset_index()


def real_cases(profile: str, finished: Sequence[RunResult], excluded: Sequence[str] = ()) -> pd.DataFrame:
    """One row for each real data set that is here: what was found, what cannot be used, and what was tested."""
    chosen, patients, predictions = config.load().profile(profile), patients_by_part(finished), count_predictions(finished)
    unusable, rows = exclusions.read(grid.real_datasets(profile)), []
    for name in grid.real_datasets(profile):
        found = registry.dataset(name).cases(cohorts.dataset_root(name, chosen))
        rows.append(
            {
                "data set": label_of(name),
                "cases found": len(found),
                "without a reference": sum(not case.reference_paths for case in found),
                "patients tested": len(patients.get((name, "test"), ())),
                "excluded by the plan": sum(name in line for line in excluded),
                "cannot be used": int((unusable["dataset"] == name).sum()),
                **{what: int(predictions[what].get(name, 0)) for what in ("predictions", "failed")},
            }
        )
    columns = ["data set", "cases found", "without a reference", "patients tested", "excluded by the plan", "cannot be used"]
    return pd.DataFrame(rows, columns=[*columns, "predictions", "failed"])


def printable_experiments(finished: Sequence[RunResult]) -> pd.DataFrame:
    """One row for each experiment: its run, how many patients it learned from, and its failed predictions."""
    rows = []
    for result in finished:
        experiment, facts = result.experiment, result.provenance
        rows.append(
            {
                "experiment": planning.experiment_title(experiment),
                "seed": experiment.seed,
                "fold": experiment.fold,
                "draw": experiment.draw,
                "trained on": len(facts["patients"]["train"]),
                "validated on": len(facts["patients"]["validation"]),
                "predictions": len(facts["cases"]),
                "failed": sum(bool(case["failure"]) for case in facts["cases"]),
                "training failed": "yes" if facts["training_failure"] else "no",
            }
        )
    return pd.DataFrame(rows)


def flow_values(flow: pd.DataFrame, finished: Sequence[RunResult], n_excluded: int) -> dict[str, int]:
    """Values for the text of pages by glue key: flow_drawn, _trained, _tested, _both, _excluded, _predictions, _failed, _experiments.

    Predictions of real cases outside `flow` count in _predictions and _failed.
    """
    patients, predictions = patients_by_part(finished), count_predictions(finished)
    trained = [patients.get((name, "train"), set()) | patients.get((name, "validation"), set()) for name in flow]
    return {
        "flow_drawn": int(flow.loc["used"].sum()),
        "flow_trained": sum(map(len, trained)),
        "flow_tested": int(flow.loc[["test, with tumor", "test, tumor-free"]].sum().sum()),
        "flow_both": int(flow.loc[_BOTH].sum()),
        "flow_excluded": n_excluded,
        "flow_predictions": int(predictions["predictions"].sum()),
        "flow_failed": int(predictions["failed"].sum()),
        "flow_experiments": len(finished),
    }

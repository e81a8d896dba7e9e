"""Sentences that say which data the numbers of a page come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from .. import registry
from ..experiments import analysis_plan, cohorts, config, store
from ..experiments.planning import all_planned, experiment_title, method_title
from ..experiments.results import RunResult, finished_only, is_finished
from ..prompts.ladder import prompt_setting
from ..types import Experiment
from . import labels


def datasets(profile: str) -> list[str]:
    """The test data sets of a profile, the internal one first, then in reading order."""
    grid = config.load()
    tested = {name for line in grid.lines(profile) for name in grid.test_datasets(line.notebook, profile)}
    return sorted(tested, key=lambda name: (name != internal(profile), *_place(name)))


def _place(dataset: str) -> tuple[int, str]:
    known = labels.reading_order()
    return (known.index(dataset) if dataset in known else len(known), dataset)


def internal(profile: str) -> str:
    """The internal data set: the one that a profile's methods are trained on, or the first of several."""
    return config.load().train_datasets(analysis_plan.load().automatic_control, profile)[0]


def targets(profile: str) -> list[str]:
    """Those of `datasets` that a profile trains on."""
    return [name for name in datasets(profile) if name in config.load().trained_on(profile)]


def external(profile: str) -> list[str]:
    """All of `datasets` but the internal one."""
    return datasets(profile)[1:]


def roles(profile: str) -> dict[str, str]:
    """Data set -> its name in keys of glued values: internal, external, or its own name."""
    return dict(zip(datasets(profile), ("internal", "external"), strict=False)) | {name: name for name in datasets(profile)[2:]}


def named(dataset: str) -> str:
    """The tested patients in a sentence: "NSCLC-like phantoms", or "patients of RIDER Lung CT"."""
    return registry.card("datasets", dataset).patients


def caption(dataset: str, profile: str) -> str:
    """`named` as the head of a table; says if methods trained on the data set are tested out of fold."""
    text = named(dataset)[0].upper() + named(dataset)[1:]
    return f"{text} (out of fold, by what was trained on them)" if _out_of_fold(dataset, profile) else text


def _out_of_fold(dataset: str, profile: str) -> bool:
    if dataset not in config.load().trained_on(profile):
        return False
    return cohorts.is_tested_out_of_fold(dataset, Experiment(profile, dataset, "", ""))


def published(profile: str) -> str:
    """Which models a profile runs with the weights of their authors, as the end of a sentence; stand-ins take the place of the others."""
    replaced = config.load().profile(profile).stand_ins
    models = dict.fromkeys(line.model for line in config.load().lines(profile) if registry.checkpoints(line.model))
    own = [registry.card("models", name).title for name in models if name not in replaced]
    return f"in this edition these ran: {', '.join(own)}" if own else "none has been run in this edition"


def _phantoms_only(profile: str) -> bool:
    return all(registry.card("datasets", name).phantom for name in datasets(profile))


def words(profile: str) -> dict[str, str]:
    """Words for the text of a page, by glue key: the tested patients (internal, external, all), and the name of the results."""
    phantoms = _phantoms_only(profile)
    others = external(profile)
    return {
        "internal_patients": named(internal(profile)),
        "external_patients": named(others[0]) if others else "patients of an external test set (not tested in this profile)",
        "tested": "phantoms" if phantoms else "patients",
        "tested_one": "phantom" if phantoms else "patient",
        "results": "phantom results" if phantoms else "results on patients",
        "ellipse_note": _ellipse_note(internal(profile)),
    }


def _ellipse_note(dataset: str) -> str:
    """What the score of the ellipse in each box is on a data set: on phantoms a gate of their generator, and never a finding."""
    from ..phantoms.calibration.gates import GATES  # brings what measures images, which a workflow need not wait for

    if not registry.card("datasets", dataset).phantom:
        return "Nothing was tuned to that score."
    gate = GATES["ellipse_per_slice_dsc"]
    return (
        "On phantoms that score is no finding but a gate: the generator was tuned until it lay between "
        f"{gate.low:.2f} and {gate.high:.2f}, as on the four real cases that set the gates."
    )


def statement(profile: str) -> str:
    """A Markdown paragraph for the head of a page: phantom results, or results on patients, and how these were tested."""
    if _phantoms_only(profile):
        return (
            "**These are phantom results**: the CTs are computer-generated, so the numbers compare methods and protocols under known "
            "conditions and do not predict their scores on patients."
        )
    listed = "; ".join(named(name) for name in datasets(profile))
    text = f"**These are results on patients**: {listed}. "
    if config.load().profile(profile).patients.test_split == "development":
        return f"{text}They are development patients, on whom settings are chosen: no patient of the test part was loaded."
    if out_of_fold := [registry.card("datasets", name).label for name in targets(profile) if _out_of_fold(name, profile)]:
        text += f"{', '.join(out_of_fold)} has no fixed test part: what was trained on it is tested out of fold, and all folds together "
        text += "are one run. "
    if len(targets(profile)) > 1:
        text += "What was trained on the tested data set (target) and what was trained on another one (external) stand in rows apart, and "
        text += "are never pooled. "
    return text.strip()


def glue_words(profile: str, glue: Callable[..., None]) -> None:
    """Glue `words` on a page; `glue`: of myst_nb."""
    for key, value in words(profile).items():
        glue(key, value, display=False)


def what_runs_here(experiment: Experiment, notebook: str) -> str:
    """One paragraph of Markdown for the head of a page: what the numbers below come from, and what they do not show."""
    asked, line = experiment_title(experiment), config.load().experiment(notebook)
    if experiment.model == line.model:
        return f"**What runs here:** {asked}."
    published = registry.card("models", line.model)
    return (
        f"**What runs here: {asked}**, in the place of {published.title} ({published.reference}). It shares the classes and the "
        f"training of that model, at a smaller size; its weights were never those of {published.title}, so **no number on this page is a "
        f"result of {published.title}**. With the published weights at hand the same notebook shows theirs."
    )


def what_is_shown(profile: str, finished: Sequence[RunResult]) -> str:
    """One paragraph of Markdown for the head of a page: which run its numbers are from, and what of the plan is still missing."""
    wanted = Counter(method_title(e) for e in all_planned(profile))
    done = Counter(method_title(r.experiment) for r in finished)
    missing = [name + (f" ({done[name]} of {n} runs are here)" if n > 1 else "") for name, n in wanted.items() if done[name] < n]
    own = all(r.folder == store.results_folder(r.experiment) for r in finished)
    where = "run with this book" if own else "run once, its tables are stored with the project (`data/results`)"
    commits = ", ".join(f"`{c}`" for c in dict.fromkeys(r.provenance["commit"] for r in finished))
    text = f"**Shown:** profile `{profile}`, {where}. {config.load().profile(profile).summary} Code: commit {commits}."
    count = f"{(wanted - done).total()} of {wanted.total()} runs"
    rest = f" **Planned and not run yet ({count}):** {'; '.join(missing)}." if missing else f" All {wanted.total()} planned runs are here."
    waiting = sum(map(is_finished, all_planned(profile))) - len(finished_only(all_planned(profile)))
    return (
        text
        + rest
        + (f" {waiting} of them are finished folds that are shown when all folds of their cross-validation are." if waiting else "")
        + _whose_boxes(finished)
    )


def _whose_boxes(finished: Sequence[RunResult]) -> str:
    """Words for pages on which another training of the detector drew the boxes than the one shown; "" if none did."""
    shown = {r.experiment.name: r.provenance["sha256"]["weights"] for r in finished}
    asked = [r for r in finished if any(prompt_setting(name).from_detector for name in r.results["prompter"].unique())]
    drawn_by = [r.provenance["detectors"] for r in asked if "detectors" in r.provenance]
    unknown = len(asked) - len(drawn_by)
    others = sum(any(d["weights"] != shown.get(name, d["weights"]) for name, d in found.items()) for found in drawn_by)
    parts = [
        (others, "another training of the same detector drew them than the one whose own mask is shown"),
        (unknown, "it was not recorded which training drew them"),
    ]
    facts = [f"in {count} of {len(asked)} runs {fact}" for count, fact in parts if count]
    return f" **Boxes of a detector:** {'; '.join(facts)}." if facts else ""


def machines(finished: Sequence[RunResult]) -> str:
    """One sentence of Markdown: on which machines experiments were run, and how many on each."""
    count = Counter(r.provenance.get("machine", f"not recorded ({r.provenance['device']})") for r in finished)
    return "**Machine:** " + "; ".join(f"{name} ({n} of {count.total()} runs)" for name, n in count.items()) + "."

"""What a profile's numbers rest on, in words: phantoms are called phantoms on every page, patients are called patients.

The pages speak of the data sets that a profile is tested on. *Home* is the one that it trains on (the first, of several), *abroad* the
next of the others. Real data sets that a profile shows case by case have no part in this.
"""

from __future__ import annotations

from typing import Any

from . import cohorts, config, figures, plan, registry
from .types import Experiment


def datasets(profile: str) -> list[str]:
    """The data sets that a profile is tested on, home first, then in reading order."""
    grid = config.load()
    tested = {name for line in grid.lines(profile) for name in grid.test_datasets(line.notebook, profile)}
    return sorted(tested, key=lambda name: (name != home(profile), *_place(name)))


def _place(dataset: str) -> tuple[int, str]:
    known = list(figures.TITLES)
    return (known.index(dataset) if dataset in known else len(known), dataset)


def home(profile: str) -> str:
    """The data set that a profile's methods are trained on; the first where there are several."""
    return config.load().train_datasets(plan.load().automatic_control, profile)[0]


def targets(profile: str) -> list[str]:
    """Those of `datasets` that a profile trains on."""
    return [name for name in datasets(profile) if name in config.load().trained_on(profile)]


def elsewhere(profile: str) -> list[str]:
    """All of `datasets` but home."""
    return datasets(profile)[1:]


def roles(profile: str) -> dict[str, str]:
    """Data set -> what it is called in keys of glued values: home, abroad, or its own name."""
    return dict(zip(datasets(profile), ("home", "abroad"), strict=False)) | {name: name for name in datasets(profile)[2:]}


def named(dataset: str) -> str:
    """The tested patients in a sentence: "NSCLC-like phantoms", or "patients of RIDER Lung CT"."""
    title = figures.title(dataset)
    if registry.card("datasets", dataset).phantom:
        return f"{title.removeprefix('phantoms, ')} phantoms"
    return f"patients of {title.removesuffix(' (real)')}"


def caption(dataset: str, profile: str) -> str:
    """`named` at the head of a table; says if methods that were trained on the data set are tested out of fold."""
    text = named(dataset)[0].upper() + named(dataset)[1:]
    return f"{text} (out of fold, by what was trained on them)" if _out_of_fold(dataset, profile) else text


def _out_of_fold(dataset: str, profile: str) -> bool:
    if dataset not in config.load().trained_on(profile):
        return False
    return cohorts.is_tested_out_of_fold(dataset, Experiment(profile, dataset, "", ""))


def _phantoms_only(profile: str) -> bool:
    return all(registry.card("datasets", name).phantom for name in datasets(profile))


def words(profile: str) -> dict[str, str]:
    """Words of the text of a page, by glue key: who was tested (at home, abroad, at all), and what the results are called."""
    phantoms = _phantoms_only(profile)
    others = elsewhere(profile)
    return {
        "home_patients": named(home(profile)),
        "abroad_patients": named(others[0]) if others else "patients from elsewhere (not tested in this profile)",
        "tested": "phantoms" if phantoms else "patients",
        "tested_one": "phantom" if phantoms else "patient",
        "results": "phantom results" if phantoms else "results on patients",
    }


def statement(profile: str) -> str:
    """A Markdown paragraph for the head of a page: phantom results, or results on patients, and how these were tested."""
    if _phantoms_only(profile):
        return (
            "**These are phantom results**: the CTs are computer-generated, so the numbers compare methods and protocols under known "
            "conditions and do not predict their scores on patients."
        )
    listed = "; ".join(named(name) for name in datasets(profile))
    text = f"**These are results on patients**: {listed}. "
    if out_of_fold := [figures.title(name).removesuffix(" (real)") for name in targets(profile) if _out_of_fold(name, profile)]:
        text += f"{', '.join(out_of_fold)} has no fixed test part: what was trained on it is tested out of fold, and all folds together "
        text += "are one run. "
    if len(targets(profile)) > 1:
        text += "What was trained on the tested data set (target) and what was trained on another one (external) stand in rows apart, and "
        text += "are never pooled. "
    return text.strip()


def glue_words(profile: str, glue: Any) -> None:
    """Glue `words` on a page; `glue`: of myst_nb."""
    for key, value in words(profile).items():
        glue(key, value, display=False)

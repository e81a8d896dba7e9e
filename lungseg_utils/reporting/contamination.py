"""Page "What the weights have seen": which data sets published weights may have been trained on; each entry has its source.

The level of (weights, data set) is the strongest that a source supports. `none` needs a source for all images that the weights were
trained on with masks (the note says what an encoder was pretrained on without masks). If no source settles it, the level is `unknown`.
Only `none` may be called zero-shot in a headline.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from .. import registry
from ..core import files, own_models, project
from ..experiments import config, planning
from ..types import Checkpoint, Experiment, InputError, Options, Pretraining

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

FILE = Path("data") / "contamination.csv"
COLUMNS = ("weights", "dataset", "level", "quote", "source", "note")
MAX_QUOTE_WORDS = 25
_ADDRESS = re.compile(r"https?://(?:www\.)?(?:github\.com/)?")
NONE, UNKNOWN = "none", "unknown"
SAME_LABELS, SAME_IMAGES = "same images and labels", "same images, other labels"
PUBLISHED = "published"
# weights that no profile runs: what a source settles about them, for whoever compares with their numbers; other pairs have no row
ELSEWHERE = (
    *("SAM-Med2D", "SAM-Med3D-turbo", "VISTA3D", "VoxTell", "BiomedParse v1", "UniBiomed"),
    *("SMIT lung GTV", "ULS23 baseline"),
)
_SHORT = {  # level -> its word in the matrix and the color of its cell
    SAME_LABELS: ("labels", "#e8927c"),
    SAME_IMAGES: ("images", "#f3c19d"),
    "same institution": ("clinic", "#f7e3b0"),
    "same target class elsewhere": ("target", "#f7e3b0"),
    NONE: ("none", "#bfe3cf"),
    UNKNOWN: ("?", "#d9d9d9"),
}
LEVELS: Mapping[str, str] = {  # strongest first
    SAME_LABELS: "these images were trained on, with these outlines",
    SAME_IMAGES: "these images were trained on, with other outlines or without any",
    "same institution": "other patients of the same institution were trained on",
    "same target class elsewhere": "lung tumors or nodules of other data sets were trained on, these images were not",
    NONE: "none of these, by a source for all images that were trained on with masks",
    UNKNOWN: "no source settles it",
}


def datasets() -> list[str]:
    """The data sets that need a row for each file of weights: all that any profile trains or tests on, real ones first.

    Of a part of a data set, the whole.
    """
    return sorted(dict.fromkeys(map(registry.whole, config.load().datasets())), key=lambda name: registry.card("datasets", name).phantom)


def known_weights() -> dict[str, str]:
    """The weights that need a row for each data set -> "published" or "stand-in": all that models of the grid and their stand-ins list."""
    grid = config.load()
    models = dict.fromkeys(line.model for line in grid.experiments.values())
    stand_ins = [stand_in for profile in grid.profiles.values() for stand_in in profile.stand_ins.values()]
    published = {checkpoint.name: PUBLISHED for name in models for checkpoint in registry.checkpoints(name)}
    drawn = [weights_of(stand_in.model, {**registry.card("models", stand_in.model).options, **stand_in.options}) for stand_in in stand_ins]
    return published | {name: "stand-in" for name in drawn if name}


def _label(dataset: str) -> str:
    return registry.card("datasets", dataset).label


def read(path: Path | None = None) -> pd.DataFrame:
    """The checked table (columns `COLUMNS`), one row for each file of weights and data set, and rows of `ELSEWHERE`.

    InputError names its first fault.
    """
    path = Path(path) if path else project.project_root() / FILE
    frame = files.read_csv(path, "Restore it from the repository.", dtype=str, keep_default_na=False)
    if tuple(frame.columns) != COLUMNS:
        raise InputError(path, f"its columns are {list(frame.columns)}", f"Expected {list(COLUMNS)}.")
    for column, known in (("weights", [*known_weights(), *ELSEWHERE]), ("dataset", datasets()), ("level", LEVELS)):
        strange = sorted(set(frame[column]) - set(known))
        if strange:
            raise InputError(path, f"unknown {column} {strange}", f"Known: {', '.join(known)}.")
    _check_pairs(frame, path)
    _check_evidence(frame, path)
    return frame


def _check_pairs(frame: pd.DataFrame, path: Path) -> None:
    pairs = list(zip(frame["weights"], frame["dataset"], strict=True))
    doubled = sorted({pair for pair in pairs if pairs.count(pair) > 1})
    missing = [(w, d) for w, d in product(known_weights(), datasets()) if (w, d) not in set(pairs)]
    for problem, found in (("stands there twice", doubled), ("is missing", missing)):
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise InputError(path, f"{' on '.join(found[0])} {problem}{more}", "Give each pair one row.")


def _check_evidence(frame: pd.DataFrame, path: Path) -> None:
    for row in frame.itertuples():
        where = f"{path}, {row.weights} on {row.dataset}"
        if len(row.quote.split()) > MAX_QUOTE_WORDS:
            raise InputError(where, f"its quote has over {MAX_QUOTE_WORDS} words", "Shorten it.")
        if row.quote and not row.source:
            raise InputError(where, "a quote without its source", "Name the source.")
        if row.level == UNKNOWN and not row.note:
            raise InputError(where, "unknown without a reason", "Say in the note why.")
        if row.level != UNKNOWN and not row.source:
            raise InputError(where, f"{row.level!r} without a source", 'Name the source, or write "unknown".')


def level(weights: str, dataset: str) -> str:
    """One of `LEVELS`; InputError for weights or a data set that the table does not know."""
    dataset = registry.whole(dataset)
    for name, known in ((weights, known_weights()), (dataset, datasets())):
        if name not in known:
            raise InputError(name, f"not in {FILE}", f"Known: {', '.join(known)}.")
    frame = read()
    return str(frame.loc[(frame["weights"] == weights) & (frame["dataset"] == dataset), "level"].iloc[0])


def matrix(frame: pd.DataFrame, run_here: bool = True) -> pd.DataFrame:
    """Levels in a word each: a row for each file of weights, a column for each data set; "" where nothing was looked for.

    Of weights that this book runs, or of the others. Stand-ins of which the same is said share a row.
    """
    known = known_weights()
    wide = frame.pivot(index="weights", columns="dataset", values="level").reindex(
        index=[*known] if run_here else ELSEWHERE, columns=datasets()
    )
    wide = wide.map(lambda name: _SHORT[name][0] if name in _SHORT else "").rename(columns=_column).rename_axis(columns=None)
    drawn = [name for name, kind in known.items() if kind != PUBLISHED and name in wide.index]
    if drawn and len(wide.loc[drawn].drop_duplicates()) == 1:
        wide = wide.drop(index=drawn[1:]).rename(index={drawn[0]: "all stand-ins"})
    return wide.reset_index()


def _column(dataset: str) -> str:
    card = registry.card("datasets", dataset)
    return f"{card.short_title} phantoms" if card.phantom else card.label.removeprefix("NSCLC-Radiomics-")


def colored(table: pd.DataFrame) -> Styler:
    """`matrix` for a page, with a color for each level."""
    colors = dict(_SHORT.values())
    rule = "background-color: {} !important; color: #1a1a1a; text-align: center !important"
    return table.style.hide(axis="index").map(lambda word: rule.format(colors[word]) if word in colors else "")


def legend() -> str:
    """Markdown: what each word of the matrix means."""
    return "\n".join(f"- **{word}**: {LEVELS[name]}" for name, (word, _) in _SHORT.items())


def files_in_words() -> str:
    """Markdown: which model each file of published weights is of."""
    models = dict.fromkeys(line.model for line in config.load().experiments.values())
    found = {checkpoint.name: registry.card("models", name).title for name in models for checkpoint in registry.checkpoints(name)}
    return ", ".join(f"`{file}` ({title})" for file, title in found.items())


def burnt(frame: pd.DataFrame, dataset: str) -> list[str]:
    """The published weights of the grid that were trained on the images of a data set: their numbers on it are no zero-shot claim."""
    seen = frame[(frame["dataset"] == dataset) & frame["level"].isin([SAME_LABELS, SAME_IMAGES])]
    return [name for name, kind in known_weights().items() if kind == PUBLISHED and name in set(seen["weights"])]


def level_of(experiment: Experiment, dataset: str) -> str:
    """The level of an experiment's first weights on a data set; "" for random ones."""
    options = config.resolve_options(experiment, config.load().profile(experiment.profile))
    weights = weights_of(experiment.model, options)
    return level(weights, dataset) if weights else ""


def is_burnt(experiment: Experiment, dataset: str) -> bool:
    """Whether a source says that an experiment's first weights were trained on the images of a data set."""
    return level_of(experiment, dataset) in (SAME_LABELS, SAME_IMAGES)


def sources(frame: pd.DataFrame) -> str:
    """A Markdown table: for each file of weights what is said of which data sets, with quote, source and note; equal entries once."""
    lines = ["| Weights | Data sets: level | Source |", "|---|---|---|"]
    for weights, part in frame.groupby("weights", sort=False):
        for number, ((name, quote, source, note), rows) in enumerate(part.groupby(["level", "quote", "source", "note"], sort=False)):
            where = "; ".join(_label(dataset) for dataset in rows["dataset"])
            link = f"[{_ADDRESS.sub('', source)}]({source})" if _ADDRESS.match(source) else source
            said = " ".join(filter(None, (f"“{quote}”" if quote else "", f"({link})." if link else "", note)))
            cells = ("" if number else f"**{weights}**", f"{where}: *{name}*", said)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def folded_sources(frame: pd.DataFrame) -> str:
    """`sources`, folded."""
    title = f"Sources, with quotations of at most {MAX_QUOTE_WORDS} words"
    return f":::{{dropdown}} {title}\n:class-container: sources\n\n{sources(frame)}\n:::"


def page_values(frame: pd.DataFrame, stand_ins: int) -> dict[str, object]:
    """Values by glue key: pairs of published weights and data set (contamination_pairs), of which none, something or nobody knows what was
    seen (_clean, _seen, _unknown), the weights with a clean pair (_clean_files), the profile's stand-ins, and the
    published weights for which LIDC-IDRI is burnt (_lidc).
    """
    published = frame[frame["weights"].map(known_weights()) == PUBLISHED]
    lidc = [name for name in datasets() if name.startswith("lidc")]
    clean, unknown = published[published["level"] == NONE], published[published["level"] == UNKNOWN]
    return {
        "contamination_pairs": len(published),
        "contamination_clean": len(clean),
        "contamination_clean_files": clean["weights"].nunique(),
        "contamination_unknown": len(unknown),
        "contamination_seen": len(published) - len(clean) - len(unknown),
        "contamination_stand_ins": stand_ins,
        "contamination_lidc": ", ".join(dict.fromkeys(f"`{weights}`" for name in lidc for weights in burnt(frame, name))) or "none",
    }


def answer(frame: pd.DataFrame, profile: str) -> str:
    """Markdown: how many pairs may be called zero-shot, and which models a profile tests on images that they were trained on."""
    values = page_values(frame, len(config.load().profile(profile).stand_ins))
    text = (
        "A result is zero-shot only if the weights never saw the tested images or the same kind of target. Of {contamination_pairs} pairs "
        "of published weights and a data set, a source settles this for {contamination_clean} (files of weights: "
        "{contamination_clean_files}). In {contamination_seen} pairs the images, the clinic or the kind of target were in training; "
        "{contamination_unknown} pairs are unknown. These weights were trained on LIDC-IDRI: {contamination_lidc}."
    ).format(**values)
    burnt_here = _burnt_here(profile)
    return f"{text} {burnt_here}".strip()


def _burnt_here(profile: str) -> str:
    grid, found = config.load(), {}
    for line in grid.lines(profile):
        experiment = planning.make_experiment(line.notebook, profile)
        if any(is_burnt(experiment, dataset) for dataset in grid.test_datasets(line.notebook, profile)):
            found[registry.card("models", experiment.model).title] = None
    if found:
        return f"This edition tests {', '.join(found)} on such images: **its scores there are an upper bound and no zero-shot result**."
    return f"This edition replaces {len(grid.profile(profile).stand_ins)} published models by stand-ins, which saw drawings only."


def weights_of(model: str, options: Options) -> str:
    """Name of a model's first weights in the table; "" for random ones."""
    first = registry.initial_weights(model, options)
    if isinstance(first, Pretraining):
        return f"{model}__{first.kind}"
    if isinstance(first, Checkpoint):
        return first.name
    return ""


def sentence(model: str, options: Options, tested: Iterable[str]) -> str:
    """One line of Markdown for the head of a page with zero-shot numbers: what the first weights may have seen of each data set."""
    if elsewhere := own_models.trained_on(options):
        return f"**What the weights have seen:** their owner says, trained on {elsewhere}. This project has not checked it."
    weights = weights_of(model, options)
    if not weights:
        return "**What the weights have seen:** nothing, they are random."
    found = [f"{_label(name)}: *{level(weights, name)}*" for name in datasets() if name in set(tested)]
    text = f"**What the first weights (`{weights}`) have seen** of the data sets below: {'; '.join(found)}"
    return f"{text}. The page *What the weights have seen* gives the sources."

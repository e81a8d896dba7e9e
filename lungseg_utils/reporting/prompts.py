"""Page "What a prompt is worth": one figure and its sentences, which the first page shows too.

Where several readers outlined the tested patients, one reader draws the prompts and the others judge; elsewhere the reference does both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from .. import registry
from ..evaluation import intervals
from ..experiments import analysis_plan, config, evidence, planning, results
from ..prompts.sources import ANOTHER_READER
from . import contamination, prompt_sources, style, wording
from .controls import EXTERNAL, role_of
from .labels import CONTROL, difference_text, interval_text, label_of
from .ladder import ladder_table
from .methods import Method, group_key, group_runs, titles
from .values import profile_shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


TRIVIAL, AUTOMATIC, BOX_CHANNEL, ZERO_SHOT, FINE_TUNED = "trivial", "automatic", "box channel", "zero-shot", "fine-tuned"
# notebooks whose results the front page shows, with their roles; the automatic control of the plan is added
FRONT_PAGE: Mapping[str, str] = {
    "baselines_zero_shot": TRIVIAL,
    "unet_prompted_full": BOX_CHANNEL,
    "litemedsam_zero_shot": ZERO_SHOT,
    "litemedsam_fine_tuned": FINE_TUNED,
}
SETTINGS = ("none", "box_one_slice", "box_every_slice")
_KEYS = tuple(f"front_{setting}" for setting in SETTINGS[1:])
_MARK = "†"
_DPI = 170  # sharp on dense screens, and some 150 kB


class _Layout(NamedTuple):
    """Inches of the figure: its width, the height of a line and of what is above and below; where the axes begin and end; text size."""

    width: float
    line: float
    rest: float
    left: float
    right: float
    points: float


WIDE, COMPACT, NARROW = "wide", "compact", "narrow"  # a page's column, two thirds of the first page, a phone
_LAYOUTS: Mapping[str, _Layout] = {
    WIDE: _Layout(8.6, 0.27, 1.1, 0.4, 0.765, 10),
    COMPACT: _Layout(6.9, 0.205, 0.87, 0.385, 0.735, 9.4),
    NARROW: _Layout(4.3, 0.34, 1.2, 0.03, 0.97, 10),
}
_ORDER = (TRIVIAL, AUTOMATIC, BOX_CHANNEL, ZERO_SHOT, FINE_TUNED)  # of the rows of a prompt setting
_LOOKS = {AUTOMATIC: ("o", 6), BOX_CHANNEL: ("D", 0), ZERO_SHOT: ("s", 5), FINE_TUNED: ("^", 2)}  # marker, color of OKABE_ITO


def source_of(finished: Sequence[results.RunResult], dataset: str) -> str:
    """Who draws the prompts of the front page, as `Method` calls it: another reader where there are several, else the reference ("")."""
    return ANOTHER_READER if dataset in prompt_sources.datasets(finished) else ""


def shown_methods(finished: Sequence[results.RunResult], profile: str) -> dict[str, list[Method]]:
    """Role -> the finished methods of the front page that have it, trained on the internal data set or not at all, in `_ORDER`."""
    known = {group_key(method.experiment): method for method in group_runs(finished)}
    roles = {**FRONT_PAGE, analysis_plan.load().automatic_control: AUTOMATIC}
    found: dict[str, list[Method]] = {}
    for notebook, role in sorted(roles.items(), key=lambda item: _ORDER.index(item[1])):
        planned = planning.planned_runs(notebook, profile) if notebook in config.load().notebooks(profile) else []
        keys = dict.fromkeys(group_key(e) for e in planned if e.train_dataset in (config.NO_DATASET, wording.internal(profile)))
        found[role] = [known[key] for key in keys if key in known]
    return found


def is_trivial(method: Method) -> bool:
    """Whether a method has no network."""
    return role_of(method.experiment) == TRIVIAL


def ladder_profile(profile: str) -> str:
    """The profile whose results show all prompts in the book of `profile`; its own one where numbers mean nothing."""
    return profile if profile in (evidence.QUICK_ON_PATIENTS, evidence.QUICK_ON_PHANTOMS) else profile_shown("all prompts", profile)


def whole_ladder(finished: Sequence[results.RunResult], profile: str) -> pd.DataFrame:
    """`ladder_table` of the internal data set of a profile, without methods that were trained on another one."""
    table = ladder_table(finished, wording.internal(profile))
    return table[table["training"] != EXTERNAL]


def front_table(finished: Sequence[results.RunResult], profile: str) -> pd.DataFrame:
    """One row per prompt setting and method of the front page, on the internal data set.

    Columns: setting, role, experiment, title, seen (whether its first weights had seen the tested images), n; dsc, gain (mean paired
    difference to the best prediction without a network for the same prompt) and added (to the same method without a prompt), each with
    _low and _high (NaN: no interval, no opponent).
    """
    dataset = wording.internal(profile)
    source, methods, names = source_of(finished, dataset), shown_methods(finished, profile), titles(finished)
    rows, alone = [], {}
    for setting in SETTINGS:
        asked = [(role, m) for role, found in methods.items() for m in found if m.asked(dataset, setting, source=source)]
        values = {method.name: method.table(dataset, setting, source=source).mean(axis=1) for _, method in asked}
        best = prompt_sources.best_trivial([method for _, method in asked], values) if setting != "none" else None
        for role, method in asked:
            own = values[method.name]
            if role == TRIVIAL and own is not best:
                continue
            row = {"setting": setting, "role": role, "experiment": method.name, "title": names[method.name, setting]}
            row |= {"seen": contamination.is_burnt(method.experiment, dataset), "n": len(own)}
            row |= _columns("dsc", intervals.summarize_mean(own.to_numpy()))
            gain = intervals.summarize_paired_difference(own, best) if best is not None and role != TRIVIAL else None
            added = intervals.summarize_paired_difference(own, alone[method.name]) if method.name in alone else None
            rows.append(row | _columns("gain", gain) | _columns("added", added))
        if setting == "none":
            alone = {method.name: values[method.name] for role, method in asked if role != TRIVIAL}
    return pd.DataFrame(rows)


def _columns(name: str, summary: intervals.Summary | None) -> dict[str, float]:
    values = (summary.mean, summary.low, summary.high) if summary else (np.nan,) * 3
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def front_figure(table: pd.DataFrame, readers: pd.Series | None = None, layout: str = WIDE) -> Figure:
    """Mean DSC of each method by prompt, with intervals, and at the right its paired difference to the best prediction without a network.

    Args:
        table: from `front_table`.
        readers: DSC of a reader's own outline, judged alike, one value a patient; None where one reader outlined.
        layout: `WIDE`, `COMPACT` or `NARROW`; a narrow one has no differences.
    """
    style.plot_style()
    import matplotlib.pyplot as plt

    lines, drawn = _lines(table), _LAYOUTS[layout]
    height = drawn.line * len(lines) + drawn.rest
    figure, axes = plt.subplots(figsize=(drawn.width, height), dpi=_DPI)
    figure.subplots_adjust(left=drawn.left, right=drawn.right, top=1 - 0.27 / height, bottom=0.68 / height)
    if readers is not None:
        band = intervals.summarize_mean(readers.to_numpy())
        low, high = (band.mean, band.mean) if np.isnan(band.low) else (band.low, band.high)
        axes.axvspan(low, high, color=style.OKABE_ITO[3], alpha=0.35, linewidth=0, zorder=0)
        axes.annotate("another reader", (high, -0.75), ha="right", va="bottom", fontsize=drawn.points, annotation_clip=False)
    for place, line in enumerate(lines):
        _draw_line(axes, place, line, drawn, layout == NARROW)
    note = f"\n{_MARK} first weights were trained on these images" if table["seen"].any() else ""
    axes.set(xlim=(0, 1), ylim=(len(lines) - 0.4, -0.6), yticks=[], xlabel=f"mean 3-D Dice, 95 % interval, n = {table['n'].max()}{note}")
    axes.xaxis.label.set_size(drawn.points)
    axes.tick_params(labelsize=drawn.points, pad=1)
    if layout != NARROW:
        above = {"xycoords": ("axes fraction", "data"), "va": "bottom", "fontsize": drawn.points, "annotation_clip": False}
        axes.annotate("minus gray bar", (1.02, -0.75), **above)
    plt.close(figure)
    return figure


def _lines(table: pd.DataFrame) -> list[pd.Series | str]:
    """Heads of prompt settings, each followed by its rows."""
    lines: list[pd.Series | str] = []
    for setting, part in table.groupby("setting", sort=False):
        lines += [str(setting), *(row for _, row in part.iterrows())]
    return lines


def _draw_line(axes: Axes, place: int, line: pd.Series | str, drawn: _Layout, is_narrow: bool) -> None:
    at_left = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": drawn.points, "annotation_clip": False}
    edge = 0.01 if is_narrow else -drawn.left / (drawn.right - drawn.left) + 0.01
    if isinstance(line, str):
        text = label_of(line)
        axes.annotate(text[0].upper() + text[1:], (edge, place), fontweight="bold", **at_left)
        return
    cut = CONTROL if line["role"] == AUTOMATIC and line["setting"] != "none" else ""
    name = _name(line).replace(" pretraining", "") + cut + (f" {_MARK}" if line["seen"] else "")
    if line["role"] == TRIVIAL:
        axes.barh(place, line["dsc"], height=0.3 if is_narrow else 0.7, color="0.8", zorder=1)
        color: Any = style.GRAY
    else:
        marker, hue = _LOOKS[line["role"]]
        color = style.OKABE_ITO[hue]
        axes.plot(line["dsc"], place, marker, color=color, markersize=6, zorder=3)
    axes.plot([line["dsc_low"], line["dsc_high"]], [place, place], color=color, linewidth=2, zorder=2)
    if is_narrow:  # the name lies above its line, as there is no room beside it
        axes.annotate(name, (0.01, place - 0.38), **at_left | {"fontsize": drawn.points - 2})
        return
    axes.annotate(name, (edge + 0.03, place), **at_left)
    if not np.isnan(line["gain"]):
        axes.annotate(_difference(line), (1.02, place), **at_left)


def _difference(row: pd.Series, name: str = "gain", signed: bool = False) -> str:
    return difference_text(*(row[f"{name}{end}"] for end in ("", "_low", "_high")), signed=signed)


def figure_alt(table: pd.DataFrame) -> str:
    """What `front_figure` shows, for those who cannot see it."""
    parts = []
    for setting, part in table.groupby("setting", sort=False):
        parts.append(f"{label_of(str(setting))}: " + "; ".join(f"{_name(row)} {row['dsc']:.2f}" for _, row in part.iterrows()))
    return f"Mean Dice with intervals by prompt. {'. '.join(parts) or 'Nothing was run'}."


def printable(table: pd.DataFrame, readers: pd.Series | None = None) -> pd.DataFrame:
    """One row a method, one column a prompt: mean Dice with its interval; at the end a reader's own outline, judged alike."""
    rows: dict[str, dict[str, str]] = {}
    for _, row in table.iterrows():
        rows.setdefault(_name(row), {})[label_of(row["setting"])] = _dsc(row)
    if readers is not None:
        rows["another reader's own outline"] = dict.fromkeys(map(label_of, SETTINGS), _of_readers(readers))
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=[label_of(setting) for setting in SETTINGS])
    first = list(dict.fromkeys(_name(row) for role in (AUTOMATIC, TRIVIAL) for _, row in table[table["role"] == role].iterrows()))
    frame = frame.reindex([*first, *(name for name in frame.index if name not in first)])
    return frame.fillna("–").rename_axis("method").reset_index()


def answer(table: pd.DataFrame, profile: str, readers: pd.Series | None = None) -> str:
    """Markdown: what each prompt is worth, a line for each."""
    said = sentences(table, profile, readers)
    return "\n".join(f"- {text}" for key, text in said.items() if text and key in ("front_alone", *_KEYS, "front_reader"))


def sentences(table: pd.DataFrame, profile: str, readers: pd.Series | None = None) -> dict[str, str]:
    """The answer in plain sentences, by glue key: front_alone, front_SETTING for each prompt, front_reader. What was not run is said."""
    said = {"front_alone": _alone(table, wording.named(wording.internal(profile)))}
    for setting in SETTINGS[1:]:
        said[f"front_{setting}"] = _with_prompt(table[table["setting"] == setting], label_of(setting))
    said["front_reader"] = "The boxes are cut from the reference, which also judges."
    if readers is not None:
        own = f"another reader's own outline reaches {_of_readers(readers)}"
        said["front_reader"] = f"One reader draws the boxes and other readers judge; judged in the same way, {own}."
    return said


def short_answer(table: pd.DataFrame, profile: str, readers: pd.Series | None = None) -> str:
    """Three sentences: no prompt, a box on every slice, a box on one slice; each number names whose it is."""
    alone = _alone(table, wording.named(wording.internal(profile)), intervals_too=False)
    if readers is not None:
        alone = f"{alone.removesuffix('.')}; another reader reaches {readers.mean():.2f}."
    return " ".join([alone, *(_short(table[table["setting"] == setting], label_of(setting)) for setting in reversed(SETTINGS[1:]))])


def _short(part: pd.DataFrame, prompt: str) -> str:
    """Of several CT windows of a published model the last one, which its authors' script has for lungs."""
    found = [part[part["role"] == role].iloc[-1:] for role in (ZERO_SHOT, TRIVIAL, BOX_CHANNEL)]
    if any(rows.empty for rows in found):
        return f"With a {prompt}, this edition has no comparison."
    (a, b, c), mark = (rows.iloc[0] for rows in found), f" {_MARK}" if found[0]["seen"].any() else ""
    model = _name(a).partition(", ")[0]
    return (
        f"With a {prompt}, {model} reaches {a['dsc']:.2f}{mark}, a rule without a network ({_rule(b)}) {b['dsc']:.2f}, "
        f"and a U-Net that is given the boxes {c['dsc']:.2f}."
    )


def _of_readers(readers: pd.Series) -> str:
    summary = intervals.summarize_mean(readers.to_numpy())
    return interval_text(summary.mean, summary.low, summary.high)


def _name(row: pd.Series) -> str:
    """Of a network that is trained from random weights its model, of the others the training too."""
    if row["role"] == TRIVIAL:
        return "best without a network"
    if row["role"] in (AUTOMATIC, BOX_CHANNEL):
        return row["title"].removesuffix(CONTROL).partition(", ")[0]
    return row["title"]


def _alone(table: pd.DataFrame, tested: str, intervals_too: bool = True) -> str:
    part = table[(table["setting"] == "none") & (table["role"] == AUTOMATIC)]
    if part.empty:
        return f"Without a prompt, no automatic network was run on {tested} in this edition."
    row = part.iloc[0]
    value = _dsc(row) if intervals_too else f"{row['dsc']:.2f}"
    return f"Without a prompt, the {_name(row)} reaches a mean Dice of {value} on {row['n']} {tested}."


def _with_prompt(part: pd.DataFrame, prompt: str) -> str:
    trivial, others = part[part["role"] == TRIVIAL], part[part["role"] != TRIVIAL]
    if trivial.empty or others.empty:
        return f"With a {prompt}, this edition has no comparison."
    text = f"With a {prompt}, the best prediction without a network ({_rule(trivial.iloc[0])}) reaches {_dsc(trivial.iloc[0])}."
    for _, row in others[(others["role"] == AUTOMATIC) & others["added"].notna()].iterrows():
        text += f" The box adds {_difference(row, 'added', True)} to the {_name(row)}, whose prediction is cut to it."
    named: dict[str, list[str]] = {}
    for _, row in others.iterrows():
        named.setdefault(_short_name(row), []).append(difference_text(row["gain"], signed=True))
    listed = "; ".join(f"{name} {' and '.join(gains)}" for name, gains in named.items())
    return f"{text} Paired differences to the prediction without a network: {listed}."


def _short_name(row: pd.Series) -> str:
    """Without the CT window and the pretraining, which the figure names."""
    model = _name(row).partition(", ")[0]
    if row["role"] in (AUTOMATIC, BOX_CHANNEL):
        return model + (CONTROL if row["role"] == AUTOMATIC else "")
    return f"{model}, {row['role']},"


def _rule(row: pd.Series) -> str:
    return str(row["title"]).removeprefix("trivial: ")


def _dsc(row: pd.Series) -> str:
    return interval_text(row["dsc"], row["dsc_low"], row["dsc_high"])


def seen_sentence(table: pd.DataFrame) -> str:
    """Which models of the figure started from weights that had seen the tested images; "" for none."""
    names = list(dict.fromkeys(title.partition(", ")[0] for title in table["title"][table["seen"]]))
    if not names:
        return ""
    return f"{_MARK} The published weights of {' and '.join(names)} were trained on these images: an upper bound, not a zero-shot result."


def readers_of(finished: Sequence[results.RunResult], profile: str) -> pd.Series | None:
    """DSC of a reader's own outline on the internal data set, one value a patient; None where one reader outlined. Reads the masks."""
    dataset = wording.internal(profile)
    if not registry.card("datasets", dataset).several_readers or not source_of(finished, dataset):
        return None
    return prompt_sources.readers_by_patient(finished, dataset)

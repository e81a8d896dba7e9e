"""Front page: the figure of three panels and the numbers in the text."""

from __future__ import annotations

import textwrap
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..experiments import analysis_plan, planning
from ..experiments.costs import subjects
from ..types import Experiment
from . import contamination, efficiency, style, wording
from .labels import difference_text, interval_text, label_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# notebooks whose results the front page cites, apart from the automatic control; the planned contrasts compare them
FRONT_PAGE = ("baselines_zero_shot", "litemedsam_fine_tuned", "medsam2_fine_tuned")
_ARCHITECTURES = tuple({subject.model: subject.name for subject in subjects.choose()}.values())  # of each model the last, its largest
_SETTINGS = {"none": ("o", "no prompt"), "box_one_slice": ("^", "box on one slice"), "box_every_slice": ("s", "box on every slice")}
_SEEN = " (had seen these images)"
_DPI = 170  # sharp on dense screens, and some 150 kB


def methods(profile: str) -> list[str]:
    """Experiments of the first panel: the trivial baseline, the automatic control and the two fine-tuned promptable models."""
    baseline, *promptable = FRONT_PAGE
    return [
        planning.make_experiment(notebook, profile).name for notebook in (baseline, analysis_plan.load().automatic_control, *promptable)
    ]


def burnt(profile: str) -> set[str]:
    """Those of `methods` whose first weights had been trained on the images of the internal test set."""
    planned = [planning.make_experiment(notebook, profile) for notebook in FRONT_PAGE[1:]]
    return {experiment.name for experiment in planned if contamination.is_burnt(experiment, wording.internal(profile))}


@dataclass(frozen=True)
class _Shape:
    """Shape of the figure: inches, shares of the width, and letters per line."""

    size: tuple[float, float]
    margins: Mapping[str, float]
    heights: tuple[float, float, float]  # of the panels, relative
    title_letters: int
    label_letters: int
    legend_columns: int


_WIDE = _Shape((7.6, 12.0), {"left": 0.345, "right": 0.985, "top": 0.975, "bottom": 0.1, "hspace": 0.6}, (2.3, 4.2, 2.5), 90, 41, 3)
# for phones
_NARROW = _Shape((4.6, 15.5), {"left": 0.43, "right": 0.965, "top": 0.97, "bottom": 0.13, "hspace": 0.68}, (2.0, 5.6, 2.8), 44, 27, 1)


def front_figure(ladder: pd.DataFrame, trap: pd.DataFrame, costs: pd.DataFrame, profile: str, narrow: bool = False) -> Figure:
    """The three panels of the front page.

    Args:
        ladder: from `ladder.ladder_table`.
        trap: from `protocol_trap.protocol_trap`.
        costs: one setting of `table.read`.
        profile: whose results are shown.
        narrow: for a column as wide as a phone, with readable letters.
    """
    style.plot_style()
    import matplotlib.pyplot as plt

    shape = _NARROW if narrow else _WIDE
    figure, (prompts, protocol, cost) = plt.subplots(3, 1, figsize=shape.size, dpi=_DPI, gridspec_kw={"height_ratios": shape.heights})
    figure.subplots_adjust(**shape.margins)
    shown = ladder[ladder["experiment"].isin(methods(profile))]
    _draw_prompts(prompts, shown, methods(profile), shape, burnt(profile))
    _draw_protocols(protocol, trap[(trap["experiment"] == methods(profile)[1]) & (trap["setting"] == "none")], shape)
    _draw_costs(cost, efficiency.by_volume(costs), shape)
    for axes in (prompts, protocol):
        axes.set_title(f"{axes.get_title()} ({wording.words(profile)['results']})")
    for axes, letter in ((prompts, "a"), (protocol, "b"), (cost, "c")):
        place = {"xycoords": ("figure fraction", "axes fraction"), "textcoords": "offset points", "va": "bottom"}
        title = textwrap.fill(f"{letter}   {axes.get_title()}", shape.title_letters)
        axes.annotate(title, (0.01, 1), (0, 6), fontsize="medium", fontweight="bold", **place)
        axes.set_title("")
        axes.tick_params(labelsize="x-small" if axes is protocol else "small")
        axes.xaxis.label.set_size("small")
        axes.grid(visible=False, axis="y")
    plt.close(figure)
    return figure


def _draw_prompts(axes: Axes, ladder: pd.DataFrame, order: list[str], shape: _Shape, seen: Container[str]) -> None:
    """Mean DSC with interval by prompt (rows) and method; `seen`: methods that had seen the images.

    Trivial baselines without a prompt are empty, and left out.
    """
    import seaborn as sns

    settings, labels = [name for name in _SETTINGS if name in set(ladder["setting"])], {}
    looks = {name: (marker, color) for name, marker, color in zip(order, "Dosv", (style.GRAY, *sns.color_palette()[:3]), strict=True)}
    for place, setting in enumerate(settings):
        part = ladder[(ladder["setting"] == setting) & ~((ladder["role"] == "trivial") & (setting == "none"))].set_index("experiment")
        for number, name in enumerate(name for name in order if name in part.index):
            row, (marker, color) = part.loc[name], looks[name]
            y = place + 0.19 * (number - (len(part) - 1) / 2)
            axes.plot([row["dsc_low"], row["dsc_high"]], [y, y], color=color, linewidth=2)
            labels[name] = axes.plot(row["dsc"], y, marker, color=color, linestyle="", label=_short(row) + (_SEEN if name in seen else ""))[
                0
            ]
    axes.set(
        yticks=range(len(settings)),
        yticklabels=[_line(label_of(name), shape) for name in settings],
        xlim=(-0.02, 1.02),  # a marker at 0 is drawn whole
        ylim=(len(settings) - 0.5, -0.5),
    )
    axes.set(title="What a prompt is worth", xlabel=f"mean 3-D DSC with 95 % interval,\nn = {ladder['n'].max()}")
    _legend(axes, [labels[name] for name in order if name in labels], min(2, shape.legend_columns, len(labels)))


def _line(name: str, shape: _Shape) -> str:
    return textwrap.fill(name, shape.label_letters)


def _legend(axes: Axes, handles: list[Artist], columns: int) -> None:
    below = -(30 + 13 * (1 + axes.get_xlabel().count("\n")))  # points: ticks, and the lines of the label
    axes.legend(
        handles=handles, loc="upper right", bbox_to_anchor=(1.0, below / axes.bbox.height * axes.figure.dpi / 72), ncols=columns,
        fontsize="x-small", frameon=False, columnspacing=1.2, borderaxespad=0,
    )  # fmt: skip


def _short(row: pd.Series) -> str:
    """Name of a method without what differs from one prompt setting to the next."""
    if row["role"] == "trivial":
        return "trivial: ellipse or ellipsoid, no voxel looked at"
    return f"{row['model']}, {row['regime']}; with a prompt, cut to it" if row["role"] == "control" else row["title"]


def _draw_protocols(axes: Axes, trap: pd.DataFrame, shape: _Shape) -> None:
    """The same masks of one model by every protocol, this project's own first and as a line."""
    import seaborn as sns

    own, places = trap["value"].iloc[0], np.arange(len(trap))
    colors = [sns.color_palette()[3] if place == 0 else sns.color_palette()[0] for place in places]
    axes.axvline(own, color=sns.color_palette()[3], linewidth=1, linestyle="--")
    axes.hlines(places, own, trap["value"], color="0.7", linewidth=2)
    axes.scatter(trap["value"], places, color=colors, zorder=3)
    for place, value in zip(places, trap["value"], strict=True):
        side, align = (7, "left") if value >= own else (-7, "right")
        near = {"textcoords": "offset points", "va": "center", "fontsize": "x-small"}
        axes.annotate(f"{value:.2f}", (value, place), (side, 0), ha=align, **near)
    names = [_line(name, shape) for name in trap["protocol"]]
    axes.set(yticks=places, yticklabels=names, xlim=(-0.02, 1.02), ylim=(len(trap) - 0.4, -0.6))
    model = trap["model"].iloc[0]
    axes.set(title=f"What the protocol does: the same masks of one {model}")
    axes.set_xlabel(f"DSC by this protocol, no prompt,\n{trap['n'].iloc[0]} patients with a tumor")


def _draw_costs(axes: Axes, volumes: pd.DataFrame, shape: _Shape) -> None:
    """Seconds of the machine for the reference volume by prompt setting; hatched bands: a person's seconds for the boxes."""
    import seaborn as sns

    names, handles = [name for name in _ARCHITECTURES if name in set(volumes["model"])], []
    for color, (setting, (marker, label)) in enumerate(_SETTINGS.items()):
        part = volumes[(volumes["prompter"] == setting) & volumes["model"].isin(names)]
        y = [
            names.index(name) + (0.14 if setting == "box_one_slice" else -0.14 if setting == "box_every_slice" else 0)
            for name in part["model"]
        ]
        handles += axes.plot(part["seconds"], y, marker, color=sns.color_palette()[color], markersize=6, label=f"machine, {label}")
    for boxes, hatch in ((1, "////"), (int(volumes["prompts"].max()), "\\\\\\\\")):
        low, high = efficiency.human_seconds(boxes)
        band = {"facecolor": "none", "edgecolor": "0.75", "hatch": hatch, "linewidth": 0, "zorder": 0}
        handles.append(axes.axvspan(low, high, label=f"person, {boxes} box{'es' if boxes > 1 else ''}", **band))
    axes.set(xscale="log", yticks=range(len(names)), yticklabels=[_line(efficiency.model_title(name), shape) for name in names])
    axes.set(ylim=(len(names) - 0.5, -0.5), title="What the full-size architectures cost (random weights: no accuracy)")
    axes.set_xlabel(f"seconds for one volume of {subjects.SHAPE[2]} slices\non a processor without GPU (s)")
    _legend(axes, handles, shape.legend_columns)


def page_values(ladder: pd.DataFrame, profile: str) -> dict[str, object]:
    """Values for the text of the front page, by glue key.

    NOTEBOOK_SETTING_(dsc|over_trivial|over_control) with intervals, NOTEBOOK_title, NOTEBOOK_seen (`seen_sentence`), and front_n.
    """
    rows = ladder.set_index(["experiment", "setting"])
    values: dict[str, Any] = {"front_n": int(ladder["n"].max())}
    for notebook in FRONT_PAGE[1:]:
        experiment = planning.make_experiment(notebook, profile)
        name = experiment.name
        values[f"{notebook}_title"] = planning.experiment_title(experiment)
        values[f"{notebook}_seen"] = seen_sentence(experiment, wording.internal(profile))
        for setting in [setting for setting in _SETTINGS if (name, setting) in rows.index]:
            row = rows.loc[(name, setting)]
            for quantity in ("dsc", "over_trivial", "over_control"):
                text = interval_text if quantity == "dsc" else difference_text
                values[f"{notebook}_{setting}_{quantity}"] = text(*(row[f"{quantity}{end}"] for end in ("", "_low", "_high")))
    return values


def seen_sentence(experiment: Experiment, dataset: str) -> str:
    """What a reader of a number must know of what the first weights had seen of the tested data set."""
    found, label = contamination.level_of(experiment, dataset), label_of(dataset)
    if contamination.is_burnt(experiment, dataset):
        return f"Its first weights had been trained on {label} ({found}), so its numbers there are no zero-shot claim."
    if found in ("", contamination.NONE):
        return f"Its first weights had seen nothing of {label}."
    return f"What its first weights had seen of {label}: {found}."

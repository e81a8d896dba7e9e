"""Page "What it costs": costs of full-size architectures, as tables and figures. No accuracy: a stand-in's is not that of its full size.

Colors are safe for color-blind readers, and shapes and hatches repeat the information in gray; every axis has its unit.
The module is long because the page has the most figures of the book, and they share how rows are named and ordered.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..experiments.costs.subjects import HUMAN_SECONDS_PER_BOX, subjects
from ..experiments.costs.table import MIRRORED, VOLUME
from ..experiments.results import RunResult
from ..types import Row
from .labels import label_of, number_text
from .style import plot_style
from .values import training_seconds

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.typing import ColorType


_FAMILIES = {False: ("no prompt", "o", 0), True: ("box on a slice", "s", 1)}  # prompted: name, marker, color
_SETTINGS = ("none", "box_one_slice", "box_every_slice")
_GIGA = 1e9
_HUMAN_COLOR, _HUMAN_HATCH = "0.45", "////"
_EXTRAPOLATED_ALPHA = 0.45
# what the page shows first: one architecture of each kind, and the ways to ask it
_SHOWN = ("unet_wide", "deeplabv3_resnet101", "nnunet_3d", "sam", "litemedsam", "sam2", "medsam2")
_SHOWN_VOLUMES = (
    *(("nnunet_3d", "none"), ("unet_wide", "none"), ("sam", "box_one_slice"), ("sam", "box_every_slice")),
    *(("litemedsam", "box_one_slice"), ("medsam2", "box_one_slice")),
)
# where a label may stand beside its point: shift (points), horizontal and vertical alignment; the first that is free is taken
_SIDES = (
    *[(8, -3, "left", "top"), (-8, 0, "right", "center"), (8, 3, "left", "bottom"), (-8, 3, "right", "bottom")],
    *[(-8, -3, "right", "top"), (0, 8, "center", "bottom"), (0, -8, "center", "top")],
)
_ALIKE = 0.002, 0.2  # decades in FLOPs and seconds between points that share a label: one architecture under several names


def model_title(name: str) -> str:
    """Title of an architecture; unknown names stay as they are."""
    return next((subject.title for subject in subjects() if subject.name == name), name)


def human_seconds(prompts: float) -> tuple[float, float]:
    """Seconds of a person for that many boxes, from extreme clicking to dragging; arXiv:1708.02750, natural images."""
    low, high = HUMAN_SECONDS_PER_BOX
    return low * prompts, high * prompts


def by_model(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per model of one setting (`table.one_setting`), in the order of the table.

    `slice_*` is the cost of one slice: for an automatic network that of a volume divided by its slices, for a promptable one that of an
    encoded slice with one prompt. `memory_mb` is the highest of all passes of the network, without arrays of the whole volume.
    """
    values = _values(frame)
    rows = []
    for name in dict.fromkeys(frame["model"]):
        own = values[name]
        prompted = ("cold", "seconds") in own
        stage, slices = ("cold", 1.0) if prompted else (f"{VOLUME}none", own[f"{VOLUME}none", "slices"])
        row = {"model": name, "prompted": prompted, "input": _input(frame, name)}
        row |= {quantity: own["network", quantity] for quantity in ("parameters", "parameters_trained")}
        row |= {f"slice_{quantity}": own[stage, quantity] / slices for quantity in ("flops", "seconds")}
        row |= {f"{part}_seconds": own.get((part, "seconds"), np.nan) for part in ("encode", "prompt", "track")}
        peaks = [value for (part, q), value in own.items() if q == "peak_memory" and not part.startswith(VOLUME)]
        row["memory_mb"] = max(peaks)
        rows.append(row)
    return pd.DataFrame(rows)


def by_volume(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per model and prompt setting on the reference volume: slices, prompts, seconds, FLOPs, and whether it was extrapolated."""
    rows = []
    seconds = frame[frame["stage"].str.startswith(VOLUME) & (frame["quantity"] == "seconds")]
    values = _values(frame)
    for _, row in seconds.iterrows():
        own, stage = values[row["model"]], row["stage"]
        facts = {quantity: own[stage, quantity] for quantity in ("seconds", "flops", "slices", "prompts")}
        shown = {"model": row["model"], "prompter": stage.removeprefix(VOLUME), **facts}
        rows.append(shown | {"extrapolated": row["kind"] == "extrapolated"})
    return pd.DataFrame(rows)


def _values(frame: pd.DataFrame) -> dict[str, dict[tuple[str, str], float]]:
    """model -> (stage, quantity) -> value."""
    values: dict[str, dict[tuple[str, str], float]] = {}
    for model, stage, quantity, value in frame[["model", "stage", "quantity", "value"]].itertuples(index=False):
        values.setdefault(model, {})[stage, quantity] = value
    return values


def _input(frame: pd.DataFrame, name: str) -> str:
    return next(text for text in frame.loc[frame["model"] == name, "input"] if text)


def seconds_over_flops(frame: pd.DataFrame) -> Figure:
    """Seconds over FLOPs, both for one slice, on logarithmic axes; gray lines join equal speeds. One point per architecture."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    table = by_model(frame)
    figure, axes = plt.subplots(figsize=(8.5, 5), layout="constrained")
    axes.set(xscale="log", yscale="log", xlabel="FLOPs per slice (GFLOP; a multiply-add is two)", ylabel="seconds per slice (s)")
    for prompted, (family, marker, color) in _FAMILIES.items():
        part = table[table["prompted"] == prompted]
        axes.scatter(
            part["slice_flops"] / _GIGA,
            part["slice_seconds"],
            marker=marker,
            s=55,
            color=sns.color_palette()[color],
            label=family,
            zorder=3,
        )
    axes.margins(0.12)
    axes.set_xlim(right=axes.get_xlim()[1] * 4)  # room for the labels
    speeds = table["slice_flops"] / _GIGA / table["slice_seconds"]
    _lines_of_equal_speed(axes, speeds.min(), speeds.max())
    axes.legend(loc="upper left")
    _label(axes, _labels(table))
    plt.close(figure)
    return figure


def _labels(table: pd.DataFrame) -> list[tuple[float, float, str]]:
    """Position (GFLOP, s) and text of each label; points on top of each other share one."""
    groups: list[tuple[float, float, list[str]]] = []
    for _, row in table.sort_values("slice_flops", kind="stable").iterrows():
        x, y, name = row["slice_flops"] / _GIGA, row["slice_seconds"], model_title(row["model"])
        near = (g for g in groups if abs(np.log10(x / g[0])) < _ALIKE[0] and abs(np.log10(y / g[1])) < _ALIKE[1])
        if (found := next(near, None)) is not None:
            found[2].append(name)
        else:
            groups.append((x, y, [name]))
    return [(x, y, "\n".join(names)) for x, y, names in groups]


def _label(axes: Axes, labels: Sequence[tuple[float, float, str]]) -> None:
    """Place each label next to its point, on the first side where it stays inside and covers no point or other label, if any."""
    axes.figure.draw_without_rendering()  # the layout settles
    points = [axes.transData.transform((x, y)) for x, y, _ in labels]
    taken = [axes.get_legend().get_window_extent()]

    def is_free(label: Annotation) -> bool:
        box = label.get_window_extent()
        inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
        return inside and not box.count_contains(points) and not box.count_overlaps(taken)

    how = {"textcoords": "offset points", "fontsize": "x-small", "in_layout": False}
    for x, y, text in labels:
        tried = [axes.annotate(text, (x, y), shift, ha=horizontal, va=vertical, **how) for *shift, horizontal, vertical in _SIDES]
        kept = next((label for label in tried if is_free(label)), tried[0])
        taken.append(kept.get_window_extent())
        for label in tried:
            if label is not kept:
                label.remove()


def _lines_of_equal_speed(axes: Axes, slowest: float, fastest: float) -> None:
    """GFLOP/s as gray diagonals, whole decades around the measured speeds, numbered at their upper ends; the axes keep their limits."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for speed in 10.0 ** np.arange(np.floor(np.log10(slowest)), np.ceil(np.log10(fastest)) + 1):
        axes.plot([left, right], [left / speed, right / speed], color="0.75", linewidth=0.9, linestyle="--", zorder=1)
        end = min(right, high * speed)
        if end > left:
            axes.annotate(f"{speed:g} GFLOP/s  ", (end, end / speed), ha="right", va="top", fontsize="x-small", color="0.35")
    axes.set(xlim=(left, right), ylim=(low, high))


def memory(frame: pd.DataFrame) -> Figure:
    """Peak memory of each model in one pass: its weights, and further allocations."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    table = by_model(frame).sort_values("memory_mb")
    weights = table["parameters"] * 4 / _GIGA  # float32, on a GPU too: autocast casts in passing
    whole = np.maximum(table["memory_mb"] * 1e6 / _GIGA, weights)
    figure, axes = plt.subplots(figsize=(7.5, 0.35 * len(table) + 1.1), layout="constrained")
    places = np.arange(len(table))
    axes.barh(places, weights, color=sns.color_palette()[1], hatch="xx", edgecolor="white", label="weights")
    axes.barh(places, whole - weights, left=weights, color=sns.color_palette()[0], label="beside them")
    for place, value in zip(places, whole, strict=True):
        axes.annotate(f" {value:.2g}", (value, place), va="center", fontsize="small")
    axes.set(yticks=places, yticklabels=[model_title(name) for name in table["model"]], xlabel="peak memory (GB)")
    axes.set_xlim(right=1.08 * whole.max())
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower right")
    plt.close(figure)
    return figure


def seconds_per_volume(frame: pd.DataFrame) -> Figure:
    """Seconds for the reference volume on a logarithmic axis, one panel per prompt setting; pale bars are extrapolated.

    A hatched band below the bar of a prompted model shows a person's seconds for its boxes. The two are not added up.
    """
    sns = plot_style()
    import matplotlib.pyplot as plt

    table = by_volume(frame)
    parts = [(setting, _of_setting(table, setting)) for setting in _SETTINGS]
    parts = [(setting, part) for setting, part in parts if len(part)]
    heights = [len(part) + 0.6 for _, part in parts]
    low = 10 ** np.floor(np.log10(min(table["seconds"].min(), HUMAN_SECONDS_PER_BOX[0])))
    figure, panels = plt.subplots(
        len(parts), 1, figsize=(8.5, 0.85 * len(parts) + 0.36 * sum(heights)), sharex=True, layout="constrained", squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for axes, (setting, part) in zip(panels[:, 0], parts, strict=True):
        axes.set(
            xscale="log", title=label_of(setting), yticks=range(len(part)), yticklabels=[_volume_title(row) for _, row in part.iterrows()]
        )
        axes.grid(visible=False, axis="y")
        for place, (_, row) in enumerate(part.iterrows()):
            _volume_bars(axes, place, row, low, sns.color_palette()[0 if setting == "none" else 1])
    panels[-1, 0].set(xlabel="seconds for one volume (s)", xlim=(low, 5 * table["seconds"].max()))
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, fontsize="small")
    plt.close(figure)
    return figure


def overview(frame: pd.DataFrame) -> Figure:
    """Seconds of machine and person for the reference volume, of a few architectures: the short form of `seconds_per_volume`."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    table = by_volume(frame).set_index(["model", "prompter"], drop=False)
    part = table.loc[[key for key in _SHOWN_VOLUMES if key in table.index]].iloc[::-1]
    figure, axes = plt.subplots(figsize=(8.5, 0.55 * len(part) + 1.3), layout="constrained")
    for place, (_, row) in enumerate(part.iterrows()):
        _volume_bars(axes, place, row, 1.0, sns.color_palette()[0 if row["prompter"] == "none" else 1])
    names = [f"{model_title(row['model'])}, {label_of(row['prompter'])}" for _, row in part.iterrows()]
    axes.set(
        xscale="log", yticks=range(len(part)), yticklabels=names, xlim=(1, 5 * part["seconds"].max()), xlabel="seconds for one scan (s)"
    )
    axes.grid(visible=False, axis="y")
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, fontsize="small")
    plt.close(figure)
    return figure


def _legend() -> list[Artist]:
    from matplotlib.patches import Patch

    least, most = HUMAN_SECONDS_PER_BOX
    person = Patch(facecolor="none", edgecolor=_HUMAN_COLOR, hatch=_HUMAN_HATCH, label=f"person, {least:g} to {most:g} s a box")
    return [
        Patch(color="0.3", label="machine, measured"),
        Patch(color="0.3", alpha=_EXTRAPOLATED_ALPHA, label="machine, extrapolated"),
        person,
    ]


def overview_table(frame: pd.DataFrame, on_a_card: pd.DataFrame) -> pd.DataFrame:
    """A few architectures: size, memory, and time for the reference volume by prompt; the last column is of another machine."""
    models = by_model(frame).set_index("model")
    names = [name for name in _SHOWN if name in models.index]
    own, card = (
        {(r["model"], r["prompter"]): duration(r["seconds"], r["extrapolated"]) for _, r in by_volume(f).iterrows()}
        for f in (frame, on_a_card)
    )
    return pd.DataFrame(
        {
            "full size": [model_title(name) for name in names],
            "parameters (M)": [_three(models.loc[name, "parameters"] / 1e6) for name in names],
            "peak memory (GB)": [_three(models.loc[name, "memory_mb"] / 1e3) for name in names],
            **{label_of(setting): [own.get((name, setting), "–") for name in names] for setting in _SETTINGS},
            "on a graphics card": [card.get((name, "none")) or card.get((name, "box_one_slice"), "–") for name in names],
        }
    )


def answer(frame: pd.DataFrame, on_a_card: pd.DataFrame) -> str:
    """The finding of the page: what a scan costs a machine and a person, with and without a graphics card."""
    values, card = ({key: str(value).replace("≈", "about") for key, value in page_values(found).items()} for found in (frame, on_a_card))
    return (
        f"On a processor ({values['device']}), nnU-Net takes {values['nnunet_3d_none']} per scan "
        f"({values['nnunet_3d_none_mirrored']} with its default mirroring) and needs no human input. With one box, SAM takes "
        f"{values['sam_box_one_slice']}, LiteMedSAM {values['litemedsam_box_one_slice']} and MedSAM2 {values['medsam2_box_one_slice']}, "
        f"plus {values['person_one']} of a person. Boxes on every slice take a person {values['person_every']}. On a graphics card "
        f"({card['device']}) nnU-Net takes {card['nnunet_3d_none']} and SAM with one box {card['sam_box_one_slice']}."
    )


def training_table(finished: Sequence[RunResult]) -> pd.DataFrame:
    """Steps, time, parameters and device of each trained experiment."""
    trained = [result for result in finished if len(result.history)]
    return pd.DataFrame(
        {
            "method": [result.provenance["title"] for result in trained],
            "steps": [int(result.history["step"].max()) for result in trained],
            "time": [duration(training_seconds(result.history)) for result in trained],
            "parameters (M)": [number_text(result.provenance["parameters"] / 1e6, 1) for result in trained],
            "device": [result.provenance["device"] for result in trained],
        }
    )


def _of_setting(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    asked = table["prompter"].replace({MIRRORED: "none"}) == setting
    return table[asked].sort_values("seconds", ascending=False)


def _volume_title(row: Row) -> str:
    return model_title(row["model"]) + (", mirrored" if row["prompter"] == MIRRORED else "")


def _volume_bars(axes: Axes, place: int, row: Row, low: float, color: ColorType) -> None:
    prompted = row["prompts"] > 0
    centre, height = (place + 0.17, 0.4) if prompted else (place, 0.6)
    alpha = _EXTRAPOLATED_ALPHA if row["extrapolated"] else 1.0
    axes.barh(centre, row["seconds"] - low, left=low, height=height, color=color, alpha=alpha)
    axes.annotate(" " + duration(row["seconds"], row["extrapolated"]), (row["seconds"], centre), va="center", fontsize="small")
    if prompted:
        least, most = human_seconds(row["prompts"])
        band = {"facecolor": "none", "edgecolor": _HUMAN_COLOR, "hatch": _HUMAN_HATCH, "linewidth": 0.8}
        axes.barh(place - 0.25, most - least, left=least, height=0.28, **band)


def duration(seconds: float, extrapolated: bool = False) -> str:
    """ "0.42 s", "95 s", "12 min", "3.4 h"; extrapolated ones begin with "≈"."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            text = f"{_digits(seconds / size)} {unit}"
            break
    else:
        text = f"{_digits(seconds)} s"
    return f"≈ {text}" if extrapolated else text


def _digits(value: float) -> str:
    """Two significant digits, or all before the point."""
    return "–" if np.isnan(value) else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _three(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def printable_models(frame: pd.DataFrame) -> pd.DataFrame:
    """`by_model` as a table for a page."""
    table = by_model(frame)

    def column(name: str, scale: float = 1.0) -> list[str]:
        return [_three(value * scale) for value in table[name]]

    return pd.DataFrame(
        {
            "model": [model_title(name) for name in table["model"]],
            "input": table["input"],
            "parameters (M)": column("parameters", 1e-6),
            "of them trained (M)": column("parameters_trained", 1e-6),
            "GFLOP per slice": column("slice_flops", 1 / _GIGA),
            "s per slice": column("slice_seconds"),
            "encode a slice (s)": column("encode_seconds"),
            "prompt on it (s)": column("prompt_seconds"),
            "slice through the memory (s)": column("track_seconds"),
            "peak memory (GB)": column("memory_mb", 1e-3),
        }
    )


def printable_machines(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Models measured on both of two machines: the reference volume on each, and the speed-up. Each table is of one setting."""
    both = _on_both(one, other)
    asked = [label_of(p) if p != MIRRORED else f"{label_of('none')}, mirrored" for p in both["prompter"]]
    shown = {"model": [model_title(name) for name in both["model"]], "prompt": asked}
    for machine, suffix in ((one, ""), (other, "_other")):
        columns = zip(both[f"seconds{suffix}"], both[f"extrapolated{suffix}"], strict=True)
        shown[_setting(machine)] = [duration(seconds, extrapolated) for seconds, extrapolated in columns]
    return pd.DataFrame(shown | {"times faster": [_three(v) for v in both["seconds"] / both["seconds_other"]]})


def _on_both(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    return by_volume(one).merge(by_volume(other), on=["model", "prompter"], suffixes=("", "_other"))


def _setting(frame: pd.DataFrame) -> str:
    first = frame.iloc[0]
    return f"{first['device']}, {first['threads']} thread(s), {first['precision']}"


def machine_values(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, str]:
    """Values for the text of a page on two machines: both, the models not measured on the second, the smallest and largest speed-up."""
    both = _on_both(one, other)
    gains = both["seconds"] / both["seconds_other"]
    missing = [model_title(name) for name in dict.fromkeys(one["model"]) if name not in set(other["model"])]
    named = {"least": gains.idxmin(), "most": gains.idxmax()}
    return {
        "machine": _setting(one),
        "other_machine": _setting(other),
        "other_commit": str(other.iloc[0]["commit"]),
        "missing": ", ".join(missing) or "none",
        **{f"{name}_gain": _three(gains[at]) for name, at in named.items()},
        **{f"{name}_model": model_title(both.loc[at, "model"]) for name, at in named.items()},
    }


def printable_volumes(frame: pd.DataFrame) -> pd.DataFrame:
    """`by_volume` as a table for a page, with a person's seconds for the boxes."""
    table = by_volume(frame)
    boxes = [int(n) for n in table["prompts"]]
    asked = [label_of(p) if p != MIRRORED else f"{label_of('none')}, mirrored" for p in table["prompter"]]
    return pd.DataFrame(
        {
            "model": [model_title(name) for name in table["model"]],
            "prompt": asked,
            "slices looked at": table["slices"].astype(int),
            "TFLOP": [_three(value / 1e12) for value in table["flops"]],
            "machine": [duration(s, e) for s, e in zip(table["seconds"], table["extrapolated"], strict=True)],
            "how": ["extrapolated" if e else "measured" for e in table["extrapolated"]],
            "boxes": boxes,
            "person": [" to ".join(duration(s) for s in human_seconds(n)) if n else "–" for n in boxes],
        }
    )


def printable_family(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    """Costs of the full sizes of one model of the grid: one row per size, for a slice and for the reference volume by prompt setting.

    Empty as long as none of them was measured.
    """
    sizes = [subject.name for subject in subjects() if subject.model == model and subject.name in set(frame["model"])]
    own = frame[frame["model"].isin(sizes)]
    if own.empty:
        return pd.DataFrame({"full size": [], "not measured yet": []})
    volumes = by_volume(own)
    times = {(row["model"], row["prompter"]): duration(row["seconds"], row["extrapolated"]) for _, row in volumes.iterrows()}
    table = by_model(own).set_index("model").loc[sizes]
    columns = {
        "full size": [model_title(name) for name in sizes],
        "input": table["input"].to_list(),
        "parameters (M)": [_three(value / 1e6) for value in table["parameters"]],
        "GFLOP per slice": [_three(value / _GIGA) for value in table["slice_flops"]],
        "peak memory (GB)": [_three(value / 1e3) for value in table["memory_mb"]],
    }
    for setting in (name for name in (_SETTINGS[0], MIRRORED, *_SETTINGS[1:]) if name in set(volumes["prompter"])):
        heading = f"{label_of('none')}, mirrored" if setting == MIRRORED else label_of(setting)
        columns[f"one volume, {heading}"] = [times.get((name, setting), "–") for name in sizes]
    return pd.DataFrame(columns)


def spread(frame: pd.DataFrame) -> float:
    """Largest ratio of the slowest to the fastest timed run of any stage, a measure of other load on the machine."""
    wide = frame.pivot_table(index=["model", "stage"], columns="quantity", values="value")
    return float((wide["seconds_max"] / wide["seconds_min"]).max())


def spread_of_twins(frame: pd.DataFrame) -> float:
    """Largest ratio between two models with equal FLOPs in every stage (within a thousandth): two runs of one model differ by that."""
    wide = frame.pivot_table(index="stage", columns=["quantity", "model"], values="value")
    seconds, flops = wide["seconds"], wide["flops"]
    ratios = [
        seconds[one] / seconds[other]
        for one, other in permutations(frame["model"].unique(), 2)
        if np.allclose(flops[one], flops[other], rtol=1e-3, equal_nan=True)
    ]
    return float(max((ratio.max() for ratio in ratios), default=1.0))


def page_values(frame: pd.DataFrame) -> dict[str, object]:
    """Values for the text of the page, by glue key: MODEL_PROMPTER (time), MODEL_gflop, MODEL_parameters, and the setting."""
    first = frame.iloc[0]
    values: dict[str, Any] = {name: str(first[name]) for name in ("device", "threads", "precision", "torch", "commit")}
    values |= {"models": frame["model"].nunique(), "spread": f"{spread(frame):.1f}", "twins": f"{spread_of_twins(frame):.1f}"}
    for _, row in by_volume(frame).iterrows():
        values[f"{row['model']}_{row['prompter']}"] = duration(row["seconds"], row["extrapolated"])
    for _, row in by_model(frame).iterrows():
        values[f"{row['model']}_gflop"] = _three(row["slice_flops"] / _GIGA)
        values[f"{row['model']}_parameters"] = _three(row["parameters"] / 1e6)
        if row["prompted"]:
            values[f"{row['model']}_prompt"] = duration(row["prompt_seconds"])
            values[f"{row['model']}_encode_share"] = (
                f"{100 * row['encode_seconds'] / (row['encode_seconds'] + row['prompt_seconds']):.0f} %"
            )
    for prompts, name in ((1, "person_one"), (max(by_volume(frame)["prompts"]), "person_every")):
        values[name] = " to ".join(f"{seconds:.0f}" for seconds in human_seconds(prompts)) + " s"
    return values

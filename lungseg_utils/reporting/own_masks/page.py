"""Write the report on folders of masks as one offline page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...core import files
from ...evaluation import metrics, protocols
from ...prompts import ladder
from ...types import InputError, Row
from .scoring import NOT_STATED, Scores
from .summary import EVERYONE, case_table, count_flow, protocol_table, summarize

if TYPE_CHECKING:
    import jinja2
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_WIDEST_TEXT = 24  # digits, in the table of cases; longer names are broken
_COLORS = {
    "text": "#010203",
    "mark": "#040506",
    "grid": "#070809",
}  # unlikely ones, which the page's own colors, light and dark, take the place of
_TITLES = {metric.name: metric.title for metric in (*metrics.METRICS, *metrics.LESION_METRICS)}
_DIGITS = {metric.name: metric.digits for metric in (*metrics.METRICS, *metrics.LESION_METRICS)}
MARKS = {
    "points only": "Fewer than 10 patients: points only, without intervals. Look at the cases one by one.",
    "descriptive": "Fewer than 50 patients: the intervals describe these patients and carry no claim about others.",
    "inference": "At least 50 patients: the intervals are for these trained weights and patients like these.",
}


def interval_text(row: Row, digits: int = 2) -> str:
    """ "0.71 [0.65, 0.77]" of a row of `summarize`."""
    from .. import labels

    return labels.interval_text(row["value"], row["low"], row["high"], digits)


def _kind_of_interval(n: int) -> str:
    from ...evaluation import intervals  # brings scipy's statistics, which a wrong argument need not wait for

    return intervals.kind_of_interval(n)


def headline(scores: Scores) -> str:
    """The result in one line, for a terminal."""
    flow, first = count_flow(scores.results), summarize(scores.results).iloc[0]
    free = f", tumor-free scans: {flow.cases_tumor_free}" if flow.cases_tumor_free else ""
    failed = f", failed: {flow.failed}" if flow.failed else ""
    return f"{scores.name}: 3-D DSC {interval_text(first)}, n = {first['n']} patients ({_kind_of_interval(first['n'])}){free}{failed}"


def write(scores: Scores, out: Path) -> Path:
    """Write report.html, results.csv, summary.csv, protocols.csv and provenance.json into the folder `out`; returns the page."""
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(out, "it is a file", "Give a folder with --out.")
    summary, shifts = summarize(scores.results), protocol_table(protocols.all_protocols(scores.counts))
    page = _page(scores, summary, shifts)
    files.write(scores.results, out / "results.csv")
    files.write(summary, out / "summary.csv")
    files.write(shifts, out / "protocols.csv")
    files.write_json(scores.provenance, out / "provenance.json")
    files.write_text(page, out / "report.html")
    return out / "report.html"


def template(name: str) -> jinja2.Template:
    """A template of this folder."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(name)


def _page(scores: Scores, summary: pd.DataFrame, shifts: pd.DataFrame) -> str:
    cases, flow = case_table(scores), count_flow(scores.results)
    mark = _kind_of_interval(summary["n"].iloc[0])
    card = None if scores.prompter == NOT_STATED else ladder.prompt_setting(scores.prompter)
    return template("report.html").render(
        name=scores.name,
        dataset=scores.provenance["folders"]["references"],
        flow=flow,
        several_readers=len(flow.cases_by_reader) > 1,
        mark=mark,
        mark_text=MARKS[mark],
        prompter=card,
        nsd=_TITLES[scores.nsd_metric],
        tiles=_tiles(scores, summary),
        summary=[_summary_cells(row) for row in summary.to_dict("records")],
        protocols=[_protocol_cells(row, shifts["shift"].abs().max()) for row in shifts.to_dict("records")],
        columns=_case_columns(scores, cases),
        cases=cases.to_dict("records"),
        figures=_figures(summary, cases),
        cut=scores.cut_cases,
        infinity=np.inf,
        everyone=EVERYONE,
        provenance=scores.provenance,
    )


def _row(summary: pd.DataFrame, quantity: str) -> dict[str, object]:
    return summary[summary["quantity"] == quantity].iloc[0].to_dict()


def _tiles(scores: Scores, summary: pd.DataFrame) -> list[dict[str, str]]:
    """The four main numbers: title, value, note."""
    shown = (("dsc", 2), (scores.nsd_metric, 2), ("lesion_sensitivity", 2), ("false_positive_volume", 2))
    rows = [(_row(summary, quantity), digits) for quantity, digits in shown]
    return [
        {"title": _TITLES[row["quantity"]], "value": interval_text(row, digits) + _unit(row), "note": f"{row['of']}, n = {row['n']}"}
        for row, digits in rows
    ]


def _unit(row: Row) -> str:
    return "" if row["unit"] == "1" or np.isnan(row["value"]) else f" {row['unit']}"


def _summary_cells(row: Row) -> dict[str, str]:
    digits = _DIGITS[row["quantity"]]
    method = "" if row["n"] == 0 else row["method"]
    return {
        "title": _TITLES[row["quantity"]],
        "of": row["of"],
        "statistic": row["statistic"],
        "value": interval_text(row, digits) + _unit(row),
        "n": str(row["n"]),
        "method": method,
    }


def _protocol_cells(row: Row, largest: float) -> dict[str, object]:
    """Texts of a row, and the place of its bar (start and width in % of a track whose middle is no shift)."""
    from .. import labels

    shift = 0.0 if np.isnan(row["shift"]) else row["shift"]
    width = 50 * abs(shift) / largest if largest > 0 else 0.0
    return {
        "name": row["name"],
        "formula": row["formula"],
        "value": "–" if np.isnan(row["value"]) else f"{row['value']:.2f}",
        "shift": "–" if np.isnan(row["shift"]) else labels.difference_text(row["shift"], signed=True),
        "start": round(50.0 if shift >= 0 else 50 - width, 2),
        "width": round(width, 2),
        "n": f"{row['n']} {row['unit_of_n']}",
        "share": "–" if np.isnan(row["slices_scored_share"]) else f"{100 * row['slices_scored_share']:.0f} %",
    }


def _case_columns(scores: Scores, cases: pd.DataFrame) -> list[dict[str, object]]:
    """Columns of the table of cases: name in the frame, title, digits of a number (None: text), and least width of a text in digits."""
    several = {"patient_id": scores.provenance["patients_file"], "reader": cases["reader"].nunique() > 1}
    texts = [("case_id", "case"), ("patient_id", "patient"), ("reader", "reader"), ("answer", "answer")]
    left_out = {"nsd_2mm", "nsd_3mm"} - {scores.nsd_metric}
    numbers = [metric for metric in metrics.shown_in(metrics.REPORT) if metric.name not in left_out]
    widths = {name: min(_WIDEST_TEXT, int(cases[name].str.len().max()) + 2) for name, _ in texts}
    columns = [{"name": name, "title": title, "digits": None, "width": widths[name]} for name, title in texts if several.get(name, True)]
    return columns + [{"name": m.name, "title": m.label.replace(" mm", "\u00a0mm"), "digits": m.digits} for m in numbers]


def _figures(summary: pd.DataFrame, cases: pd.DataFrame) -> list[str]:
    """Two drawings as inline SVG, or none without a tumor: DSC over tumor volume, and NSD over its tolerance."""
    with_tumor = cases[cases["reference_volume"] > 0]
    if with_tumor.empty:
        return []
    n = int(summary["n"].iloc[0])
    first, second = _axes("tumor volume (ml)", "3-D DSC"), _axes("tolerance (mm)", "mean NSD")
    mean = _row(summary, "dsc")
    first.scatter(with_tumor["reference_volume"], with_tumor["dsc"], s=26, color=_COLORS["mark"], alpha=0.75, linewidths=0)
    first.axhline(mean["value"], color=_COLORS["text"], linewidth=1, linestyle="--")
    if np.isfinite(mean["low"]):
        first.axhspan(mean["low"], mean["high"], color=_COLORS["mark"], alpha=0.15, linewidth=0)
    first.set_xscale("log")
    first.set_xticks(*_volume_ticks(with_tumor["reference_volume"]))
    first.minorticks_off()
    rows = [_row(summary, f"nsd_{t:g}mm") for t in metrics.NSD_TOLERANCES_MM]
    second.plot(metrics.NSD_TOLERANCES_MM, [row["value"] for row in rows], color=_COLORS["mark"], marker="o", linewidth=1.5)
    second.vlines(metrics.NSD_TOLERANCES_MM, [row["low"] for row in rows], [row["high"] for row in rows], color=_COLORS["mark"])
    second.set_xticks(metrics.NSD_TOLERANCES_MM)
    shaded, bars = (", shaded its 95 % interval", ", bars 95 % intervals") if np.isfinite(mean["low"]) else ("", "")
    points = f"Each point a case; dashed the mean over patients (n = {n}){shaded}."
    curve = f"Mean over patients (n = {n}){bars}."
    return [
        _svg(axes.figure, title) for axes, title in ((first, f"DSC over tumor volume. {points}"), (second, f"NSD over tolerance. {curve}"))
    ]


def _volume_ticks(volumes: pd.Series) -> tuple[list[float], list[str]]:
    """Round volumes within the range of a logarithmic axis, and what is written there."""
    steps = [factor * 10.0**power for power in range(-3, 5) for factor in (1, 3)]
    low, high = volumes.min() / 1.7, volumes.max() * 1.7
    ticks = [step for step in steps if low <= step <= high]
    return ticks, [f"{tick:g}" for tick in ticks]


def _axes(x: str, y: str) -> Axes:
    from matplotlib.figure import Figure

    axes = Figure(figsize=(4.2, 3.0), layout="constrained").subplots()
    axes.set(ylim=(-0.03, 1.03))
    axes.set_xlabel(x, color=_COLORS["text"])
    axes.set_ylabel(y, color=_COLORS["text"])
    axes.tick_params(colors=_COLORS["text"], length=3)
    axes.grid(axis="y", color=_COLORS["grid"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_COLORS["text"])
    return axes


def _svg(figure: Figure, title: str) -> str:
    """A figure as an element that takes its colors from the page, fits its width and has a description."""
    from io import StringIO

    import matplotlib

    buffer = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    drawing = buffer.getvalue().partition("<svg")[2]  # without the XML declaration, which names an address
    head, _, body = drawing.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # each drawing has the same names of groups, and a page may hold a name only once
    for name, color in _COLORS.items():
        body = body.replace(color, f"var(--{name})")
    return f'<figure><svg role="img" aria-label="{title}"{head}>{body}<figcaption>{title}</figcaption></figure>'

"""Figures and printable tables over what `analysis` found. Colours are safe for colour-blind readers; every axis has its unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from . import plan, protocols
from .figures import CONTROL, TRIVIAL, counted, interval_text, looks_of, method_looks, plot_style, title
from .prompts.ladder import PROMPTERS

_TRIVIAL_FAMILY, _AUTOMATIC_FAMILY = "trivial", "automatic (with a prompt: the control)"


def ladder_figure(table: pd.DataFrame) -> Any:
    """Mean DSC over the rungs, from most help to none, one panel per family of models; trivial answers grey in all of them.

    `table`: of `analysis.ladder`. Automatic networks stand in one panel: with a prompt they are the controls.
    """
    plot_style()
    import matplotlib.pyplot as plt

    places = {rung: place for place, rung in enumerate(name for name in PROMPTERS if name in set(table["rung"]))}
    methods: dict[str, list[pd.DataFrame]] = {}
    for _, part in table.groupby("experiment", sort=False):
        methods.setdefault(_family(part), []).append(part)
    trivial = methods.pop(_TRIVIAL_FAMILY, [])
    # one below the other: a page is as wide as one panel with fourteen rungs and its legend
    figure, panels = plt.subplots(
        len(methods), 1, figsize=(10.5, 1.2 + 3.1 * len(methods)), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axes, (family, parts) in zip(panels[:, 0], methods.items(), strict=True):
        for number, part in enumerate(trivial):
            _plot_method(axes, part, places, ":", -1 - number)  # from the end of the markers: alike in all panels, unlike the methods
        for number, part in enumerate(parts):
            _plot_method(axes, part, places, "--" if family == _AUTOMATIC_FAMILY else "-", number)
        axes.set(title=family, ylim=(-0.02, 1.02), ylabel=f"mean 3-D DSC, {counted(table['n'])}")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize="small")
    panels[-1, 0].set_xticks(range(len(places)), [title(rung) for rung in places], rotation=35, ha="right", fontsize="small")
    plt.close(figure)
    return figure


def _family(part: pd.DataFrame) -> str:
    if (part["role"] == "trivial").any():
        return _TRIVIAL_FAMILY
    return _AUTOMATIC_FAMILY if "none" in set(part["rung"]) else part["title"].iloc[0].split(",")[0]


def _plot_method(axes: Any, part: pd.DataFrame, places: Mapping[str, int], style: str, number: int) -> None:
    name = part["title"].iloc[0].removesuffix(CONTROL)
    looks = method_looks(name, number)
    label = name if name.startswith(TRIVIAL) else name.partition(", ")[2] if style == "-" else name
    part = part.set_index("rung").reindex(list(places))  # a line breaks where a method has no answer
    where = np.arange(len(places)) + (number % 7 - 3) * 0.04
    axes.plot(where, part["dsc"], style, **looks, markersize=5, label=label)
    axes.vlines(where, part["dsc_low"], part["dsc_high"], color=looks["color"], linewidth=1, alpha=0.6)


def printable_ladder(table: pd.DataFrame, rung: str) -> pd.DataFrame:
    """One rung of `analysis.ladder`, the best on top; differences are paired, intervals 95 %.

    Where there are methods with several runs, their number and the interval for the method stand beside DSC; where some were trained on
    the data set and some on another one, which; the latter then stand below.
    """
    both = {"target", "external"} <= set(table["training"])
    part = table[table["rung"] == rung].assign(apart=(table["training"] == "external") & both)
    part = part.sort_values(["apart", "dsc"], ascending=[True, False])

    def column(name: str) -> list[str]:
        return [interval_text(row[name], row[f"{name}_low"], row[f"{name}_high"]) for _, row in part.iterrows()]

    return pd.DataFrame(
        {
            "method": part["title"],
            **({"trained on": part["training"].replace("", "nothing")} if both else {}),
            "n": part["n"],
            "DSC": column("dsc"),
            **(_over_runs(part) if (table["runs"] > 1).any() else {}),
            "minus control": column("over_control"),
            "minus best trivial": column("over_trivial"),
            "NSD 3 mm": [f"{v:.2f}" for v in part["nsd_3mm"]],
            "lesions hit": [f"{v:.2f}" for v in part["hit"]],
            "DSC of hit lesions": [
                f"{v:.2f} (n = {n})" if n else "–" for v, n in zip(part["dsc_detected"], part["n_detected"], strict=True)
            ],
            "actions": [f"{v:.1f}" for v in part["actions"]],
            "target labels used": part["labels"],
            "failed": part["failed"],
        }
    )


def _over_runs(part: pd.DataFrame) -> dict[str, Any]:
    intervals = zip(part["dsc"], part["method_low"], part["method_high"], part["runs"], strict=True)
    texts = [interval_text(mean, low, high) if runs > 1 else "no claim: one run" for mean, low, high, runs in intervals]
    return {"runs": part["runs"], "DSC, the method": texts}


def printable_rungs(table: pd.DataFrame) -> pd.DataFrame:
    """What each rung is and costs: leaks, actions per patient, a band of seconds where there is a source, best model, control, trivial."""
    rows = []
    for rung in [name for name in PROMPTERS if name in set(table["rung"])]:
        part, card = table[table["rung"] == rung], PROMPTERS[rung]
        prompted = part[part["role"] == "model"]
        row = {"rung": card.title, "leaks": card.leaks}
        actions = part["actions"].max()
        row["actions per patient"] = f"{actions:.1f} ({card.action})" if actions else "none"
        row["seconds of a person"] = _seconds(card.action, actions)
        row["best model"] = _best(prompted)
        row["control"] = _best(part[part["role"] == "control"])
        rows.append(row | {"best trivial": _best(part[part["role"] == "trivial"])})
    return pd.DataFrame(rows)


def _seconds(action: str, actions: float) -> str:
    band = plan.load().seconds_per_action.get(action)
    if not actions:
        return "0"
    return f"{actions * band[0]:.0f} to {actions * band[1]:.0f}" if band else "no source"


def _best(part: pd.DataFrame) -> str:
    if part.empty:
        return "–"
    row = part.loc[part["dsc"].idxmax()]
    return f"{interval_text(row['dsc'], row['dsc_low'], row['dsc_high'])}, {row['title'].removeprefix(TRIVIAL)}"


def robustness_figure(table: pd.DataFrame) -> Any:
    """Mean DSC over the share of wrong drawing, one panel per rung. `table`: of `analysis.robustness`."""
    plot_style()
    import matplotlib.pyplot as plt

    rungs, looks = list(dict.fromkeys(table["rung"])), looks_of(table["title"])
    size = (max(9.5, 4.2 * len(rungs) + 1), 3.6 + 0.11 * len(looks))  # the legend, in two columns, takes nothing from the panels
    figure, panels = plt.subplots(1, len(rungs), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axes, rung in zip(panels[0], rungs, strict=True):
        for name, part in table[table["rung"] == rung].groupby("title", sort=False):
            axes.plot(100 * part["jitter"], part["dsc"], **looks[name], label=name)
            axes.fill_between(100 * part["jitter"], part["dsc_low"], part["dsc_high"], color=looks[name]["color"], alpha=0.12)
        axes.set(title=title(rung), xlabel="error in drawing (% of the size)", ylim=(-0.02, 1.02))
    panels[0, 0].set_ylabel(f"mean 3-D DSC, n = {table['n'].max()}")
    handles = {label: handle for axes in panels[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, fontsize="small")
    plt.close(figure)
    return figure


def printable_contrasts(table: pd.DataFrame) -> pd.DataFrame:
    """`analysis.contrasts` for people; a place that is empty says why, in the place of the two sides."""
    empty = table["p"].isna() & (table["n"] == 0)
    sides = [row["method"] if gap else f"{row['a']} minus {row['b']}" for gap, (_, row) in zip(empty, table.iterrows(), strict=True)]
    return pd.DataFrame(
        {
            "contrast": table["name"],
            "what is compared": sides,
            "n": table["n"],
            "difference, DSC": [interval_text(r["difference"], r["low"], r["high"]) for _, r in table.iterrows()],
            "p, Holm": ["–" if np.isnan(p) else _p(holm) for p, holm in zip(table["p"], table["p_holm"], strict=True)],
            "detectable": ["–" if np.isnan(v) else f"{v:.2f}" for v in table["detectable"]],
            **(_over_both_runs(table) if (table["runs"] > 1).any() else {}),
        }
    )


def _over_both_runs(table: pd.DataFrame) -> dict[str, Any]:
    rows = zip(table["difference"], table["over_runs_low"], table["over_runs_high"], table["runs"], strict=True)
    texts = ["–" if np.isnan(r) else interval_text(d, low, high) if r > 1 else "no claim: one run" for d, low, high, r in rows]
    return {"runs": ["–" if np.isnan(r) else f"{r:.0f}" for r in table["runs"]], "difference, the methods": texts}


def printable_appendix(table: pd.DataFrame) -> pd.DataFrame:
    """The filled places of `analysis.contrasts` by the key secondary metric, and by another test of the primary one."""
    filled, secondary = table[table["n"] > 0], plan.load().raw["secondary_metric"]
    return pd.DataFrame(
        {
            "contrast": filled["name"],
            f"difference, {title(secondary)}": [
                interval_text(r["secondary"], r["secondary_low"], r["secondary_high"]) + f", n = {r['secondary_n']:.0f}"
                for _, r in filled.iterrows()
            ],
            "DSC: p, sign flips": [_unadjusted(p) for p in filled["p"]],
            "DSC: p, Wilcoxon": [_unadjusted(p) for p in filled["p_wilcoxon"]],
        }
    )


def _unadjusted(p: float) -> str:
    return "–" if np.isnan(p) else _p(p)


def contrast_note(table: pd.DataFrame) -> str:
    """One line of Markdown: how the contrasts of a family were made."""
    methods = list(dict.fromkeys(table.loc[table["n"] > 0, "method"]))
    over_runs = list(dict.fromkeys(table.loc[table["runs"] > 1, "over_runs_how"]))
    return f"How: {'; or '.join(methods + over_runs)}." if methods else "No place of the family could be filled."


def _p(value: float) -> str:
    return "under 0.001" if value < 0.001 else f"{value:.3f}"


def rank_figure(table: pd.DataFrame) -> Any:
    """Rank of each method with the range that 95 % of the resamples hold. `table`: of `analysis.ranks`, on one rung."""
    plot_style()
    import matplotlib.pyplot as plt

    table = table.sort_values("rank", ascending=False)
    figure, axes = plt.subplots(figsize=(7.5, 0.32 * len(table) + 1), layout="constrained")
    for place, (name, row) in enumerate(table.iterrows()):
        color = method_looks(name, 0)["color"]
        axes.plot([row["rank_low"], row["rank_high"]], [place, place], color=color, linewidth=2)
        axes.plot(row["rank"], place, "o", color=color)
    axes.set(yticks=range(len(table)), yticklabels=list(table.index), xlabel=f"rank by mean DSC (1 is best), n = {table['n'].iloc[0]}")
    plt.close(figure)
    return figure


def rank_answers(table: pd.DataFrame, rung: str) -> dict[str, int]:
    """Values by glue key: how many methods a rung has, and how many may be first. `table`: of `analysis.ranks`."""
    return {f"ranks_{rung}_methods": len(table), f"ranks_{rung}_may_be_first": int((table["rank_low"] <= 1).sum())}


def trap_figure(trap: pd.DataFrame, rung: str) -> Any:
    """The same predictions under every protocol: mean DSC on the left, rank of each method on the right.

    `trap`: of `analysis.protocol_trap`.
    """
    plot_style()
    import matplotlib.pyplot as plt

    part = trap[trap["rung"] == rung]
    part = part.assign(rank=part.groupby("protocol")["value"].rank(ascending=False, method="min"))  # among those that are shown
    names = list(dict.fromkeys(part["protocol"]))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.42 * len(names) + 2.2), sharey=True, layout="constrained")
    looks = looks_of(part["title"])
    for _, method in part.groupby("experiment", sort=False):
        places, name = [names.index(protocol) for protocol in method["protocol"]], method["title"].iloc[0]
        left.plot(method["value"], places, **looks[name], linewidth=1, label=name)
        right.plot(method["rank"], places, **looks[name], linewidth=1)
    left.set_yticks(range(len(names)), names, fontsize="small")
    left.invert_yaxis()
    left.set(xlabel="DSC by this protocol", xlim=(-0.02, 1.02))
    right.set(xlabel="rank (1 is best)")
    left.axhspan(-0.4, 0.4, color="0.5", alpha=0.12)
    right.axhspan(-0.4, 0.4, color="0.5", alpha=0.12)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    plt.close(figure)
    return figure


def printable_trap(trap: pd.DataFrame, experiment: str, rung: str) -> pd.DataFrame:
    """One method under every protocol: formula, value, shift against the own protocol, n, share of slices looked at, rank."""
    part = trap[(trap["experiment"] == experiment) & (trap["rung"] == rung)]
    return pd.DataFrame(
        {
            "protocol": part["protocol"],
            "formula": part["formula"],
            "DSC": [f"{v:.2f}" for v in part["value"]],
            "shift": [f"{v:+z.2f}" for v in part["shift"]],
            "n": [f"{n} {unit}" for n, unit in zip(part["n"], part["unit"], strict=True)],
            "slices looked at": [f"{100 * v:.0f} %" for v in part["share"]],
            "rank": [f"{v:.0f}" for v in part["rank"]],
        }
    )


def trap_answers(trap: pd.DataFrame, experiment: str, rung: str) -> dict[str, str]:
    """Values for the text of pages by glue key: of one method trap_PROTOCOL (DSC), trap_PROTOCOL_shift and trap_PROTOCOL_slices (share)."""
    keys, values = {protocol([]).name: protocol.__name__ for protocol in protocols.PROTOCOLS}, {}
    for _, row in trap[(trap["experiment"] == experiment) & (trap["rung"] == rung)].iterrows():
        key = f"trap_{keys[row['protocol']]}"
        values |= {key: f"{row['value']:.2f}", f"{key}_shift": f"{row['shift']:+z.2f}", f"{key}_slices": f"{100 * row['share']:.0f} %"}
    return values


def order_answers(trap: pd.DataFrame, agreement: pd.DataFrame, rung: str) -> dict[str, Any]:
    """Values by glue key: how many of the other protocols put another method first on a rung, and the lowest agreement of ranks."""
    part = trap[trap["rung"] == rung]
    best = part[part["rank"] == 1].groupby("protocol", sort=False)["experiment"].agg(set)
    others = best.drop(part["protocol"].iloc[0])
    taus = agreement.set_index("protocol")[rung].drop(part["protocol"].iloc[0]).dropna() if rung in agreement else pd.Series(dtype=float)
    return {
        f"trap_{rung}_methods": part["experiment"].nunique(),
        f"trap_{rung}_others": len(others),
        f"trap_{rung}_another_first": int((others != best.iloc[0]).sum()),
        f"trap_{rung}_least_tau": f"{taus.min():.2f}" if len(taus) else "–",
    }


def printable_abroad(table: pd.DataFrame) -> pd.DataFrame:
    """`analysis.abroad` for people."""
    n = counted(table["n_home"]), counted(table["n_elsewhere"])
    return pd.DataFrame(
        {
            "prompt": table["rung"].map(title),
            "method": table["title"],
            f"at home, {n[0]}": [f"{v:.2f}" for v in table["home"]],
            f"abroad, {n[1]}": [f"{v:.2f}" for v in table["elsewhere"]],
            "drop": [interval_text(r["drop"], r["drop_low"], r["drop_high"]) for _, r in table.iterrows()],
        }
    )


def abroad_answers(table: pd.DataFrame, rung: str) -> dict[str, Any]:
    """Values for the text of a page, of `analysis.abroad` on one rung: how many trained methods there are, do worse abroad, drop most."""
    part = table[(table["rung"] == rung) & table["trained"]]
    if part.empty:
        return dict.fromkeys(("n_methods", "n_lower", "largest_drop", "largest_drop_of"), "(not run yet)")
    worst = part.loc[part["drop"].idxmax()]
    return {
        "n_methods": len(part),
        "n_lower": int((part["drop"] > 0).sum()),
        "largest_drop": interval_text(worst["drop"], worst["drop_low"], worst["drop_high"]),
        "largest_drop_of": worst["title"],
    }


def printable_failures(table: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """`analysis.failures` of some kinds, for people."""
    part = table[table["kind"].isin(kinds)].sort_values(["method", "test_dataset", "dsc"], kind="stable")
    return pd.DataFrame(
        {
            "case": part["case"],
            "what": part["kind"],
            "DSC": [f"{v:.2f}" for v in part["dsc"]],
            "tumor (ml)": [f"{v:.1f}" for v in part["reference_ml"]],
            "method": part["method"],
            "prompt": [title(rung) for rung in part["rung"]],
            "test set": [title(name) for name in part["test_dataset"]],
            "reason": part["reason"],
        }
    )


def failure_counts(table: pd.DataFrame) -> pd.DataFrame:
    """How many answers failed or were empty: a row for each method and prompt, a column for each test set, of `analysis.failures`."""
    bad = table[table["kind"].isin(["failed", "empty"])]
    counts = bad.groupby(["method", "rung", "test_dataset"], sort=False)["kind"].agg(_counted_kinds).unstack("test_dataset").fillna("–")
    sets = [name for name in dict.fromkeys(table["test_dataset"]) if name in counts]
    shown = counts.reindex(bad.drop_duplicates(["method", "rung"]).set_index(["method", "rung"]).index)[sets].reset_index()
    shown["rung"] = [title(rung) for rung in shown["rung"]]
    return shown.rename(columns={"rung": "prompt", **{name: title(name) for name in sets}}).rename_axis(columns=None)


def _counted_kinds(kinds: pd.Series) -> str:
    numbers = {kind: int((kinds == kind).sum()) for kind in ("empty", "failed")}
    return ", ".join(f"{number} {kind}" for kind, number in numbers.items() if number)


def gain_text(row: pd.Series, other: str) -> str:
    """The paired difference of a row of `analysis.ladder` to "control" or "trivial", with its interval."""
    return interval_text(*(row[f"over_{other}{end}"] for end in ("", "_low", "_high")))


def ladder_answers(table: pd.DataFrame, rungs: Sequence[str]) -> dict[str, Any]:
    """Values for the text of a page by glue key, of `analysis.ladder`: on each rung the best model, and what it is worth there; and n.

    ladder_RUNG, ladder_RUNG_title, ladder_RUNG_over_trivial and ladder_RUNG_over_control; "(not run)" where no model was asked.
    """
    best = table[table["role"] == "model"].sort_values("dsc").groupby("rung").tail(1).set_index("rung")
    values: dict[str, Any] = {"ladder_n": int(best["n"].max()) if len(best) else 0}
    for rung in rungs:
        row = best.loc[rung] if rung in best.index else None
        shown = {"": lambda r: f"{r['dsc']:.2f}", "_title": lambda r: r["title"]}
        shown |= {f"_over_{other}": lambda r, other=other: gain_text(r, other) for other in ("trivial", "control")}
        values |= {f"ladder_{rung}{end}": "(not run)" if row is None else text(row) for end, text in shown.items()}
    return values


def board(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All rungs of all data sets as one printable table. `tables`: data set -> `analysis.ladder`."""
    parts = []
    for name, table in tables.items():
        for rung in table["rung"].unique():
            part = printable_ladder(table, rung)
            part.insert(0, "prompt", title(rung))
            part.insert(0, "test set", title(name))
            parts.append(part)
    return pd.concat(parts, ignore_index=True).fillna("")  # of a column that only some data sets have


def contrast_answers(table: pd.DataFrame) -> dict[str, Any]:
    """Values for the text of a page by glue key, from `analysis.contrasts` of one data set."""
    tested = table[table["p"].notna()]
    found = tested[tested["p_holm"] < 0.05]
    named = [f"{r['name']} ({interval_text(r['difference'], r['low'], r['high'])})" for _, r in found.iterrows()]
    detectable = tested["detectable"].dropna()
    return {
        "contrasts_detectable_least": f"{detectable.min():.2f}" if len(detectable) else "–",
        "contrasts_detectable_most": f"{detectable.max():.2f}" if len(detectable) else "–",
        "contrasts_tested": len(tested),
        "contrasts_n": int(table["n"].max()),
        "contrasts_significant": len(found),
        "contrasts_named": "; ".join(named) or "none",
    }


def jitter_note(profile: str, draws: int, rows: int) -> str:
    """One sentence of Markdown: how often prompts were drawn wrongly, or that this profile does not ask for it."""
    if rows:
        drawn = f"{draws} draws of each error for each case, averaged within the patient"
        return f"Profile `{profile}`: {drawn}. Bands are 95 % intervals over patients."
    return f"Profile `{profile}` asks with prompts as they should be drawn only; the profile `robustness` asks with errors too."


def printable_robustness(table: pd.DataFrame) -> pd.DataFrame:
    """Mean DSC by method and rung (rows) and error in drawing (columns)."""
    shown = table.assign(
        text=[interval_text(r["dsc"], r["dsc_low"], r["dsc_high"]) for _, r in table.iterrows()],
        error=[f"{100 * share:g} %" for share in table["jitter"]],
        prompt=table["rung"].map(title),
    )
    if shown.empty:
        return pd.DataFrame(columns=["method", "prompt"])
    wide = shown.pivot(index=["title", "prompt"], columns="error", values="text")[list(dict.fromkeys(shown["error"]))]
    return wide.reset_index().rename(columns={"title": "method"})


def printable_best_of_draws(table: pd.DataFrame) -> pd.DataFrame:
    """`analysis.best_of_draws` for people."""
    return pd.DataFrame(
        {
            "method": table["title"],
            "prompt": table["rung"].map(title),
            "error": [f"{100 * share:g} %" for share in table["jitter"]],
            "n": table["n"],
            "mean of the draws": [f"{v:.2f}" for v in table["dsc"]],
            "best draw of each case": [f"{v:.2f}" for v in table["best"]],
            "gained by choosing": [interval_text(r["gain"], r["gain_low"], r["gain_high"]) for _, r in table.iterrows()],
        }
    )


def robustness_answers(table: pd.DataFrame) -> dict[str, str]:
    """The answer of the page as one sentence, by glue key."""
    if table.empty:
        return {"robustness_answer": "This profile gives no answer: it asks with prompts as they should be drawn only."}
    most = table["jitter"].max()
    ends = {key: part.set_index("jitter")["dsc"] for key, part in table.groupby(["title", "rung"], sort=False)}
    losses = {key: values[0.0] - values[most] for key, values in ends.items() if most in values.index}
    (least, least_rung), (worst, worst_rung) = min(losses, key=losses.get), max(losses, key=losses.get)
    text = f"With errors of up to {100 * most:g} % of the lesion's size the mean DSC falls by {losses[worst, worst_rung]:z.2f} at most "
    text += f"({worst}, {title(worst_rung)}) and by {losses[least, least_rung]:z.2f} at least ({least}, {title(least_rung)})"
    text += f"; n = {table['n'].max()}."
    return {"robustness_answer": text}

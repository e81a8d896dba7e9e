"""What people read: numbers with their intervals, tables that drop nobody, figures that draw."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import colors
from matplotlib.figure import Figure

from lungseg_utils.evaluation import metrics, tables
from lungseg_utils.reporting import experiment_tables, labels, labels_or_prompts, style
from lungseg_utils.reporting.labels import counted, difference_text, interval_text, with_minus
from lungseg_utils.reporting.results import cohort_values, methods_by_setting, printable_case_matrix


@pytest.fixture
def results():
    """Twelve patients with a tumor and one without in each of two cohorts, and a case with two readers."""
    rng, rows = np.random.default_rng(0), []

    def add(dataset, patient, readers, empty=False):
        shared = {"experiment": "e", "test_dataset": dataset, "prompter": "none", "jitter": 0.0, "patient_id": patient, "case_id": patient}
        for reader in readers:
            values = dict.fromkeys(metrics.UNITS, float(rng.uniform(0.2, 0.9))) | {"reference_volume": 0.0 if empty else 5.0}
            values |= {metric.name: metric.empty["both"] for metric in metrics.METRICS if empty and "both" in metric.empty}
            rows.extend(tables.result_rows(shared, reader, values, {}, failed=False))

    for dataset in ("phantom_msd", "phantom_nsclc"):
        for number in range(12):
            add(dataset, f"{dataset}-{number}", ["reference"])
        add(dataset, f"{dataset}-free", ["reference"], empty=True)
    add("lidc_idri", "L1", ["consensus", "reader-1"])
    return tables.results_frame(rows)


def test_intervals_are_written_only_where_there_are_any():
    assert interval_text(0.712, 0.651, 0.77) == "0.71 [0.65, 0.77]"
    assert interval_text(0.712, np.nan, np.nan) == "0.71"
    assert interval_text(np.inf, 20.0, np.inf, 1) == "∞ [20.0, ∞]"
    assert interval_text(np.nan, np.nan, np.nan) == "–"
    assert interval_text(-0.004, -0.006, 0.004) == "0.00 [−0.01, 0.00]"


def test_differences_tell_the_side_of_zero_and_exact_zeros():
    assert difference_text(-0.004, -0.0096, 0.002) == "−0.004 [−0.010, 0.002]"
    assert difference_text(0.004, signed=True) == "+0.004"
    assert difference_text(-0.004, signed=True) == "−0.004"
    assert difference_text(0.012, -0.0002, 0.021) == "0.012 [−0.0002, 0.021]"  # the interval holds zero
    assert difference_text(0.012, 0.00004, 0.021) == "0.012 [0.00004, 0.021]"  # it does not
    assert difference_text(0.012, 0.0, 0.021) == "0.012 [0.000, 0.021]"  # it ends there
    assert difference_text(-1e-16, -1e-16, -1e-16, signed=True) == "0.000 [0.000, 0.000]"
    assert difference_text(np.nan) == "–"


def test_fractions_of_a_frame_become_text_and_nothing_else_does():
    frame = pd.DataFrame({"median": [-840.25, np.nan], "n": [2, 3], "what": ["PN-0", "b"]})
    shown = labels.as_text(frame, 1)
    assert shown["median"].tolist() == ["−840.2", "–"]
    assert (shown["n"].tolist(), shown["what"].tolist()) == ([2, 3], ["PN-0", "b"])


def test_only_hyphens_before_numbers_are_minus_signs():
    assert with_minus("-0.5 to -3 HU, PN-03000, 2024-11, W1500 L-160") == "−0.5 to −3 HU, PN-03000, 2024-11, W1500 L-160"


def test_cohort_table_counts_tumor_free_patients_apart_and_starts_with_the_training_cohort(results):
    table = experiment_tables.printable_cohort_table(results[results["test_dataset"] != "lidc_idri"], {"e": "U-Net"})
    assert list(table["test set"]) == ["phantoms, NSCLC-like", "phantoms, MSD-like"]
    assert list(table["n"]) == [12, 12]
    assert all(cell.endswith("(n = 1)") for cell in table["false positives in tumor-free scans (ml)"])
    assert all("[" in cell for cell in table["DSC, mean"])


def test_case_table_has_one_row_per_case_or_per_reader_and_no_mean(results):
    assert list(experiment_tables.printable_case_table(results, ["lidc_idri"])["reference"]) == ["consensus"]
    assert list(experiment_tables.printable_case_table(results, ["lidc_idri"], all_readers=True)["reference"]) == ["consensus", "reader-1"]
    assert len(experiment_tables.printable_case_table(results, ["nsclc_radiomics"])) == 0
    records = [{"test_dataset": "lidc_idri", "case_id": "L1", "cut_by_volume_end": True}]
    assert list(experiment_tables.printable_case_table(results, ["lidc_idri"], records)["case"]) == ["L1 †"]


def test_strata_hold_every_patient_once_each(results):
    records = [
        {
            "test_dataset": "phantom_nsclc",
            "case_id": f"phantom_nsclc-{n}",
            "attributes": {"solidity": "solid;necrotic", "contact": "pleural"},
        }
        for n in range(12)
    ]
    table = experiment_tables.printable_strata(results, records, "phantom_nsclc")
    assert table.groupby("what")["n"].sum().tolist() == [12, 12, 12]
    assert set(table[table["what"] == "solidity"]["of the largest lesion"]) == {"solid"}


@pytest.mark.parametrize("draw", [experiment_tables.values_by_dataset, experiment_tables.volume_agreement])
def test_figures_draw_with_units_or_names_on_their_axes(results, draw):
    axes = draw(results).axes[0]
    assert axes.get_ylabel()


def test_gray_is_the_color_of_trivial_answers_alone():
    style.plot_style()
    gray, *others = (colors.to_rgb(style.method_looks(name, n)["color"]) for n, name in enumerate(["trivial: ellipse or ball", *"a" * 12]))
    assert np.ptp(gray) == 0
    assert min(np.ptp(other) for other in others) > 0.1


def test_trivial_answers_take_no_color_and_no_marker_from_the_methods_beside_them():
    style.plot_style()
    alone, beside = style.looks_of(["a", "b"]), style.looks_of(["trivial: ellipse or ball", "a", "trivial: Otsu threshold", "b"])
    assert {name: beside[name] for name in alone} == alone
    assert len({looks["marker"] for looks in beside.values()}) == 4


def test_a_learning_curve_shows_every_validation():
    history = pd.DataFrame({"step": [1, 2, 2], "quantity": ["training loss", "training loss", "validation DSC"], "value": [1.0, 0.9, 0.5]})
    assert experiment_tables.learning_curve(history).axes[1].lines[0].get_ydata().tolist() == [0.5]


def test_a_notebook_shows_pictures_after_a_library_has_chosen_a_backend_for_files(results):
    """Importing nnunetv2 does so: its pages said <Figure size 693x418> in the place of their figures."""
    shell = InteractiveShell.instance()
    try:
        shell.display_formatter.formatters["image/png"].pop(Figure, None)
        matplotlib.use("agg")
        data, _ = shell.display_formatter.format(experiment_tables.volume_agreement(results))
    finally:
        InteractiveShell.clear_instance()
    assert data["image/png"]


@pytest.fixture
def ladder():
    """Two methods on two prompt settings and two cohorts of twelve patients; the second is better by 0.1 on every patient."""
    rng, rows = np.random.default_rng(1), []
    base = {(d, n): float(rng.uniform(0.2, 0.7)) for d in ("phantom_msd", "phantom_nsclc") for n in range(12)}
    for experiment, more in (("plain", 0.0), ("better", 0.1)):
        for setting in ("box_every_slice", "box_one_slice"):
            for (dataset, number), value in base.items():
                patient = f"{dataset}-{number}"
                shared = {"experiment": experiment, "test_dataset": dataset, "prompter": setting, "jitter": 0.0, "patient_id": patient}
                values = dict.fromkeys(metrics.UNITS, value + more)
                rows += tables.result_rows(shared | {"case_id": patient}, "reference", values, {}, failed=False)
    return tables.results_frame(rows)


TITLES = {"plain": "ellipse in the box, zero-shot", "better": "a network, fine-tuned"}
ROLES = {"phantom_nsclc": "internal", "phantom_msd": "external"}


def test_numbers_of_patients_are_one_or_a_range():
    assert (counted([13, 63, 63]), counted([60, 60])) == ("n = 13 to 63", "n = 60")


def test_answers_of_a_setting_are_paired_with_the_baseline(ladder):
    answers = experiment_tables.setting_values(
        "x", ladder[ladder["experiment"] == "better"], ladder[ladder["experiment"] == "plain"], ROLES
    )
    assert answers["x_external_n"] == 12
    assert answers["x_internal_box_one_slice_gain"].startswith("0.10")
    mean = float(answers["x_internal_box_one_slice"].split()[0])
    assert mean - float(answers["x_internal_box_one_slice_baseline"].split()[0]) == pytest.approx(0.1, abs=0.011)
    others = ladder[(ladder["experiment"] == "plain") & (ladder["patient_id"] != "phantom_msd-3")]
    with pytest.raises(ValueError, match="phantom_msd-3"):
        experiment_tables.setting_values("x", ladder[ladder["experiment"] == "better"], others, ROLES)


def test_figures_of_settings_name_every_method_and_count_patients(ladder):
    figure = experiment_tables.values_by_setting(ladder, TITLES)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(TITLES.values())
    assert all("n = 12" in axes.get_title() for axes in figure.axes)
    figure = methods_by_setting(ladder, TITLES, "phantom_nsclc")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [TITLES["plain"], TITLES["better"]]  # the best on top
    assert "n = 12" in figure.axes[-1].get_xlabel()


def test_a_matrix_of_cases_has_a_row_per_method_and_setting_and_no_mean(ladder):
    matrix = printable_case_matrix(ladder, ["phantom_msd"], TITLES)
    assert len(matrix) == 4
    assert {"method", "prompt", *(f"phantom_msd-{n}" for n in range(12))} == set(matrix)
    assert len(printable_case_matrix(ladder, ["lidc_idri"], TITLES)) == 0


def test_losses_are_compared_with_the_default_on_the_same_patients(ladder):
    def record(loss, options):
        return {"options": {"loss": loss}, "experiment": {"model": "sam_stand_in", "paradigm": "fine_tuned", "options": options}}

    records = {"plain": record("dice_ce", {}), "better": record("focal_tversky", {"loss": "focal_tversky"})}
    unet = ladder[ladder["prompter"] == "box_one_slice"].assign(prompter="none")
    unet["experiment"] = unet["experiment"].map(lambda name: f"unet_{name}")
    records |= {f"unet_{n}": {**r, "experiment": {**r["experiment"], "model": "unet", "paradigm": "few_shot"}} for n, r in records.items()}
    both = pd.concat([ladder, unet], ignore_index=True)
    titles = {name: "U-Net" if name.startswith("unet") else "SAM-type" for name in records}
    table = labels_or_prompts.printable_losses(both, records, titles)
    assert list(table.columns) == ["training", "prompt", "test set", "dice ce", "focal tversky"]
    alike = table.set_index(["training", "prompt"])
    assert alike.loc[("U-Net", "no prompt"), "dice ce"].tolist() == alike.loc[("SAM-type", "box on one slice"), "dice ce"].tolist()
    assert alike.loc["U-Net", "test set"].str.endswith("n = 12").all()
    said = labels_or_prompts.loss_sentences(both, records, titles, "phantom_nsclc")
    assert said.count("the default (dice ce)") == 2
    assert said.count("and focal tversky") == 2
    assert "(paired difference 0.10" in said
    assert "n = 12" in said
    alone = {name: record for name, record in records.items() if "better" not in name}
    kept = both[both["experiment"].isin(alone)]
    assert "no other loss is better" in labels_or_prompts.loss_sentences(
        kept, alone, {name: titles[name] for name in alone}, "phantom_nsclc"
    )


def test_the_front_page_gets_one_key_per_notebook_setting_and_role(ladder):
    answers = cohort_values(ladder, {"baselines_zero_shot": "plain", "medsam2_few_shot": "better"}, ROLES)
    assert answers["box_ellipse_external_n"] == 12
    assert answers["medsam2_few_shot_box_one_slice_internal_dsc_low"] < answers["medsam2_few_shot_box_one_slice_internal_dsc"]
    assert not any("plain" in key or "phantom" in key for key in answers)
    assert cohort_values(ladder, {"medsam2_few_shot": "not run"}, ROLES) == {}

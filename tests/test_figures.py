"""What people read: numbers with their intervals, tables that drop nobody, figures that draw."""

import numpy as np
import pandas as pd
import pytest

from lungseg_utils import figures, metrics, tables


@pytest.fixture
def results():
    """Twelve patients with a tumor and one without in each of two cohorts, and a case with two readers."""
    rng, rows = np.random.default_rng(0), []

    def add(dataset, patient, readers, empty=False):
        shared = {"experiment": "e", "test_dataset": dataset, "prompter": "none", "jitter": 0.0, "patient_id": patient, "case_id": patient}
        for reader in readers:
            values = dict.fromkeys(metrics.UNITS, float(rng.uniform(0.2, 0.9))) | {"reference_volume": 0.0 if empty else 5.0}
            values |= metrics.EMPTY_RULES[True, True] if empty else {}
            rows.extend(tables.result_rows(shared, reader, values, {}, failed=False))

    for dataset in ("phantom_msd", "phantom_nsclc"):
        for number in range(12):
            add(dataset, f"{dataset}-{number}", ["reference"])
        add(dataset, f"{dataset}-free", ["reference"], empty=True)
    add("lidc_idri", "L1", ["consensus", "reader-1"])
    return tables.results_frame(rows)


def test_intervals_are_written_only_where_there_are_any():
    assert figures.interval_text(0.712, 0.651, 0.77) == "0.71 [0.65, 0.77]"
    assert figures.interval_text(0.712, np.nan, np.nan) == "0.71"
    assert figures.interval_text(np.inf, 20.0, np.inf, 1) == "∞ [20.0, ∞]"
    assert figures.interval_text(np.nan, np.nan, np.nan) == "–"


def test_cohort_table_counts_tumor_free_patients_apart_and_starts_with_the_training_cohort(results):
    table = figures.printable_cohort_table(results[results["test_dataset"] != "lidc_idri"], {"e": "U-Net"})
    assert list(table["test set"]) == ["phantoms, NSCLC-like", "phantoms, MSD-like"]
    assert list(table["n"]) == [12, 12]
    assert all(cell.endswith("(n = 1)") for cell in table["false positives in tumor-free scans (ml)"])
    assert all("[" in cell for cell in table["DSC, mean"])


def test_case_table_has_one_row_per_case_or_per_reader_and_no_mean(results):
    assert list(figures.printable_case_table(results, ["lidc_idri"])["reference"]) == ["consensus"]
    assert list(figures.printable_case_table(results, ["lidc_idri"], all_readers=True)["reference"]) == ["consensus", "reader-1"]
    assert len(figures.printable_case_table(results, ["nsclc_radiomics"])) == 0
    records = [{"test_dataset": "lidc_idri", "case_id": "L1", "cut_by_volume_end": True}]
    assert list(figures.printable_case_table(results, ["lidc_idri"], records)["case"]) == ["L1 †"]


def test_strata_hold_every_patient_once_each(results):
    records = [
        {
            "test_dataset": "phantom_nsclc",
            "case_id": f"phantom_nsclc-{n}",
            "attributes": {"solidity": "solid;necrotic", "contact": "pleural"},
        }
        for n in range(12)
    ]
    table = figures.printable_strata(results, records, "phantom_nsclc")
    assert table.groupby("what")["n"].sum().tolist() == [12, 12, 12]
    assert set(table[table["what"] == "solidity"]["of the largest lesion"]) == {"solid"}


@pytest.mark.parametrize("draw", [figures.values_by_dataset, figures.nsd_curve, figures.volume_agreement])
def test_figures_draw_with_units_or_names_on_their_axes(results, draw):
    axes = draw(results).axes[0]
    assert axes.get_ylabel()


def test_a_learning_curve_shows_every_validation():
    history = pd.DataFrame({"step": [1, 2, 2], "quantity": ["training loss", "training loss", "validation DSC"], "value": [1.0, 0.9, 0.5]})
    assert figures.learning_curve(history).axes[1].lines[0].get_ydata().tolist() == [0.5]

"""Readers among themselves, models against readers, and reference noise, which is none of them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lungseg_utils import registry
from lungseg_utils.evaluation import metrics, tables
from lungseg_utils.experiments import config
from lungseg_utils.prompts.sources import ANOTHER_READER
from lungseg_utils.reporting import human_variability, labels, readers
from lungseg_utils.types import Image, InputError, Mask, Study

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def _mask(*cuboids, shape=(12, 12, 8)):
    array = np.zeros(shape, dtype=bool)
    for cuboid in cuboids:
        array[tuple(slice(a, b) for a, b in cuboid)] = True
    return Mask(array, AFFINE)


A = _mask([(2, 6), (2, 6), (2, 4)])  # 4 x 4 x 2 = 32 voxels
B = _mask([(4, 8), (2, 6), (2, 4)])  # the same, two voxels on: 2 x 4 x 2 = 16 shared, DSC 2 * 16 / 64 = 0.5
EMPTY = _mask()


def _study(**masks):
    return Study(Image(np.zeros((12, 12, 8), np.float32), AFFINE), {name.replace("_", "-"): mask for name, mask in masks.items()})


def _ball(radius_mm, shape=(56, 56, 30)):
    places = np.indices(shape).transpose(1, 2, 3, 0) * np.array([1.0, 1.0, 2.0])
    return Mask(((places - places[28, 28, 15]) ** 2).sum(axis=-1) <= radius_mm**2, AFFINE)


# --- pairs ------------------------------------------------------------------------------------------------------------


def test_pairs_of_three_tiny_masks_by_hand():
    pairs = readers.pairwise({"reader-1": A, "reader-2": B, "reader-3": A})
    assert list(zip(pairs["reader_a"], pairs["reader_b"], strict=True)) == [
        ("reader-1", "reader-2"),
        ("reader-1", "reader-3"),
        ("reader-2", "reader-3"),
    ]
    assert pairs["dsc"].tolist() == pytest.approx([0.5, 1.0, 0.5])
    assert pairs["hd95"].tolist() == pytest.approx([2.0, 0.0, 2.0])  # two voxels of 1 mm
    assert pairs["nsd_2mm"].tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert pairs.loc[0, "nsd_1mm"] < 1
    assert pairs["both_outlined"].all()


def test_a_pair_does_not_depend_on_its_order():
    there = readers.pairwise({"a": A, "b": B, "c": EMPTY})
    back = readers.pairwise({"c": EMPTY, "b": B, "a": A})
    assert sorted(there["dsc"]) == sorted(back["dsc"])
    assert there["nsd_1mm"].iloc[0] == pytest.approx(back["nsd_1mm"].iloc[-1])


def test_a_reader_who_drew_nothing_disagrees_wholly_and_two_of_them_are_undefined():
    pairs = readers.pairwise({"reader-1": A, "reader-2": EMPTY, "reader-3": EMPTY}).set_index(["reader_a", "reader_b"])
    assert pairs.loc[("reader-1", "reader-2"), "dsc"] == 0
    assert np.isinf(pairs.loc[("reader-1", "reader-2"), "hd95"])
    assert np.isnan(pairs.loc[("reader-2", "reader-3"), "dsc"])
    assert not pairs["both_outlined"].any()


def test_the_cut_end_of_a_slab_is_no_surface():
    low = _mask([(2, 6), (2, 6), (0, 3)])
    wide = _mask([(2, 6), (2, 6), (0, 4)])
    pair = readers.pairwise({"a": low, "b": wide}).iloc[0]
    expected = metrics.score_case(low, wide, open_ends=(True, False))
    assert pair["nsd_1mm"] == pytest.approx(expected["nsd_1mm"])
    assert pair["nsd_1mm"] != pytest.approx(metrics.score_case(low, wide)["nsd_1mm"])


def test_only_single_readers_count_not_their_consensus():
    cases = {("P1", "P1"): _study(consensus=A, reader_1=A, reader_2=B), ("P2", "P2"): _study(gtv=A)}
    pairs = readers.readers_among_themselves(cases)
    assert len(pairs) == 1
    assert pairs.loc[0, ["patient_id", "case_id", "reader_a", "reader_b"]].tolist() == ["P1", "P1", "reader-1", "reader-2"]
    assert readers.readers_among_themselves({("P2", "P2"): _study(gtv=A)}).empty


# --- models against readers -------------------------------------------------------------------------------------------


def _results(dsc_by_patient, jitter=0.0, prompter="none", experiment="e"):
    rows = []
    for patient, by_reader in dsc_by_patient.items():
        for reader, value in by_reader.items():
            keys = {"experiment": experiment, "test_dataset": "lidc_idri", "prompter": prompter, "jitter": jitter, "patient_id": patient}
            values = dict.fromkeys(metrics.UNITS, 1.0) | {"dsc": value, "nsd_1mm": value, "hd95": np.nan if np.isnan(value) else 1.0}
            rows += tables.result_rows(keys | {"case_id": patient}, reader, values, {}, failed=False)
    return tables.results_frame(rows)


def _pairs(n, dsc=0.7, reader_count=3):
    names = [f"reader-{i}" for i in range(1, reader_count + 1)]
    rows = [
        {"patient_id": f"P{i:02}", "case_id": f"P{i:02}", "reader_a": a, "reader_b": b, "both_outlined": True}
        | dict.fromkeys(readers.METRICS, dsc + 0.002 * i)
        for i in range(n)
        for a, b in zip(names, names[1:], strict=False)
    ]
    return pd.DataFrame(rows, columns=readers.PAIR_COLUMNS)


def test_a_method_is_compared_with_each_reader_and_never_with_the_consensus():
    results = _results({"P00": {"consensus": 0.9, "reader-1": 0.6, "reader-2": 0.8, "reader-3": np.nan}})
    against = readers.models_against_readers(results, "lidc_idri")
    assert against["reader"].tolist() == ["reader-1", "reader-2", "reader-3"]
    assert against["dsc"].tolist()[:2] == [0.6, 0.8]
    agreement = readers.agreement_with_readers(against, _pairs(1), "dsc")
    assert agreement.points.loc["P00", "model against readers"] == pytest.approx(0.7)  # of the two who outlined something
    assert agreement.points.loc["P00", "difference"] == pytest.approx(0.0)
    assert agreement.comparison is None  # one patient: points only
    assert readers.models_against_readers(results, "phantom_msd").empty


def test_from_ten_patients_on_there_is_a_bound_and_under_fifty_no_claim():
    n = 12
    results = _results({f"P{i:02}": {"reader-1": 0.75 + 0.002 * i, "reader-2": 0.77 + 0.001 * i} for i in range(n)})
    against = readers.models_against_readers(results, "lidc_idri")
    comparison = readers.agreement_with_readers(against, _pairs(n), "dsc").comparison
    assert comparison.n == n
    assert np.isfinite(comparison.bound)
    assert not comparison.within
    assert readers.agreement_with_readers(against, _pairs(n), "hd95").comparison is None
    with pytest.raises(InputError, match="no answer for"):
        readers.agreement_with_readers(against, _pairs(n + 1), "dsc")


def _verdicts(n, dsc, without_network=0.5, setting="click"):
    """Of a method and of a ball on the same click, against readers who agree at 0.7 with each other."""
    values = {f"P{i:02}": {"reader-1": dsc + 0.002 * i, "reader-2": dsc + 0.02 + 0.001 * i} for i in range(n)}
    shapes = {patient: dict.fromkeys(("reader-1", "reader-2"), without_network) for patient in values}
    parts = [_results(values, prompter=setting), _results(shapes, prompter=setting, experiment="ball")]
    titles = {("e", setting): "some method", ("ball", setting): next(iter(labels.trivial_rules()))}
    against = readers.models_against_readers(pd.concat(parts), "lidc_idri")
    table = human_variability.printable_variability(against, _pairs(n), titles, "nsd_1mm")
    return {row["method"]: row[human_variability.COLUMN] for row in table.to_dict("records")}


@pytest.mark.parametrize(
    ("n", "dsc", "without_network", "setting", "verdict"),
    [
        (9, 0.8, 0.5, "click", None),
        (12, 0.8, 0.5, "click", human_variability.TOO_FEW.format(50)),
        (55, 0.8, 0.5, "click", human_variability.SHOWN),
        (55, 0.5, 0.4, "click", human_variability.NOT_SHOWN),  # 0.2 below the readers
        (55, 0.8, 0.9, "click", human_variability.NOT_SHOWN),  # the ball is better
        (55, 0.8, 0.5, "box_one_slice", human_variability.NEVER),
        (55, 0.8, 0.5, "recist_line", human_variability.NEVER),  # its square is a box as well
        (55, 0.8, 0.0, "none", human_variability.SHOWN),
    ],
)
def test_words_on_human_variability_take_patients_readers_and_more_than_a_shape(n, dsc, without_network, setting, verdict):
    found = _verdicts(n, dsc, without_network, setting)
    assert found.pop("some method", None) == verdict
    assert set(found.values()) <= {human_variability.NO_NETWORK}


def test_a_box_counts_as_the_references_by_who_drew_it():
    assert not human_variability.may_be_said("box_every_slice")
    assert human_variability.may_be_said("box_every_slice", ANOTHER_READER)
    assert human_variability.may_be_said("detector_box")


def test_jittered_rows_and_two_methods_at_once_are_refused():
    with pytest.raises(InputError, match="jittered"):
        readers.models_against_readers(_results({"P00": {"reader-1": 0.5}}, jitter=0.1), "lidc_idri")
    against = readers.models_against_readers(_results({"P00": {"reader-1": 0.5}}), "lidc_idri")
    with pytest.raises(InputError, match="more than one"):
        readers.agreement_with_readers(pd.concat([against, against.assign(experiment="f")]), _pairs(1), "dsc")


@pytest.mark.parametrize(("patients", "reader_count", "drawn"), [(9, 3, False), (10, 2, False), (10, 3, True)])
def test_a_human_band_takes_ten_patients_with_three_readers(patients, reader_count, drawn):
    pairs = _pairs(patients, reader_count=reader_count)
    assert (readers.human_band(pairs, "dsc") is not None) == drawn
    assert readers.band_sentence(pairs).startswith("Human band" if drawn else "No human band")


def test_reference_noise_never_becomes_a_human_band():
    noise = readers.reference_noise({("P", "P"): _ball(8)}, seed=0, n=3)
    with pytest.raises(InputError, match="not human"):
        readers.human_band(noise, "dsc")


def test_tables_for_people():
    pairs = readers.readers_among_themselves({("P00", "P00"): _study(reader_1=A, reader_2=B, reader_3=EMPTY)})
    row = readers.printable_pairs(pairs).iloc[0]
    assert (row["readers"], row["outlined it"], row["DSC"]) == (3, "2", "0.50")
    against = readers.models_against_readers(_results({"P00": {"reader-1": 0.6, "reader-2": 0.8}}), "lidc_idri")
    table = readers.printable_models(against, pairs, {("e", "none"): "a method"})
    assert table["P00"].tolist() == ["0.50", "0.70 (0.60 … 0.80)"]
    assert readers.printable_models(against, pairs[:0], {}).empty
    noise = readers.printable_pairs(readers.reference_noise({("P", "P"): _ball(8)}, seed=0, n=3))
    assert not noise.columns.str.contains("reader").any()


# --- the page ---------------------------------------------------------------------------------------------------------


def _dataset(name="lidc_idri", n_cases=1):
    pairs = readers.readers_among_themselves({("P00", "P00"): _study(reader_1=A, reader_2=B, reader_3=EMPTY)})
    return readers.ReadDataset(name, n_cases, pairs, readers.models_against_readers(_results({"P00": {"reader-1": 0.6}}), "lidc_idri"))


def test_data_sets_that_are_not_here_are_named():
    said = readers.missing_sentence([_dataset()])
    assert "NSCLC-Radiomics-Interobserver1 (real)" in said
    assert "LIDC" not in said
    everywhere = [name for name in config.load().datasets() if registry.card("datasets", name).several_readers]
    assert readers.missing_sentence([_dataset(name) for name in everywhere]) == ""


def test_single_cases_have_columns_only_where_they_are_few():
    titles = {("e", "none"): "a method"}
    assert "<table" in readers.folded_models([_dataset(n_cases=9)], titles).data
    assert "<table" not in readers.folded_models([_dataset(n_cases=10)], titles).data


def test_the_sentence_on_noise_by_hand():
    noise = _pairs(2, dsc=0.8).assign(nsd_3mm=[1.0, 0.8, 0.6, 0.4])  # two pairs of each patient: 0.9 and 0.5
    said = readers.noise_sentence(noise)
    assert "Dice of 0.80 and an NSD at 3 mm of 0.70 (n = 2 " in said  # 0.800 and 0.802
    assert not any(letter.isdigit() for letter in readers.noise_sentence(noise[:0]))


def test_only_data_sets_with_several_readers_are_read_and_only_at_the_primary_prompt_settings(monkeypatch):
    study = _study(consensus=A, reader_1=A, reader_2=B)
    monkeypatch.setattr(readers.grid, "real_datasets", lambda profile: ["nsclc_radiomics", "lidc_idri"])
    monkeypatch.setattr(readers, "load_study", lambda case: study)
    rows = _results({"P00": {"reader-1": 0.6, "reader-2": 0.8}})
    rows = pd.concat([rows, rows.assign(prompter="recist_line")])
    monkeypatch.setattr(readers.results, "results_of", lambda finished: rows)
    run = SimpleNamespace(cases=lambda name: [SimpleNamespace(patient_id="P00", case_id="P00")])
    (found,) = readers.read_datasets("phantoms", [run])
    assert (found.dataset, found.n_cases, len(found.pairs), len(found.against)) == ("lidc_idri", 1, 1, 2)
    assert set(found.against["prompter"]) == {"none"}


def test_noise_is_drawn_on_phantoms_with_a_tumor(monkeypatch):
    cases = tuple(SimpleNamespace(patient_id=name, case_id=name) for name in ("P1", "P2"))
    monkeypatch.setattr(readers, "cases_here", lambda *_: cases)
    monkeypatch.setattr(readers, "load_study", lambda case: _study(reference=A if case.patient_id == "P1" else EMPTY))
    noise = readers.phantom_noise("phantoms")
    assert set(noise["patient_id"]) == {"P1"}
    assert len(noise) == 3  # pairs of three copies
    monkeypatch.setattr(readers, "cases_here", lambda *_: ())
    assert readers.phantom_noise("phantoms").empty

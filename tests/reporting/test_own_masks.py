"""The referee for strangers: what it scores, what it refuses, and the page that it writes."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from lungseg_utils import __main__
from lungseg_utils.core import project
from lungseg_utils.evaluation import metrics, protocols, tables
from lungseg_utils.reporting.own_masks import matching, scoring
from lungseg_utils.reporting.own_masks.page import _figures, write
from lungseg_utils.reporting.own_masks.summary import case_table, count_flow, protocol_table, summarize
from lungseg_utils.types import InputError, Mask

ROOT = project.project_root()
PAGE = (ROOT / "book" / "score_your_own.md").read_text()
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
SHAPE = (16, 16, 10)


def _box(*box, shape=SHAPE):
    mask = np.zeros(shape, dtype=bool)
    if box:
        mask[tuple(slice(*side) for side in box)] = True
    return mask


EMPTY = _box()
LESION = _box((2, 8), (2, 8), (2, 6))  # 144 voxels, 1.728 ml
HALF = _box((2, 8), (2, 8), (2, 4))  # 72 voxels: DSC 2/3
BESIDE = _box((11, 14), (11, 14), (7, 9))  # 18 voxels, 0.216 ml


def _save(array, path, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(array).astype(np.uint8), affine), path)


def _folders(root, **cases):
    """Folders of cases NAME=(reference, prediction or None)."""
    for name, (reference, prediction) in cases.items():
        _save(reference, root / "references" / f"{name}.nii.gz")
        if prediction is not None:
            _save(prediction, root / "predictions" / f"{name}.nii.gz")
    return root / "predictions", root / "references"


def _value(results, case_id, metric):
    row = results[(results["case_id"] == case_id) & (results["metric"] == metric) & (results["lesion_id"] == "")]
    return row["value"].item()


def _row(summary, quantity, of=None):
    rows = summary[(summary["quantity"] == quantity) & ((summary["of"] == of) if of else True)]
    return rows.iloc[0]


@pytest.fixture
def four(tmp_path):
    """Half found, all found and a false positive beside, missed, tumor-free with a false positive."""
    return _folders(tmp_path, a=(LESION, HALF), b=(LESION, LESION | BESIDE), c=(LESION, EMPTY), d=(EMPTY, BESIDE))


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_values_of_each_case_are_those_of_score_case_on_any_order_of_axes(tmp_path):
    rng = np.random.default_rng(0)
    masks = [rng.random(SHAPE) < share for share in (0.2, 0.3, 0.1)]
    masks[0][:, :, 0] = False
    masks[0][3, 3, -1] = True  # the last slice cuts a lesion
    stored = np.array([[0, -2.0, 0, 30], [2.0, 0, 0, -5], [0, 0, 3.0, 7], [0, 0, 0, 1]])  # first axis to anterior, second to the left
    for mask, folder in zip(masks, ("references", "predictions", "ignore"), strict=True):
        _save(mask[::-1].transpose(1, 0, 2), tmp_path / folder / "x.nii", stored)
    scores = scoring.score_folders(*(tmp_path / name for name in ("predictions", "references", "ignore")))
    expected = metrics.score_case(*(Mask(mask, AFFINE) for mask in masks), open_ends=(False, True))
    for metric, value in expected.items():
        assert _value(scores.results, "x", metric) == pytest.approx(value, nan_ok=True), metric
    assert scores.cut_cases == ("x",)
    lesions = scores.results[scores.results["metric"] == "lesion_dsc"]
    assert len(lesions) == expected["lesions_reference"]


def test_means_keep_a_miss_and_leave_the_tumor_free_scan_apart(four):
    scores = scoring.score_folders(*four)
    summary, flow = summarize(scores.results), count_flow(scores.results)
    dsc = (2 / 3, 2 * 144 / (144 + 162), 0)
    assert _row(summary, "dsc")["value"] == pytest.approx(np.mean(dsc))
    assert _row(summary, "dsc")["n"] == 3
    assert np.isnan(_row(summary, "dsc")["low"])  # under ten patients
    # the false positive is 0.216 ml: a component of its own; c has no prediction, so no precision
    assert _row(summary, "lesion_sensitivity")["value"] == pytest.approx(2 / 3)
    assert _row(summary, "lesion_precision")[["value", "n"]].tolist() == pytest.approx([(1 + 1 / 2) / 2, 2])
    assert _row(summary, "lesion_f1")["value"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert _row(summary, "lesion_dsc")[["value", "n"]].tolist() == pytest.approx([(2 / 3 + 1) / 2, 2])
    assert _row(summary, "hd95", "patients with a tumor")["n"] == 3
    assert _row(summary, "hd95", "those with an answer")["n"] == 2
    assert np.isfinite(_row(summary, "hd95", "patients with a tumor")["value"])  # the middle one of three, of which one is infinite
    assert _row(summary, "false_positive_volume")[["value", "n"]].tolist() == pytest.approx([0.216, 1])
    assert (flow.patients, flow.cases, flow.cases_tumor_free, flow.lesions, flow.empty_predictions) == (3, 3, 1, 3, 1)


def test_the_first_protocol_is_the_reported_dsc(four):
    scores = scoring.score_folders(*four)
    table = protocol_table(protocols.all_protocols(scores.counts))
    assert table["value"].iloc[0] == pytest.approx(_row(summarize(scores.results), "dsc")["value"])
    assert table["shift"].iloc[0] == 0
    detected = table[table["name"] == protocols.detected_only([]).name].iloc[0]
    assert detected["shift"] == pytest.approx(table["value"].iloc[0] / 2)  # two of three: 3/2 of the mean
    assert detected["n"] == 2


def test_an_ignore_region_hides_false_positives_in_metrics_and_in_our_protocol(four, tmp_path):
    _save(BESIDE, tmp_path / "ignore" / "b.nii.gz")
    scores = scoring.score_folders(*four, tmp_path / "ignore")
    assert _value(scores.results, "b", "dsc") == 1
    assert [counts.judged.dsc for counts in scores.counts[:3]] == pytest.approx([2 / 3, 1, 0])
    assert scores.provenance["cases_with_ignore_region"] == 1


def test_several_cases_of_a_patient_count_once(four):
    lines = ["case_id,patient_id", "a,P1", "b,P1", "c,P2", "d,P2"]
    (four[1] / "patients.csv").write_text("\n".join(lines))
    scores = scoring.score_folders(*four)
    flow = count_flow(scores.results)
    assert (flow.patients, flow.cases, flow.patients_tumor_free) == (2, 3, 1)
    expected = ((2 / 3 + 2 * 144 / 306) / 2 + 0) / 2
    assert _row(summarize(scores.results), "dsc")[["value", "n"]].tolist() == pytest.approx([expected, 2])


def test_blanks_round_a_patient_and_empty_rows_are_nothing(four):
    (four[1] / "patients.csv").write_text("case_id,patient_id\na,P1\n b ,P1 \n,\n\nc, P2\nd,P2\n", encoding="utf-8-sig")
    assert set(scoring.score_folders(*four).results["patient_id"]) == {"P1", "P2"}


def test_several_readers_are_averaged_within_the_patient(tmp_path):
    for reader, reference in (("anna", LESION), ("bert", HALF)):
        _save(reference, tmp_path / "references" / reader / "a.nii.gz")
    _save(LESION, tmp_path / "references" / "anna" / "b.nii.gz")
    for name in "ab":
        _save(HALF, tmp_path / "predictions" / f"{name}.nii.gz")
    scores = scoring.score_folders(tmp_path / "predictions", tmp_path / "references")
    assert set(scores.results["reader"]) == {"anna", "bert"}
    assert count_flow(scores.results).cases_by_reader == {"anna": 2, "bert": 1}
    summary = summarize(scores.results)
    assert _row(summary, "dsc")[["value", "n"]].tolist() == pytest.approx([((2 / 3 + 1) / 2 + 2 / 3) / 2, 2])
    assert "anna (2 cases), bert (1 cases)" in write(scores, tmp_path / "out").read_text()


def test_a_missing_prediction_is_an_error_or_a_failed_empty_answer(tmp_path):
    folders = _folders(tmp_path, a=(LESION, LESION), b=(LESION, None), c=(EMPTY, None))
    with pytest.raises(InputError, match=r"no prediction for 2 of 3 references: b, c\. .*--missing failed"):
        scoring.score_folders(*folders)
    scores = scoring.score_folders(*folders, missing="failed")
    assert _row(summarize(scores.results), "dsc")[["value", "n"]].tolist() == [0.5, 2]
    assert _value(scores.results, "b", "hd95") == np.inf
    rows = scores.results[scores.results["case_id"] == "b"]
    assert set(rows["status"]) == {"failed", "undefined"}  # undefined: the precision of nothing
    assert count_flow(scores.results).failed == 2
    table = case_table(scores)
    assert table.set_index("case_id")["answer"].to_dict() == {"a": "given", "b": "no file", "c": "no file"}
    assert table["case_id"].tolist() == ["b", "a", "c"]  # the worst first, tumor-free ones last


def test_labels_choose_the_tumor(tmp_path):
    folders = _folders(tmp_path, a=(2 * LESION + BESIDE, HALF + 2 * BESIDE))
    with pytest.raises(InputError, match=r"2 files cannot be used(.|\n)*values 0, 1, 2\. Choose the tumor's value with --label N"):
        scoring.score_folders(*folders)
    scores = scoring.score_folders(*folders, label=2, prediction_label=1)
    assert _value(scores.results, "a", "dsc") == pytest.approx(2 / 3)
    assert _value(scoring.score_folders(*folders, label=2).results, "a", "dsc") == 0
    with pytest.raises(InputError, match="no reference holds the value 3"):
        scoring.score_folders(*folders, label=3)
    with pytest.raises(InputError, match="no prediction holds the value 4"):
        scoring.score_folders(*folders, label=2, prediction_label=4)


def test_a_file_of_other_labels_is_no_file_without_a_tumor(tmp_path):
    organ = 3 * BESIDE.astype(int)
    folders = _folders(tmp_path, a=(LESION + organ, HALF), b=(LESION, organ), c=(LESION, HALF * 255))
    with pytest.raises(InputError, match=r"predictions/c\.nii\.gz: it holds the values 255: not the tumor's, .*no file with a tumor holds"):
        scoring.score_folders(*folders, label=1)
    _save(EMPTY, folders[0] / "c.nii.gz")
    assert _value(scoring.score_folders(*folders, label=1).results, "b", "dsc") == 0  # an organ that is known: nothing was found
    with pytest.raises(InputError, match="no reference holds the value 7; they hold 1, 3"):
        scoring.score_folders(*folders, label=7)
    with pytest.raises(InputError, match="no prediction holds the value 9; they hold 1, 3"):
        scoring.score_folders(*folders, label=1, prediction_label=9)


def test_probabilities_are_no_labels(tmp_path):
    folders = _folders(tmp_path, a=(LESION, HALF))
    nib.save(nib.Nifti1Image(LESION * 0.7, AFFINE), folders[0] / "a.nii.gz")
    with pytest.raises(InputError, match=r"between labels, e\.g\. 0\.7\. Threshold"):
        scoring.score_folders(*folders, label=1)


def test_endings_in_capitals_are_scored(tmp_path):
    folders = _folders(tmp_path, a=(LESION, HALF))
    for folder in folders:
        (folder / "a.nii.gz").rename(folder / "A.NII.GZ")
    assert _value(scoring.score_folders(*folders).results, "A", "dsc") == pytest.approx(2 / 3)


@pytest.mark.parametrize(("slice_mm", "metric"), [(1.5, "nsd_2mm"), (3.0, "nsd_3mm")])
def test_the_surface_value_to_quote_depends_on_the_slices(tmp_path, slice_mm, metric):
    for folder in ("predictions", "references"):
        _save(LESION, tmp_path / folder / "a.nii", np.diag([1.0, 1.0, slice_mm, 1.0]))
    assert scoring.score_folders(tmp_path / "predictions", tmp_path / "references").nsd_metric == metric


def test_processes_give_the_same_table(four):
    assert scoring.score_folders(*four, workers=2).results.equals(scoring.score_folders(*four).results)


# --- bad input -------------------------------------------------------------------------------------------------------


def _extra(root):
    _save(LESION, root / "predictions" / "z.nii.gz")


def _doubled(root):
    _save(LESION, root / "predictions" / "a.nii")


def _other_shape(root):
    _save(LESION[:-1], root / "predictions" / "a.nii.gz")


def _other_place(root):
    moved = AFFINE.copy()
    moved[0, 3] = 1.0
    _save(LESION, root / "predictions" / "a.nii.gz", moved)


def _not_binary(root):
    _save(3 * LESION + BESIDE, root / "references" / "a.nii.gz")


def _probabilities(root):
    nib.save(nib.Nifti1Image(LESION * 0.7, AFFINE), root / "predictions" / "a.nii.gz")


def _unreadable(root):
    (root / "predictions" / "a.nii.gz").write_bytes(b"no image")


def _cut_off(root):
    path = root / "references" / "a.nii.gz"
    path.write_bytes(path.read_bytes()[:-20])


def _empty_folder(root):
    shutil.rmtree(root / "predictions")
    (root / "predictions").mkdir()


def _no_folder(root):
    shutil.rmtree(root / "references")


def _other_format(root):
    (root / "references" / "b.mha").write_bytes(b"ObjectType = Image")


def _one_slice(root):
    for folder in ("predictions", "references"):
        _save(LESION[:, :, 3:4], root / folder / "a.nii.gz")


def _four_axes(root):
    _save(np.stack([LESION, LESION], axis=3), root / "predictions" / "a.nii.gz")


def _files_and_folders(root):
    _save(LESION, root / "references" / "anna" / "a.nii.gz")


def _patients(text):
    return lambda root: (root / "references" / "patients.csv").write_text(text)


def _patients_in(encoding):
    return lambda root: (root / "references" / "patients.csv").write_bytes("case_id,patient_id\na,Jürg\n".encode(encoding))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_extra, r"predictions: no reference for 1 of its files: z\. Remove"),
        (_doubled, r"a\.nii\.gz: a\.nii lies beside it, which is the same case\. Remove one"),
        (_other_shape, r"predictions/a\.nii\.gz: its grid \(\(15, 16, 10\) voxels.* is not that of .*references/a\.nii\.gz .*Export both"),
        (_other_place, r"predictions/a\.nii\.gz: its grid .*from \(1, 0, 0\) mm.*Export both"),
        (_not_binary, r"references/a\.nii\.gz: .*values 0, 1, 3\. Choose the tumor's value with --label N"),
        (_probabilities, r"predictions/a\.nii\.gz: not a binary mask, it holds the values 0, 0\.7"),
        (_unreadable, r"predictions/a\.nii\.gz: it cannot be read as NIfTI\. .*export it again"),
        (_cut_off, r"references/a\.nii\.gz: its voxels cannot be read\. .*export it again"),
        (_empty_folder, r"predictions: it holds no masks\. Put NAME"),
        (_no_folder, r"references: no such folder\. Give"),
        (_other_format, r"references: it holds images of another format: b\.mha\. Convert"),
        (_one_slice, r"a\.nii\.gz: it has one slice only\. Give whole volumes"),
        (_four_axes, r"predictions/a\.nii\.gz: a volume has three axes, this has shape \(16, 16, 10, 2\)"),
        (_files_and_folders, r"references: masks lie in it and in its subfolders \(anna\)"),
        (_patients("case,patient\na,1\n"), r"patients\.csv: its columns are \['case', 'patient'\]"),
        (_patients("case_id,patient_id\nb,1\n"), r"patients\.csv: a case is not in it: a\."),
        (_patients("case_id,patient_id\na,1\na,2\n"), r"patients\.csv: a case stands there twice: a\."),
        (_patients("case_id,patient_id\na,1\nb,2\n"), r"patients\.csv: a case in it has no reference: b\."),
        (_patients_in("cp1252"), r"patients\.csv: it cannot be read as UTF-8\. Save it in UTF-8"),
        (_patients_in("utf-16"), r"patients\.csv: it cannot be read as UTF-8\. Save it in UTF-8"),
        (_patients("case_id,patient_id\na,\n"), r"patients\.csv: a case has no patient: a\."),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_bad_input_is_named_with_a_remedy_and_nothing_is_scored(tmp_path, monkeypatch, spoil, message):
    folders = _folders(tmp_path, a=(LESION, HALF))
    spoil(tmp_path)
    monkeypatch.setattr(metrics, "score_case", lambda *_: pytest.fail("scored"))
    with pytest.raises(InputError) as caught:
        scoring.score_folders(*folders)
    assert re.search(message, str(caught.value)), caught.value


def test_all_bad_files_are_told_together(tmp_path):
    folders = _folders(tmp_path, **{f"c{n:02d}": (LESION, HALF) for n in range(12)})
    for n in range(12):
        (folders[0] / f"c{n:02d}.nii.gz").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"12 files cannot be used(.|\n)*c09.nii.gz(.|\n)*and 2 more") as caught:
        scoring.score_folders(*folders)
    assert "c10" not in str(caught.value)


def test_an_ignore_region_must_belong_to_a_case_and_be_binary_and_may_leave_no_surface(four, tmp_path):
    _save(BESIDE, tmp_path / "ignore" / "z.nii.gz")
    with pytest.raises(InputError, match="ignore: no reference for 1 of its files: z"):
        scoring.score_folders(*four, tmp_path / "ignore")
    (tmp_path / "ignore" / "z.nii.gz").unlink()
    _save(2 * BESIDE, tmp_path / "ignore" / "a.nii.gz")
    with pytest.raises(InputError, match=r"ignore/a\.nii\.gz: .*Give an ignore region of 0 and 1"):
        scoring.score_folders(*four, tmp_path / "ignore")
    tumor = _box((4, 12), (2, 8), (2, 6))
    for folder, mask in ((four[0], tumor), (four[1], tumor), (tmp_path / "ignore", ~tumor)):
        _save(mask, folder / "a.nii.gz")
    results = scoring.score_folders(*four, tmp_path / "ignore").results.query("case_id == 'a' and lesion_id == ''").set_index("metric")
    # nothing of either surface is left to be judged
    assert (results.loc[["nsd_1mm", "nsd_3mm", "hd95", "assd"], "status"] == "undefined").all()
    assert results.loc["dsc", "status"] == "scored"


def test_other_wrong_arguments_are_refused(four, tmp_path):
    with pytest.raises(InputError, match=r"prompt setting telepathy: unknown\. Choose one of box_every_slice, .*none"):
        scoring.score_folders(*four, prompter="telepathy")
    with pytest.raises(InputError, match="both predictions and references"):
        scoring.score_folders(four[0], four[0])
    with pytest.raises(InputError, match="0 is not a number of processes"):
        scoring.score_folders(*four, workers=0)
    with pytest.raises(InputError, match="'ignore' is unknown"):
        scoring.score_folders(*four, missing="ignore")
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="out: it is a file"):
        write(scoring.score_folders(*four), tmp_path / "out")


def test_hidden_files_and_other_files_are_passed_over(four):
    (four[0] / "._a.nii.gz").write_bytes(b"of a Mac")
    (four[0] / "plans.json").write_text("{}")
    assert len(matching.find_cases(*four)) == 4


# --- the page --------------------------------------------------------------------------------------------------------


class _Attributes(HTMLParser):
    """All attributes of a page, and the text outside of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text, self._skip = [], "", False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._skip = tag in ("script", "style")
        self.found += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        self._skip = False

    def handle_data(self, data):
        self.text += "" if self._skip else data


def _page_of(folders, out, **options):
    return write(scoring.score_folders(*folders, **options), out).read_text(encoding="utf-8")


def test_the_page_asks_for_nothing_from_outside(four, tmp_path):
    page = _page_of(four, tmp_path / "out")
    attributes = _Attributes(page).found
    asked = [(tag, name, value) for tag, name, value in attributes if name in ("src", "href", "xlink:href", "action", "data", "srcset")]
    assert asked
    assert all(value.startswith(("data:", "#")) for _, _, value in asked), asked
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*[\"']?([^)]*)", page))
    assert not re.search(r"@import|\bfetch\(|XMLHttpRequest|WebSocket|import\(", page)
    addresses = {value for _, name, value in attributes if "http" in value and not name.startswith("xmlns")}
    assert addresses == set()
    assert "default-src 'none'" in page


def test_n_on_the_page_is_the_number_of_patients(four, tmp_path):
    (four[1] / "patients.csv").write_text("case_id,patient_id\na,P1\nb,P1\nc,P2\nd,P3\n")
    page = _page_of(four, tmp_path / "out")
    assert re.search(r'id="patients">2<', page)
    text = _Attributes(page).text
    assert "n = 2 patients with a tumor. Under 50 no claim" in text
    assert "points only" in text
    assert page.count("<tr><td") == 4  # one row per case


def test_what_a_prompt_gives_away_is_said(four, tmp_path):
    stated = _Attributes(_page_of(four, tmp_path / "out", prompter="box_every_slice")).text
    assert "box on every slice; it gives away: outline, extent, count" in stated
    assert "not stated: if the model was shown" in _Attributes(_page_of(four, tmp_path / "out")).text


def test_names_of_files_and_models_are_text_and_never_markup(tmp_path):
    evil = "<img src=x onerror=alert(1)>&amp;"
    folders = _folders(tmp_path, **{evil: (LESION, HALF)})
    (folders[1] / "patients.csv").write_text(f"case_id,patient_id\n{evil},<b>P</b>\n")
    page = _page_of(folders, tmp_path / "out", name="<script>alert(2)</script>")
    assert evil not in page
    assert "<b>P" not in page
    assert "<script>alert" not in page
    text = _Attributes(page).text
    assert evil in text
    assert "<script>alert(2)</script>" in text
    assert tables.read_results(tmp_path / "out" / "results.csv")["case_id"].iloc[0] == evil


def test_tables_and_provenance_are_written_and_hold_no_place_of_this_machine(four, tmp_path):
    scores = scoring.score_folders(*four, prompter="none", name="my net")
    write(scores, tmp_path / "out")
    again = tables.read_results(tmp_path / "out" / "results.csv")
    assert again.equals(scores.results)
    assert set(again["experiment"]) == {"my net"}
    assert set(again["prompter"]) == {"none"}
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert summary["n"].tolist() == summarize(scores.results)["n"].tolist()
    assert len(pd.read_csv(tmp_path / "out" / "protocols.csv")) == len(protocols.PROTOCOLS) - 2
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert set(provenance["sha256_of_files"]["references"]) == {f"{name}.nii.gz" for name in "abcd"}
    assert {len(value) for value in provenance["sha256_of_files"]["predictions"].values()} == {64}
    assert all(str(tmp_path) not in path.read_text() for path in (tmp_path / "out").iterdir())


def test_only_tumor_free_scans_make_a_page_without_means(tmp_path):
    folders = _folders(tmp_path, a=(EMPTY, BESIDE), b=(EMPTY, EMPTY))
    page = _page_of(folders, tmp_path / "out")
    assert re.search(r'id="patients">0<', page)
    assert "0.11 ml" in page  # (0.216 + 0) / 2
    assert "<svg" not in page
    assert not re.search(r"\bnan\b", _Attributes(page).text)


@pytest.mark.parametrize(("low", "high", "told"), [(0.4, 0.8, True), (np.nan, np.nan, False)])
def test_drawings_speak_of_intervals_only_where_they_draw_some(low, high, told):
    names = ["dsc", *(f"nsd_{t:g}mm" for t in metrics.NSD_TOLERANCES_MM)]
    summary = pd.DataFrame([{"quantity": name, "value": 0.6, "low": low, "high": high, "n": 12} for name in names])
    cases = pd.DataFrame({"reference_volume": [1.0, 20.0], "dsc": [0.5, 0.7]})
    captions = [figure.partition("<figcaption>")[2] for figure in _figures(summary, cases)]
    assert len(captions) == 2
    assert all(("interval" in caption) is told and "n = 12" in caption for caption in captions)


@pytest.mark.parametrize(("n", "mark"), [(9, "points only"), (10, "descriptive"), (50, "inference")])
def test_the_mark_of_an_interval_comes_with_n(n, mark):
    from lungseg_utils.evaluation import intervals

    assert intervals.kind_of_interval(n) == mark
    assert mark in intervals.summarize_mean(np.linspace(0, 1, n)).method


def test_the_command_starts_without_what_it_does_not_need():
    code = "import sys\nfrom lungseg_utils.reporting.own_masks import page, scoring\n"
    code += "print([m for m in ('torch', 'matplotlib', 'scipy.stats', 'jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_ends_with_status_2_and_the_reason(four, tmp_path, capsys):
    given = ["--predictions", str(four[0]), "--references", str(four[1]), "--out", str(tmp_path / "out")]
    assert __main__.main(["report", *given, "--name", "net"]) == 0
    assert "net: 3-D DSC 0.54, n = 3 patients (points only), tumor-free scans: 1" in capsys.readouterr().out
    assert __main__.main(["report", *given, "--prompter", "telepathy"]) == 2
    assert "Choose one of" in capsys.readouterr().err


def test_an_output_that_is_an_input_or_cannot_be_written_is_found_before_anything_is_read(four, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scoring, "score_folders", lambda *_, **__: pytest.fail("read"))
    (tmp_path / "link").symlink_to(four[0])
    given = ["report", "--predictions", str(four[0]), "--references", str(four[1]), "--out"]
    for out, words in ((four[0], "it is read"), (tmp_path / "link", "it is read"), (tmp_path, "or holds it"), ("/proc/x", "be written")):
        assert __main__.main([*given, str(out)]) == 2
        assert words in capsys.readouterr().err


# --- the worked page of the book -------------------------------------------------------------------------------------


def _block(name):
    return re.search(rf"```{{code-block}} \w+\n:name: {name}\n\n(.*?)```", PAGE, re.DOTALL).group(1)


def _follow(command, folder):
    command = command.replace(".venv/bin/python", f"'{sys.executable}'")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example of the page, written by its script and scored by its command."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "write_example.py").write_text(_block("score-example-masks"))
    written = _follow(".venv/bin/python write_example.py", folder)
    assert written.returncode == 0, written.stderr
    return folder, _follow(_block("score-the-masks"), folder)


def test_the_page_of_the_book_is_true(example):
    folder, done = example
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(_block("score-the-line"))
    files = set(re.findall(r"^\| `([\w.]+)` \|", PAGE, re.MULTILINE))
    assert {path.name for path in (folder / "report").iterdir()} == files
    refused = _follow(_block("score-without-a-prediction"), folder)
    assert (refused.returncode, refused.stderr) == (2, _block("score-the-error"))


def test_the_script_of_the_page_is_in_the_style_of_the_project(tmp_path):
    (tmp_path / "script.py").write_text(_block("score-example-masks"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.browser
def test_in_a_browser_the_page_is_quiet_sorts_downloads_and_fits_a_phone(example, chromium):
    address = (example[0] / "report" / "report.html").resolve().as_uri()
    page = chromium.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    problems, requests = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    column = "[...document.querySelectorAll('#cases tbody tr')].map((row) => row.cells[{}].dataset.value)"
    names = page.evaluate("[...document.querySelectorAll('#cases thead th')].map((head) => head.dataset.name)")
    distance = names.index("hd95")
    dsc = page.evaluate(column.format(names.index("dsc")))
    assert dsc[-1] == ""  # the tumor-free scan
    assert [float(v) for v in dsc[:-1]] == sorted(float(v) for v in dsc[:-1])
    for direction in ("ascending", "descending"):
        page.get_by_role("button", name="HD95 (mm)").click()
        assert page.locator("#cases th[aria-sort]").get_attribute("aria-sort") == direction
        distances = [float(v.replace("Infinity", "inf")) for v in page.evaluate(column.format(distance)) if v]
        assert distances == sorted(distances, reverse=direction == "descending")
        assert page.evaluate(column.format(distance))[-1] == ""  # undefined stays last
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    table = pd.read_csv(Path(download.value.path()))
    assert list(table.columns[:4]) == ["case_id", "patient_id", "answer", "dsc"]
    assert table["case_id"].tolist() == page.evaluate(column.format(0))
    assert (problems, requests[:1], [url for url in requests[1:] if not url.startswith("blob:")]) == ([], [address], [])
    page.close()

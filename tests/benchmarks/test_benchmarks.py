"""The benchmark of speed: each fast path answers as its plain one does, at small size; the table and the way of measuring."""

import math
import shutil
import weakref

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import __main__ as command_line
from benchmarks import measure, networks
from benchmarks import row as rows
from benchmarks.rows import encoder, evaluation, litemedsam, prompts, propagation, readers, reading, starts, training
from lungseg_utils import registry
from lungseg_utils.data import lidc_outlines
from lungseg_utils.evaluation import metrics
from lungseg_utils.networks import attention, products
from lungseg_utils.networks.sam import Size
from lungseg_utils.networks.sam2 import Size as Sam2Size
from lungseg_utils.networks.view import View
from lungseg_utils.reporting import speed
from lungseg_utils.types import Image, InputError, Mask, Study

SMALL = Size(patch=8, width=16, depth=2, heads=2, global_blocks=(1,), window=3, prompt_width=16, decoder_width=32)


@pytest.fixture(autouse=True)
def fused(monkeypatch):
    """The networks here are too small for the fused product to pay."""
    monkeypatch.setattr(attention, "_LEAST_TOKENS", 1)


def _check(work):
    agreement = work.check(work.fast(), work.plain())
    assert speed.agrees(agreement.kind, agreement.value, agreement.limit)
    return agreement


@torch.no_grad()
@pytest.mark.parametrize(
    ("without_mask", "by_two", "by_onednn"),
    [((), False, False), ((), True, False), ((), True, True), (("cpu",), False, False)],
    ids=["places as a mask", "places as a mask of two products", "places as a mask of products of oneDNN", "places as channels"],
)
def test_fused_attention_equals_the_packaged_one_on_whole_and_partial_windows(monkeypatch, without_mask, by_two, by_onednn):
    """A grid of 5 x 5 tokens in windows of 3: the last row and column of windows are filled up."""
    monkeypatch.setattr(attention, "_WITHOUT_MASK", without_mask)
    monkeypatch.setattr(attention, "two_products_are_faster", lambda tokens, keys: by_two)
    monkeypatch.setattr(products, "_mkl_takes_half_the_width", lambda: by_onednn)
    monkeypatch.setattr(products, "_LEAST_ROWS", 1)
    network, packaged = networks.twin_encoders(SMALL, View(40, (-160.0, 240.0)), "cpu")
    pictures = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(network.image_encoder(pictures), packaged(pictures), atol=1e-5)
    packaged.blocks[1].attn.rel_pos_h.add_(torch.linspace(0, 1, 9)[:, None])
    assert not torch.allclose(network.image_encoder(pictures), packaged(pictures), atol=1e-3)  # places do count here


@torch.no_grad()
@pytest.mark.parametrize("at_once", [1, 3000, 7500], ids=["one row of queries", "rows by two, and one left", "one head"])
def test_heads_and_queries_a_few_at_a_time_are_all(monkeypatch, at_once):
    """Bytes of a mask: 3 pictures x 5 queries of a row x 25 keys in single precision are 1500."""
    network, _ = networks.twin_encoders(SMALL, View(40, (-160.0, 240.0)), "cpu")
    pictures = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    together = network.image_encoder(pictures)
    monkeypatch.setattr(attention, "_MASK_BYTES", at_once)
    assert torch.allclose(network.image_encoder(pictures), together, atol=1e-6)


@torch.no_grad()
def test_few_tokens_take_the_packaged_product(monkeypatch):
    network, packaged = networks.twin_encoders(SMALL, View(40, (-160.0, 240.0)), "cpu")
    pictures = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(attention, "_LEAST_TOKENS", 26)
    assert torch.equal(network.image_encoder(pictures), packaged(pictures))


def test_training_takes_the_packaged_product_bit_by_bit():
    network, packaged = networks.twin_encoders(SMALL, View(40, (-160.0, 240.0)), "cpu")
    pictures = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.image_encoder(pictures), packaged(pictures))


def test_a_batch_of_slices_is_encoded_as_one_by_one():
    _check(encoder.compare_encoders(SMALL, 40, 3, "cpu"))


def _slab(shape, index):
    """A noisy slab, and a lesion on two of its slices."""
    hu = np.random.default_rng(0).normal(-600, 300, shape).astype(np.float32)
    lesion = np.zeros(shape, dtype=bool)
    lesion[20:40, 20:36, index : index + 2] = True
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    return Image(hu, affine), Mask(lesion, affine)


def test_forty_prompts_a_slice_are_answered_as_by_a_script_that_sets_the_image_each_time():
    """Boxes, and at the end clicks; two scripts that always said no would agree too, hence the share."""
    image, lesion = _slab((64, 64, 6), 2)
    forty = prompts.ladder_prompts(image, lesion)
    assert len(forty) == 40
    small = {"patch": 8, "width": 16, "depth": 2, "heads": 2, "global_blocks": (1,), "window": 3, "prompt_width": 16}
    segmenter = prompts.segmenter_of({**small, "decoder_width": 32, "canvas": 40})
    work = prompts.compare_prompts(segmenter, SMALL, image, forty, 3)
    assert 0.01 < np.mean(work.fast()) < 0.99
    assert _check(work).value == 1.0
    assert 0 < work.plain_share < 0.2


def test_what_is_found_on_disk_answers_as_what_is_computed(monkeypatch):
    image, lesion = _slab((64, 64, 6), 2)
    small = {"patch": 8, "width": 16, "depth": 2, "heads": 2, "global_blocks": (1,), "window": 3, "prompt_width": 16}
    segmenter = prompts.segmenter_of({**small, "decoder_width": 32, "canvas": 40})
    work = prompts.compare_runs(segmenter, SMALL, image, prompts.ladder_prompts(image, lesion)[-1])
    encode, encoded = segmenter.network.encode, []
    monkeypatch.setattr(segmenter.network, "encode", lambda pictures: encoded.append(len(pictures)) or encode(pictures))
    work.fast()
    assert encoded == []  # from the first run on, the folder is there
    _check(work)
    assert encoded


def test_a_lesion_is_followed_as_by_the_packaged_predictor():
    changes = {"width": 32, "trunk_width": 16, "stages": (1, 1, 2, 1), "global_blocks": (3,), "memory_layers": 1, "memory_feedforward": 32}
    size = Sam2Size(**changes)
    work = propagation.compare_following({**changes, "canvas": 64}, *_slab((64, 64, 6), 2), size)
    assert 0.01 < work.fast().mean() < 0.99
    assert _check(work).value == 1.0


@pytest.mark.parametrize("far", [False, True])
def test_overlaps_are_those_of_monai(far):
    work = evaluation.compare_metrics((60, 60, 30), far)
    assert set(work.plain()) <= set(metrics.UNITS)
    _check(work)


def test_resampled_statistics_are_those_of_a_loop(monkeypatch):
    monkeypatch.setattr(evaluation.intervals, "RESAMPLES", 9_999)
    _check(evaluation.compare_statistics(models=3, patients=40, resamples=500))


def test_a_series_is_read_as_by_simpleitk_and_a_plain_rasterizer(tmp_path, dicom):
    stored = np.random.default_rng(0).integers(0, 2000, (6, 32, 40)).astype(np.int16)
    dicom.ct_series(tmp_path / "ct", stored, origin=(-10.0, 5.0, 3.0), spacing=(0.8, 0.8, 2.0))
    outline = np.array([[0.0, 9.0], [12.0, 9.0], [12.0, 20.0], [0.0, 20.0]])
    contours = [np.column_stack([outline, np.full(4, 3.0 + 2 * k)]) for k in (1, 2, 3)]
    dicom.rtstruct(tmp_path / "ct" / "contours.dcm", {"GTV-1": contours})
    work = reading.compare_reading(tmp_path / "ct")
    assert work.fast()[1].array.any()
    assert _check(work).value == 1.0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_litemedsams_encoder_leads_to_the_masks_of_its_packaged_classes(monkeypatch, precision):
    monkeypatch.setattr(litemedsam, "real_nodule", lambda: _nodule(2))
    assert _check(litemedsam.compare_encoder(precision)).value >= 0.99


def test_litemedsams_ladder_from_disk_is_that_of_the_packaged_classes(monkeypatch):
    monkeypatch.setattr(litemedsam, "DRAWS", 1)
    work = litemedsam.compare_ladder(_nodule(2))
    assert _check(work).value >= 0.99
    assert work.plain_share == pytest.approx(1 / 3)  # exact boxes, and two errors drawn once


def _nodule(slices):
    image, lesion = _slab((50, 50, slices), 0)
    return Study(image, {"consensus": lesion})


def test_readers_outlines_are_judged_as_by_a_plain_loop(monkeypatch):
    few = [nodule for nodule in lidc_outlines.nodules() if len(nodule.annotations) > 1][::400]
    monkeypatch.setattr(lidc_outlines, "nodules", lambda: few)
    work = readers.compare_who(few, len(few))
    assert len(work.plain()) >= 2 * len(few)
    _check(work)


def test_cubes_and_their_readers_are_read_as_by_a_plain_script(real_data, tmp_path):
    (tmp_path / "lidc_nodules").mkdir()
    for path in sorted((real_data / "lidc_nodules").glob("*.mha"))[:3]:
        shutil.copy(path, tmp_path / "lidc_nodules")
    assert _check(readers.compare_cubes(tmp_path, 3)).value >= 0.99


def test_what_a_started_program_prints_is_looked_at():
    work = starts.compare_starts(["-c", "print('unet medsam')"], ["unet", "medsam"])
    assert _check(work).value == 0
    assert work.check("unet", "").value == 1
    assert "medsam" in registry.names("models")


@pytest.mark.parametrize(
    "compare",
    [
        lambda: training.compare_automatic("unet", 3, (16, 16, 16)),
        lambda: training.compare_automatic("deeplabv3", 3, (2, 64, 64)),
        lambda: training.compare_vits(3),
        lambda: training.compare_sam2(3),
    ],
    ids=["unet", "deeplabv3", "vit", "sam2"],
)
def test_training_loses_as_in_a_plain_loop(compare):
    work = compare()
    assert len(work.fast()) == 3
    assert work.fast()[0] != work.fast()[-1]
    _check(work)


@pytest.mark.parametrize("name", ["notebook", "start_report"])
def test_rows_that_name_modules_of_the_package_run(name):
    _check(rows.load(name).prepare(rows.Setting()))


def test_ten_times_the_cases_are_ten_times_the_rows():
    assert len(evaluation.evaluate(20)) == 10 * len(evaluation.evaluate(2))


# --- the way of measuring ---------------------------------------------------------------------------------------------


class _Paths:
    """Paths that answer at once, and the order in which they were taken."""

    def __init__(self, fast=1, plain=1):
        self.fast, self.plain, self.order = fast, plain, []

    def prepare(self, setting):
        def path(name, answer):
            return lambda: (self.order.append(name), answer)[1]

        check = lambda a, b: rows.Agreement("difference", abs(a - b), 0.5)  # noqa: E731
        return rows.Work(path("fast", self.fast), path("plain", self.plain), check, 0.0, 0.0, plain_share=0.5)


def _row(prepare=None, **card):
    return rows.Row(prepare or _Paths().prepare, "work", "plain", goal=1.0, pairs=3, warm=False, **card)


def test_pairs_take_turns_in_who_comes_first_and_a_share_is_scaled(monkeypatch):
    counted = _Paths()
    monkeypatch.setattr(rows, "load", lambda name: _row(counted.prepare))
    monkeypatch.setattr(measure, "seconds", lambda action, device: (2.0, action()))
    monkeypatch.setattr(measure, "product_per_second", lambda *_: 1e9)
    figures = measure.here("counted", rows.Setting())
    assert counted.order == ["fast", "plain", "plain", "fast", "fast", "plain"]
    assert figures["plain_seconds"] == 4.0  # half of the work in 2 s
    assert (figures["value_min"], figures["value_median"], figures["value_max"]) == (2.0, 2.0, 2.0)


def test_paths_that_disagree_are_no_comparison(monkeypatch):
    monkeypatch.setattr(rows, "load", lambda name: _row(_Paths(fast=1, plain=2).prepare))
    with pytest.raises(InputError, match="do not agree: difference 1"):
        measure.here("counted", rows.Setting())


@pytest.mark.parametrize(("kind", "values", "worst"), [("difference", [0.1, 0.3, 0.2], 0.3), ("dice", [0.999, 0.992, 0.998], 0.992)])
def test_every_pair_is_compared_and_the_worst_agreement_told(monkeypatch, kind, values, worst):
    limit, left = {"difference": 0.5, "dice": 0.99}[kind], iter([*values, float("nan")])
    work = rows.Work(lambda: None, lambda: None, lambda a, b: rows.Agreement(kind, next(left), limit), 0.0, 0.0)
    monkeypatch.setattr(rows, "load", lambda name: _row(lambda setting: work))
    monkeypatch.setattr(measure, "product_per_second", lambda *_: 1e9)
    assert measure.here("counted", rows.Setting(), pairs=3)["agreement_value"] == worst
    with pytest.raises(InputError, match="do not agree"):
        measure.here("counted", rows.Setting(), pairs=1)


def test_answers_of_a_pair_are_let_go_before_the_next(monkeypatch):
    alive = weakref.WeakSet()

    def answer():
        assert len(alive) <= 1  # of this pair
        alive.add(found := _Paths())  # anything that a weak reference can hold
        return found

    work = rows.Work(answer, answer, lambda a, b: rows.Agreement("difference", 0.0, 0.5), 0.0, 0.0)
    monkeypatch.setattr(rows, "load", lambda name: _row(lambda setting: work))
    monkeypatch.setattr(measure, "product_per_second", lambda *_: 1e9)
    measure.here("counted", rows.Setting(), pairs=4)


def test_a_gain_is_a_ratio_and_an_extra_a_difference():
    assert measure.compare(speed.GAIN, fast=2.0, plain=6.0) == 3.0
    assert measure.compare(speed.EXTRA, fast=2.5, plain=2.0) == 0.5


def test_a_named_row_runs_whatever_its_length_and_others_only_in_a_full_run(monkeypatch):
    cards = {"short": _row(), "long": _row(overnight=True), "gpu": _row(device="cuda")}
    monkeypatch.setattr(rows, "known", lambda: cards)
    monkeypatch.setattr(rows, "load", cards.get)
    assert command_line.choose([], "cpu", full=False) == ["short"]
    assert command_line.choose([], "cpu", full=True) == ["short", "long"]
    assert command_line.choose(["long"], "cpu", full=False) == ["long"]
    assert command_line.choose([], "cuda", full=False) == ["gpu"]


def test_every_row_says_what_it_is_and_an_unknown_one_is_refused():
    assert len(rows.known()) == 27
    for card in rows.known().values():
        assert card.work
        assert card.compared in (speed.GAIN, speed.EXTRA)
    with pytest.raises(InputError, match="Choose among"):
        rows.load("nothing")


# --- the table --------------------------------------------------------------------------------------------------------


def _figures(**changes):
    figures = {name: "x" if kind is str else kind(1) for name, kind in speed.COLUMNS.items()}
    figures |= {"compared": speed.GAIN, "agreement": "dice", "agreement_value": 1.0, "agreement_limit": 0.99, "goal": 2.0}
    return pd.DataFrame([figures | changes]).astype(dict(speed.COLUMNS))


def test_a_goal_is_met_from_above_by_a_gain_and_from_below_by_an_extra():
    assert not speed.is_met(_figures(value_median=1.9)).item()
    assert speed.is_met(_figures(value_median=2.0)).item()
    assert speed.is_met(_figures(compared=speed.EXTRA, value_median=1.9)).item()
    assert not speed.is_met(_figures(compared=speed.EXTRA, value_median=2.1)).item()
    assert speed.is_met(_figures(goal=math.nan, value_median=0.1)).item()


def test_the_page_says_which_rows_miss_their_goal_and_draws_one_line_a_gain():
    rows_shown = [{"row": "good", "value_median": 3.0}, {"row": "bad", "value_median": 1.0}, {"row": "free", "goal": math.nan}]
    table = pd.concat([_figures(**changes) for changes in rows_shown] + [_figures(row="start", compared=speed.EXTRA, goal=0.5)])
    said = speed.page_values(table)
    assert (said["rows"], said["met"], said["missed"]) == ("3", "1", "bad, start")
    axes = speed.gains(table).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bad", "free", "good"]
    assert speed.printable(table)["goal"].tolist() == ["≥ 2x, met", "≥ 2x, missed", "none", "≤ 0.5 s more, missed"]


def test_the_floor_is_what_takes_longer_of_operations_and_bytes():
    compute = _figures(operations=6e9, operations_per_second=2e9, bytes=1e9, bytes_per_second=1e9)
    traffic = _figures(operations=6e9, operations_per_second=2e9, bytes=9e9, bytes_per_second=1e9)
    assert [speed.floor_seconds(f).item() for f in (compute, traffic)] == [3.0, 9.0]
    assert speed.printable(compute.assign(fast_seconds=12.0))["share of the floor (floor)"].item().startswith("0.25 (")
    assert speed.printable(_figures(operations=0.0, bytes=0.0))["share of the floor (floor)"].item() == "–"


def test_rows_of_several_machines_bear_the_machines_name():
    one = pd.concat([_figures(row=name, device="AMD, 2 cores", value_median=3.0) for name in "ab"], ignore_index=True)
    assert speed.printable(one)["row"].tolist() == ["a", "b"]
    slow = _figures(row="a", device="Intel, 2 cores", goal=2.0, value_median=1.0)
    both = pd.concat([one, slow, _figures(row="b", device="Intel, 2 cores", value_median=9.0)], ignore_index=True)
    assert speed.printable(both)["row"].tolist() == ["a · AMD", "b · AMD", "a · Intel", "b · Intel"]
    assert speed.page_values(both)["missed"] == "a · Intel"
    assert speed.page_values(both)["device"] == "AMD, 2 cores; Intel, 2 cores"
    names = [label.get_text() for label in speed.gains(both).axes[0].get_yticklabels()]
    assert names == ["a · AMD", "a · Intel", "b · AMD", "b · Intel"]


def test_works_and_origins_are_told_once_for_all_rows_that_share_them():
    share = {"against": "plain", "plain_share": 1.0}
    first = [_figures(row=name, device="AMD, 2 cores", work="w" + name, commit="c1", **share) for name in "ab"]
    second = [
        _figures(row=name, device="Intel(R), 2 cores", work=work, commit="c2", **share) for name, work in (("a", "wa"), ("b", "other"))
    ]
    table = pd.concat([*first, *second], ignore_index=True)
    assert speed.works(table)[["row", "work"]].to_numpy().tolist() == [["a", "wa"], ["b", "wb"], ["b", "other"]]
    origins = speed.provenance(table)[["device", "commit", "rows"]].to_numpy().tolist()
    assert origins == [["AMD, 2 cores", "c1", "a, b"], ["Intel(R), 2 cores", "c2", "a, b"]]
    assert speed.printable(table)["row"].tolist()[2] == "a · Intel"


def test_a_new_figure_replaces_that_of_the_same_machine_only():
    old = pd.concat([_figures(value_median=1.0), _figures(value_median=1.0, device="other")], ignore_index=True)
    both = speed.merged(old, _figures(value_median=3.0))
    assert both.set_index("device")["value_median"].to_dict() == {"other": 1.0, "x": 3.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agreement_value": 0.98}, "do not agree"),
        ({"agreement": "difference", "agreement_value": math.nan}, "do not agree"),
        ({"compared": "faster"}, "unknown compared 'faster'"),
    ],
)
def test_a_table_with_a_fault_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        speed.validate(_figures(**changes))


def test_figures_are_written_with_where_they_come_from_and_a_failed_row_leaves_the_others(tmp_path, monkeypatch, capsys):
    def apart(name, *_):
        if name == "bad":
            raise InputError("row bad", "failed", "Look.")
        return _figures(row=name).iloc[0].to_dict()

    monkeypatch.setattr(measure, "apart", apart)
    out = tmp_path / "bench.csv"
    assert command_line.run(["good", "bad", "better"], rows.Setting(), 2, None, out) == ["bad"]
    table = speed.read(out)
    assert table["row"].tolist() == ["better", "good"]
    assert table["threads"].tolist() == [2, 2]
    assert set(table["versions"]) == {f"torch {torch.__version__}, numpy {np.__version__}"}
    assert "row bad" in capsys.readouterr().err


def test_an_unknown_row_is_refused_with_the_known_ones(tmp_path, capsys):
    assert command_line.main(["--only", "nothing", "--out", str(tmp_path / "bench.csv")]) == 2
    assert "encoder_vit_b" in capsys.readouterr().err


def test_what_a_row_prints_is_shown_only_if_it_fails(capfd):
    figures = measure.apart("start_list", rows.Setting(), threads=1, pairs=1)
    assert figures["row"] == "start_list"
    assert capfd.readouterr() == ("", "")
    with pytest.raises(InputError, match="failed with exit status 1"):
        measure.apart("nothing", rows.Setting(), threads=1, pairs=1)
    assert "there is none of this name" in capfd.readouterr().err

"""Costs of full-size architectures: FLOPs counted by hand, published sizes, the table, resuming, and one small model measured for real."""

import dataclasses
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch

from lungseg_utils import __main__ as command_line
from lungseg_utils.core import project
from lungseg_utils.experiments.costs import architectures, measure
from lungseg_utils.experiments.costs.meter import count_flops
from lungseg_utils.experiments.costs.subjects import TUMOR_SLICES, Subject, build, choose, subjects
from lungseg_utils.experiments.costs.table import SETTING, UNITS, one_setting, read, rows_frame, validate
from lungseg_utils.reporting import costs as page
from lungseg_utils.types import InputError

TINY_SAM = {"canvas": 32, "patch": 8, "width": 16, "depth": 2, "heads": 2, "global_blocks": (1,), "window": 2, "prompt_width": 16}
TINY = Subject("tiny", "tiny SAM", "sam_stand_in", "for tests", TINY_SAM | {"decoder_width": 32})
TINY_SAM2 = Subject(
    "tiny2", "tiny SAM 2", "sam2_stand_in", "for tests", {"canvas": 64, "width": 32, "trunk_width": 16, "stages": (1, 1, 2, 1)}
)


def _subject(name):
    (subject,) = choose([name])
    return subject


def _measured_here(subject, repeats):
    setting = {"device": "x", "threads": 1, "commit": "abc"}
    return validate(rows_frame([{**row, **setting} for row in measure.measure_here(subject, repeats)]))


# --- FLOPs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_flops_of_layers_that_can_be_counted_by_hand(mode):
    linear, convolution = torch.nn.Linear(3, 5), torch.nn.Conv2d(2, 4, 3, padding=1)
    rows, picture, tokens = torch.rand(7, 3), torch.rand(1, 2, 8, 8), torch.rand(1, 2, 64, 16)
    with mode():
        assert count_flops(lambda: linear(rows)) == 2 * 7 * 3 * 5
        assert count_flops(lambda: convolution(picture)) == 2 * (8 * 8) * (3 * 3) * 2 * 4
        # queries by keys, then weights by values: two products of 64 x 64 x 16 in each of two heads; torch's own counter says 0 on a CPU
        attended = count_flops(lambda: torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens))
    assert attended == 2 * (2 * 2 * 64 * 64 * 16)


def test_a_picture_twice_as_large_takes_four_times_the_flops_of_a_convolution():
    convolution = torch.nn.Conv2d(1, 3, 3, padding=1)
    small, large = (count_flops(lambda n=n: convolution(torch.zeros(1, 1, n, n))) for n in (16, 32))
    assert large == 4 * small


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "millions"), [("sam", 93.7), ("medsam", 93.7), ("deeplabv3_resnet101", 58.6)])
def test_networks_have_their_published_numbers_of_parameters(name, millions):
    """SAM ViT-B: arXiv:2304.02643; DeepLabV3: torchvision's 61.0 M less its auxiliary head of 2.36 M."""
    with torch.device("meta"):  # shapes alone
        segmenter = build(_subject(name), "meta")
    assert segmenter.parameters()["parameters"] / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(("name", "millions"), [("sam2", 38.9), ("medsam2", 38.9), ("medical_sam2", 38.9)])
def test_sam2_has_its_published_number_of_parameters(name, millions):
    """Hiera-T: the package's table of checkpoints, github.com/facebookresearch/sam2."""
    assert build(_subject(name)).parameters()["parameters"] / 1e6 == pytest.approx(millions, abs=0.1)


def test_what_fine_tuning_moves_is_counted_and_nothing_of_a_model_used_as_published():
    counts = {}
    for name in ("sam", "medsam"):
        subject = _subject(name)
        with torch.device("meta"):
            segmenter = build(subject, "meta")
        counts[name] = architectures._trained_parameters(subject, segmenter)
        prompt_encoder = sum(p.numel() for p in segmenter.network.prompt_encoder.parameters())
    assert counts["sam"]["parameters_trained"] == 0
    # as MedSAM's own training script prints them (github.com/bowang-lab/MedSAM, train_one_gpu.py)
    assert counts["medsam"] == {"parameters": 93_735_472, "parameters_trained": 93_729_252}
    assert prompt_encoder == 93_735_472 - 93_729_252


def test_nnunet_is_planned_as_published_for_this_task():
    """80 x 192 x 160 and 512 x 512: nnU-Net's plans for Task06 Lung, doi:10.1038/s41592-020-01008-z."""
    three, two = architectures.plan_nnunet("3d_fullres"), architectures.plan_nnunet("2d")
    assert three.patch == (80, 192, 160)
    assert two.patch == (512, 512)
    # 300 mm of 1.245 and 409.6 mm of 0.785 are 241 x 522 x 522 voxels; steps of at most 40, 96 and 80: 6 x 5 x 6
    assert architectures.tiles(three) == 180
    assert architectures.tiles(two) == 120 * 2 * 2


def test_the_lesion_of_the_reference_volume_lies_on_twelve_slices_and_in_its_box():
    image, prompt = architectures.reference_slice()
    box = prompt.slices[0].box
    assert TUMOR_SLICES == 12
    assert image.shape == (512, 512, 1)
    assert all(high - low == 38 for low, high in zip(box.ijk_min[:2], box.ijk_max[:2], strict=True))  # 30 mm of 0.8 mm: 37.5


# --- the table -------------------------------------------------------------------------------------------------------


def _rows(name="sam", prompted=True, threads=1, commit="abc", scale=1.0):
    """Rows as `measure_apart` gives them, and the setting: invented numbers."""
    prompts = 12 if prompted else 0
    stages = [("encode", 10.0), ("prompt", 0.1), ("cold", 10.1)] if prompted else [("input", 2.0)]
    volume = f"volume_{'box_every_slice' if prompted else 'none'}"
    found = [("network", "parameters", 9e7, "counted"), ("network", "parameters_trained", 9e6, "counted")]
    for stage, seconds in stages:
        found += [(stage, "flops", 1e12 * seconds * scale, "counted"), (stage, "peak_memory", 900.0, "measured")]
        found += [(stage, q, seconds * scale, "measured") for q in ("seconds", "seconds_min", "seconds_max")]
    found += [(volume, "seconds", 120.0 * scale, "extrapolated"), (volume, "flops", 1e14 * scale, "extrapolated")]
    found += [(volume, "slices", 12 if prompted else 120, "counted"), (volume, "prompts", prompts, "counted")]
    shared = {"model": name, "configuration": "x", "input": "1024 x 1024", "precision": "fp32", "torch": "2"}
    setting = {"device": "A, 2 cores", "threads": threads, "commit": commit}
    return [
        {**shared, **setting, "stage": s, "quantity": q, "value": v, "unit": UNITS[q], "kind": k, "repeats": int(k != "counted")}
        for s, q, v, k in found
    ]


@pytest.fixture
def table():
    rows = _rows("unet", prompted=False, scale=0.1) + _rows("nnunet_3d", prompted=False, scale=20) + _rows("sam")
    return validate(rows_frame([*rows, *_rows("medsam"), *_rows("sam2", scale=0.3)]))


def test_a_table_is_read_as_it_was_written(tmp_path, table):
    from lungseg_utils.core import files

    files.write(table, tmp_path / "costs.csv")
    pd.testing.assert_frame_equal(read(tmp_path / "costs.csv"), table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "guessed"}, "kind 'guessed'"),
        ({"quantity": "dsc"}, "quantity 'dsc'"),
        ({"stage": "warm"}, "stage 'warm'"),
        ({"unit": "ms"}, "unit does not belong"),
        ({"value": np.nan}, "not finite"),
        ({"value": -1.0}, "negative"),
    ],
)
def test_a_table_with_a_fault_is_refused_by_name(table, change, message):
    for column, value in change.items():
        table.loc[3, column] = value
    with pytest.raises(InputError, match=message):
        validate(table)


def test_doubled_rows_other_columns_and_a_missing_file_are_refused(tmp_path, table):
    with pytest.raises(InputError, match="doubled"):
        validate(pd.concat([table, table.iloc[:1]], ignore_index=True))
    with pytest.raises(InputError, match="columns"):
        validate(table.drop(columns="kind"))
    with pytest.raises(InputError, match="lungseg_utils efficiency"):
        read(tmp_path / "none.csv")


def test_an_unknown_model_is_named(capsys):
    with pytest.raises(InputError, match=r"resnet9000.*Choose among unet"):
        choose(["sam", "resnet9000"])
    assert command_line.main(["efficiency", "--models", "resnet9000"]) == 2
    assert "resnet9000" in capsys.readouterr().err


def test_subjects_have_names_of_their_own_and_optional_ones_are_asked_for():
    names = [subject.name for subject in subjects()]
    assert len(set(names)) == len(names)
    assert "sam2_small" not in [subject.name for subject in choose()]
    assert [subject.name for subject in choose(["sam2_small", "unet"])] == ["unet", "sam2_small"]


# --- resuming --------------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch):
    """The names that `measure` asks to be measured; what is in `measured.broken` fails, "stop" is an interruption."""

    class Calls(list):
        broken: frozenset[str] = frozenset()

    calls = Calls()

    def apart(subject, repeats, threads, device):
        calls.append(subject.name)
        if subject.name == "stop":
            raise KeyboardInterrupt
        own = [{k: v for k, v in row.items() if k not in ("device", "threads", "commit")} for row in _rows(subject.name)]
        return None if subject.name in calls.broken else own

    monkeypatch.setattr(measure, "measure_apart", apart)
    monkeypatch.setenv("LUNGSEG_COMMIT", "abc")
    return calls


def _measure(names, out, **arguments):
    subjects = [dataclasses.replace(TINY, name=name) for name in names]
    return measure.measure(subjects, out, **{"repeats": 1, "threads": 1, "device": "cpu", **arguments})


def test_an_interrupted_run_keeps_what_it_measured_and_goes_on(measured, tmp_path):
    out = tmp_path / "costs.csv"
    with pytest.raises(KeyboardInterrupt):
        _measure(["a", "stop", "b"], out)
    assert set(read(out)["model"]) == {"a"}
    _measure(["a", "b"], out)
    assert measured == ["a", "stop", "b"]
    _measure(["a", "b"], out, again=True)
    assert measured[3:] == ["a", "b"]
    assert len(read(out)) == 2 * len(_rows())


def test_another_commit_replaces_and_other_threads_stand_beside(measured, tmp_path, monkeypatch):
    out = tmp_path / "costs.csv"
    _measure(["a", "b"], out)
    _measure(["a"], out, threads=2)
    monkeypatch.setenv("LUNGSEG_COMMIT", "def")
    _measure(["a"], out)
    assert measured == ["a", "b", "a", "a"]
    frame = read(out)
    assert set(frame.loc[(frame["model"] == "a") & (frame["threads"] == 1), "commit"]) == {"def"}
    assert set(frame.loc[frame["model"] == "b", "commit"]) == {"abc"}
    chosen = one_setting(frame)
    assert set(chosen["threads"]) == {1}
    assert set(chosen["model"]) == {"a", "b"}


def test_a_model_that_fails_is_reported_and_the_others_are_measured(measured, tmp_path):
    measured.broken = frozenset({"b"})
    assert _measure(["a", "b", "c"], tmp_path / "costs.csv") == ["b"]
    assert set(read(tmp_path / "costs.csv")["model"]) == {"a", "c"}


def test_no_repeats_are_refused(measured, tmp_path):
    with pytest.raises(InputError, match="0 repeats"):
        _measure(["a"], tmp_path / "costs.csv", repeats=0)


# --- measured for real -----------------------------------------------------------------------------------------------


def test_a_small_model_is_measured_in_its_own_process(tmp_path):
    out = tmp_path / "costs.csv"
    assert measure.measure([TINY], out, repeats=2, threads=1, device="cpu") == []
    frame = read(out).set_index(["stage", "quantity"])
    assert frame.loc[("network", "parameters"), "value"] == 94_622
    cold, encode, prompt = (frame.loc[(stage, "flops"), "value"] for stage in ("cold", "encode", "prompt"))
    assert 0 < prompt < encode < cold == encode + prompt
    for stage in ("encode", "prompt", "cold"):
        low, middle, high = (frame.loc[(stage, q), "value"] for q in ("seconds_min", "seconds", "seconds_max"))
        assert 0 < low <= middle <= high
        assert set(frame.loc[stage].loc[["seconds", "peak_memory"], "kind"]) == {"measured"}
        assert 0.4 < frame.loc[(stage, "peak_memory"), "value"] < 400  # MB; the weights alone take 0.4
    every = frame.loc["volume_box_every_slice"]
    assert set(every.loc[["seconds", "flops"], "kind"]) == {"extrapolated"}
    assert every.loc["seconds", "value"] == pytest.approx(12 * frame.loc[("cold", "seconds"), "value"])
    assert frame.loc[("volume_box_one_slice", "slices"), "value"] == 14
    assert "cores" in frame["device"].iloc[0]


def test_a_process_that_fails_is_no_result(capfd):
    assert measure.measure_apart(dataclasses.replace(TINY, model="nonesuch"), 1, 1, "cpu") is None
    assert "nonesuch" in capfd.readouterr().err


def test_sam2_looks_at_the_lesion_and_three_slices_beyond_each_end():
    frame = _measured_here(TINY_SAM2, 1).set_index(["stage", "quantity"])
    one = frame.loc["volume_box_one_slice"]
    assert one.loc["slices", "value"] == 12 + 2 * 3
    assert one.loc["prompts", "value"] == 1
    assert set(one.loc[["seconds", "flops"], "kind"]) == {"extrapolated"}
    # the memory is empty at first: the whole walk takes less than full looks would
    encode, track = (frame.loc[(stage, "flops"), "value"] for stage in ("encode", "track"))
    assert 18 * encode < one.loc["flops", "value"] < 18 * (encode + track)


def test_an_image_is_answered_anew_in_every_timed_run():
    """Segmenters keep the answer to the image that they saw last; a run that gave it back would take no time."""
    options = {"spacing_mm": (20.0, 20.0, 20.0), "widths": (4, 8), "residual_units": 0, "slab": 4, "slab_overlap": 0}
    subject = Subject("tiny3", "tiny U-Net", "unet", "for tests", options, whole_volume=True)
    frame = _measured_here(subject, 2).set_index(["stage", "quantity"])
    volume = frame.loc["volume_none"]
    assert volume.loc["seconds", "kind"] == "measured"
    assert volume.loc["seconds_min", "value"] > 0.01  # resampling 31 million voxels takes longer than that
    assert volume.loc["slices", "value"] == 120


# --- figures ---------------------------------------------------------------------------------------------------------


def test_figures_have_units_on_their_axes_and_hatches_for_people(table):
    speed = page.seconds_over_flops(table).axes[0]
    assert (speed.get_xscale(), speed.get_yscale()) == ("log", "log")
    assert "GFLOP" in speed.get_xlabel()
    assert "(s)" in speed.get_ylabel()
    assert any(text.get_text() == "SAM (ViT-B)\nMedSAM (ViT-B)" for text in speed.texts)  # one architecture, one label
    assert "GB" in page.memory(table).axes[0].get_xlabel()
    none, every = page.seconds_per_volume(table).axes
    assert "(s)" in every.get_xlabel()
    assert not any(bar.get_hatch() for bar in none.patches)
    bands = [bar for bar in every.patches if bar.get_hatch()]
    assert len(bands) == 3
    assert (bands[0].get_x(), bands[0].get_x() + bands[0].get_width()) == (84, 420)  # 12 boxes of 7 to 35 s


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_label_covers_another_one_or_a_point(device):
    everything = read(project.project_root() / "data" / "results" / f"efficiency_{device}.csv")
    for _, costs in everything.groupby(list(SETTING)):
        figure = page.seconds_over_flops(costs)
        axes = figure.axes[0]
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in axes.texts if "GFLOP/s" not in text.get_text()]
        assert len(boxes) > 5
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        points = np.concatenate([axes.transData.transform(found.get_offsets()) for found in axes.collections])
        assert not any(box.contains(*point) for box in boxes for point in points)
        assert all(axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1) for box in boxes)


def test_tables_for_people_say_what_was_extrapolated(table):
    volumes = page.printable_volumes(table).set_index("model")
    assert volumes.loc["SAM (ViT-B)", "machine"] == "≈ 2 min"
    assert volumes.loc["SAM (ViT-B)", "how"] == "extrapolated"
    assert volumes.loc["SAM (ViT-B)", "person"] == "84 s to 7 min"
    assert volumes.loc["U-Net, as trained here", "person"] == "–"
    models = page.printable_models(table).set_index("model")
    assert models.loc["SAM (ViT-B)", "s per slice"] == "10.1"
    assert models.loc["U-Net, as trained here", "s per slice"] == "0.1"  # 12 s over 120 slices
    assert not any("DSC" in column for column in [*models.columns, *volumes.columns])


def test_two_machines_are_compared_by_what_was_measured_on_both(table):
    halved = table[table["model"] != "unet"].assign(
        device="a card", value=lambda t: t["value"].where(t["quantity"] != "seconds", t["value"] / 2)
    )
    shown = page.printable_machines(table, halved)
    assert len(shown)
    assert set(shown["times faster"]) == {"2"}
    assert "U-Net, as trained here" not in set(shown["model"])
    assert shown.columns[3].startswith("a card")
    values = page.machine_values(table, halved)
    assert values["missing"] == "U-Net, as trained here"
    assert values["least_gain"] == values["most_gain"] == "2"


def test_models_that_compute_the_same_show_how_far_two_processes_differ(table):
    def one(model, flops, **seconds):
        rows = [(model, stage, quantity, v) for stage, s in seconds.items() for quantity, v in (("flops", flops), ("seconds", s))]
        return pd.DataFrame(rows, columns=["model", "stage", "quantity", "value"])

    twins = [one("sam", 1000.0, cold=2.0, prompt=0.3), one("medsam", 1000.5, cold=1.0, prompt=0.4), one("unet", 7.0, input=9.0)]
    assert page.spread_of_twins(pd.concat([*twins, one("sam2", 1100.0, cold=8.0, prompt=0.1)])) == 2.0
    assert page.spread_of_twins(pd.concat(twins[1:])) == 1.0  # no twins
    assert page.page_values(table)["twins"] == f"{page.spread_of_twins(table):.1f}"


def test_answers_give_times_and_the_setting_that_they_belong_to(table):
    values = page.page_values(table)
    assert values["sam_box_every_slice"] == "≈ 2 min"
    assert values["sam_encode_share"] == "99 %"
    assert values["threads"] == "1"
    assert values["person_every"] == "84 to 420 s"


@pytest.mark.parametrize(("seconds", "text"), [(0.042, "0.042 s"), (9.96, "10 s"), (95, "95 s"), (600, "10 min"), (7200, "2 h")])
def test_durations_are_told_in_two_digits(seconds, text):
    assert page.duration(seconds) == text

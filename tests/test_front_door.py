"""The public names: few, lazy, and documented on the page "Using it from Python"."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lungseg_utils as ls
from lungseg_utils.types import InputError

ROOT = Path(__file__).resolve().parents[1]
SPACING_MM = (0.8, 0.8, 2.5)


def test_there_are_at_most_fifteen_and_each_one_is_there():
    assert len(ls.__all__) == len(set(ls.__all__)) <= 15
    for name in ls.__all__:
        assert getattr(ls, name).__doc__, name
        assert name in dir(ls)
    with pytest.raises(AttributeError, match="no attribute 'telepathy'"):
        ls.telepathy  # noqa: B018


def test_the_import_alone_loads_neither_numpy_nor_torch():
    code = "import sys, lungseg_utils; sys.exit(any(name in sys.modules for name in ('numpy', 'pandas', 'torch', 'yaml')))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_prompts_is_a_function_for_users_and_a_folder_for_imports():
    ladder = importlib.import_module("lungseg_utils.prompts.ladder")
    assert callable(ls.prompts)
    assert "box_one_slice" in ladder.PROMPT_SETTINGS


def test_nobody_imports_the_package_by_a_dotted_name():
    """The hash of code does not follow `import lungseg_utils.x`, so a change there would be missed."""
    for path in (ROOT / "lungseg_utils").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "lungseg_utils" for name in names), path


def _cube(low: int) -> np.ndarray:
    array = np.zeros((20, 20, 8), bool)
    array[low : low + 4, 4:8, 2:6] = True
    return array


def test_arrays_need_the_size_of_a_voxel_and_give_a_row_a_metric():
    table = ls.score(_cube(4), _cube(6), spacing_mm=SPACING_MM).set_index("metric")
    assert table.loc["dsc", "value"] == 0.5
    assert table.loc["iou", "value"] == pytest.approx(1 / 3)
    assert table.loc["reference_volume", "value"] == pytest.approx(64 * 0.8 * 0.8 * 2.5 / 1000)
    assert table.loc["reference_volume", "unit"] == "ml"
    with pytest.raises(InputError, match="spacing_mm"):
        ls.score(_cube(4), _cube(6))


def test_prompts_come_from_a_mask_and_a_seed():
    mask = ls.Mask(_cube(4), np.diag([*SPACING_MM, 1.0]))
    (prompt,) = ls.prompts(mask, "box_one_slice")
    assert (prompt.slices[0].box.ijk_min[:2], prompt.slices[0].box.ijk_max[:2]) == ((4, 4), (8, 8))
    drawn = [ls.prompts(mask, "box_one_slice", seed=seed, jitter=0.4) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(InputError, match="telepathy"):
        ls.prompts(mask, "telepathy")


def test_a_model_predicts_from_a_box_and_says_what_is_wrong_with_one():
    image = ls.Image(np.full((20, 20, 8), -500.0), np.diag([*SPACING_MM, 1.0]))
    model = ls.load_model("trivial", rule="filled")
    mask = model.predict(image, box=((4, 4), (8, 8)), slice=3, follow=False)
    assert mask.array.sum() == 16
    assert mask.array[4:8, 4:8, 3].all()
    for wrong in ({"box": ((4, 4), (8, 8))}, {"box": ((4, 4), (30, 8)), "slice": 3}, {"points": [(40, 2)], "slice": 3}):
        with pytest.raises(InputError):
            model.predict(image, **wrong)
    with pytest.raises(InputError, match="one of the two"):
        model.predict(image, box=((4, 4), (8, 8)), slice=3, prompts=ls.prompts(ls.Mask(_cube(4), image.affine), "box_one_slice"))
    with pytest.raises(InputError, match="no option"):
        ls.load_model("trivial", color="red")
    with pytest.raises(InputError, match="no such file"):
        ls.load_model("medsam", weights="nowhere.pth")


def test_tables_that_hold_no_such_values_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("experiment\n")
    with pytest.raises(InputError, match=r"a\.csv"):
        ls.compare(tmp_path / "a.csv", tmp_path / "a.csv", metric="dsc", dataset="phantom_nsclc", prompt="none")

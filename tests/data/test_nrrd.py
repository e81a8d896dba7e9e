"""Masks of NRRD files: spaces, units, and headers that are not believed."""

import numpy as np
import pytest

from lungseg_utils.data import nrrd
from lungseg_utils.types import InputError

HEADER = {
    "type": "uint8",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "2 3 4",
    "space directions": "(1,0,0) (0,2,0) (0,0,3)",
    "encoding": "raw",
    "space origin": "(10,20,30)",
}
VOXELS = np.arange(24, dtype=np.uint8) % 2


def _file(tmp_path, without=(), **changes):
    header = {
        name: value for name, value in {**HEADER, **{k.replace("_", " "): v for k, v in changes.items()}}.items() if name not in without
    }
    path = tmp_path / "a.nrrd"
    path.write_bytes("\n".join(["NRRD0005", *(f"{k}: {v}" for k, v in header.items()), "", ""]).encode() + VOXELS.tobytes())
    return path


@pytest.mark.parametrize(
    ("space", "corner"),
    [
        ("left-posterior-superior", (-11, -24, 30)),  # RAS+: -x from -10 down to -11, -y from -20 down to -24
        ("LPS", (-11, -24, 30)),
        ("right-anterior-superior", (10, 20, 30)),
        ("left-anterior-superior", (-11, 20, 30)),
    ],
)
def test_the_space_says_which_side_is_left(tmp_path, space, corner):
    mask = nrrd.read_mask(_file(tmp_path, space=space))
    assert mask.shape == (2, 3, 4)
    assert mask.spacing_mm == (1.0, 2.0, 3.0)
    assert tuple(mask.affine[:3, 3]) == corner
    stored = VOXELS.reshape((2, 3, 4), order="F").astype(bool)
    turned = {-11: slice(None, None, -1), 10: slice(None)}[corner[0]], {-24: slice(None, None, -1), 20: slice(None)}[corner[1]]
    assert np.array_equal(mask.array, stored[turned])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"without": ["space"]}, "does not say which side is left"),
        ({"without": ["space origin"]}, "does not say which side is left"),
        ({"space": "scanner-xyz"}, "does not say which side is left"),
        ({"space_units": '"m" "m" "m"'}, "does not count in millimeters"),
        ({"space_directions": "(1,0,0) (0,nan,0) (0,0,3)"}, "places it nowhere"),
        ({"space_directions": "(1,0,0) (0,200,0) (0,0,3)"}, "voxels are 200.0 mm long"),
        ({"sizes": "1000000 1000000 1000000"}, "its header claims"),
        ({"sizes": "2 -3 4"}, "its header claims"),
        ({"sizes": "2 3 3"}, "cannot be read as NRRD"),
        ({"dimension": "4", "sizes": "2 2 3 2", "space_directions": "none (1,0,0) (0,2,0) (0,0,3)"}, "one layer"),
        ({"data_file": "/etc/passwd"}, "its voxels are in another file"),
        ({"line_skip": "9223372036854775807"}, "skips more than the file has"),
    ],
)
def test_a_header_that_is_not_believed_is_refused_by_name(tmp_path, changes, problem):
    with pytest.raises(InputError, match=rf"a\.nrrd: .*{problem}"):
        nrrd.labels_in(_file(tmp_path, **changes))

"""The source domain: same seed, same clip; one visible object that often ends inside; nothing shared with the lung phantoms."""

from __future__ import annotations

import ast
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import lungseg_utils
from lungseg_utils.networks.pretraining import canvas as drawing
from lungseg_utils.networks.pretraining import solids
from lungseg_utils.networks.pretraining.canvas import FIELD_MM
from lungseg_utils.networks.pretraining.clips import KINDS, Clip, _stands_out, draw_clip
from lungseg_utils.types import InputError

PACKAGE = Path(lungseg_utils.__file__).parent
draw_slice = partial(draw_clip, slices=1)
EVERYWHERE = np.ones((3, 3, 3), bool)
GRAY_OF_HU = {hu: (hu + 910) / 1500 for hu in (-850, -100, 50)}


@pytest.fixture(scope="module")
def slices() -> dict[str, list[Clip]]:
    return {kind: _draw(draw_slice, kind, 150) for kind in KINDS}


@pytest.fixture(scope="module")
def clips() -> dict[str, list[Clip]]:
    return {kind: _draw(draw_clip, kind, 60) for kind in KINDS}


def _draw(draw, kind: str, count: int) -> list[Clip]:
    rng = np.random.default_rng(11)
    return [draw(kind, rng) for _ in range(count)]


def _tight(mask: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(mask.any(axis=a)) for a in (1, 0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _ellipse_dsc(mask: np.ndarray) -> float:
    """DSC of a mask (rows, columns) with the ellipse inscribed in its tight box."""
    inside = _tight(mask)
    y, x = ((np.arange(n) - (n - 1) / 2) / (n / 2) for n in inside.shape)
    ellipse = y[:, None] ** 2 + x**2 <= 1
    return 2 * (ellipse & inside).sum() / (ellipse.sum() + inside.sum())


def _diameter_mm(mask: np.ndarray) -> float:
    return max(_tight(mask).shape) * FIELD_MM / len(mask)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("draw", [draw_clip, draw_slice])
def test_the_generator_decides_everything(kind: str, draw) -> None:
    one, same, other = (draw(kind, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.mask, same.mask)
    assert (one.image != other.image).mean() > 0.5
    rng = np.random.default_rng(3)
    draw(kind, rng)
    assert (draw(kind, rng).image != one.image).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_global_random_state_is_neither_read_nor_changed(kind: str) -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    draw_slice(kind, np.random.default_rng(0))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_types_and_ranges(kind: str, slices: dict[str, list[Clip]], clips: dict[str, list[Clip]]) -> None:
    for clip, shape in [(c, (1, 128, 128)) for c in slices[kind]] + [(c, (8, 128, 128)) for c in clips[kind]]:
        assert clip.image.shape == clip.mask.shape == shape
        assert (clip.image.dtype, clip.mask.dtype) == (np.float32, np.bool_)
        assert clip.image.min() >= 0
        assert clip.image.max() <= 1
        assert clip.image.std() > 0.005


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_is_one_object_that_the_middle_slice_shows(kind: str, slices: dict[str, list[Clip]], clips: dict[str, list[Clip]]) -> None:
    for clip in slices[kind] + clips[kind]:
        assert ndimage.label(clip.mask, structure=EVERYWHERE)[1] == 1
        middle = clip.mask[len(clip.mask) // 2]
        assert 12 <= middle.sum() <= 0.35 * middle.size


@pytest.mark.parametrize("kind", KINDS)
def test_the_object_often_ends_within_the_clip(kind: str, clips: dict[str, list[Clip]]) -> None:
    shown = np.array([clip.mask.any(axis=(1, 2)) for clip in clips[kind]])
    assert 0.35 <= (~shown[:, [0, -1]]).any(axis=1).mean() <= 0.8
    assert (~shown[:, [0, -1]]).all(axis=1).mean() >= 0.1
    assert shown.all(axis=1).mean() >= 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_extents_change_from_slice_to_slice_without_jumps(kind: str, clips: dict[str, list[Clip]]) -> None:
    overlaps, changed = [], []
    for clip in clips[kind]:
        for one, other in zip(clip.mask[:-1], clip.mask[1:], strict=True):
            if min(one.sum(), other.sum()) >= 40:
                overlaps.append(2 * (one & other).sum() / (one.sum() + other.sum()))
                changed.append((one != other).any())
    assert np.median(overlaps) > 0.85
    assert np.quantile(overlaps, 0.05) > 0.45
    assert np.mean(changed) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_an_ellipse_in_the_box_is_no_answer(kind: str, slices: dict[str, list[Clip]]) -> None:
    dsc = [_ellipse_dsc(clip.mask[0]) for clip in slices[kind]]
    assert 0.78 <= np.median(dsc) <= 0.9
    assert np.quantile(dsc, 0.1) < 0.78
    assert np.mean(np.array(dsc) > 0.95) < 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_span_a_decade(kind: str, slices: dict[str, list[Clip]]) -> None:
    diameters = [_diameter_mm(clip.mask[0]) for clip in slices[kind]]
    low, middle, high = np.quantile(diameters, [0.1, 0.5, 0.9])
    assert low < 12
    assert 15 < middle < 40
    assert high > 45
    assert max(diameters) <= 92


@pytest.mark.parametrize("kind", KINDS)
def test_most_objects_stand_out_and_some_barely(kind: str, slices: dict[str, list[Clip]]) -> None:
    seen = []
    for clip in slices[kind]:
        image, mask = clip.image[0], clip.mask[0]
        ring = ndimage.binary_dilation(mask, iterations=3) & ~ndimage.binary_dilation(mask)
        # What differs locally: a weak edge on one side may go with a strong one on the other.
        seen.append(np.quantile(np.abs(image[ring] - np.median(image[mask])), 0.8))
    assert np.quantile(seen, 0.05) > 0.015
    assert np.quantile(seen, 0.1) < 0.15
    assert np.median(seen) > 0.06


@pytest.mark.parametrize(("level", "seen"), [(0.5, False), (0.9, True)])
def test_texture_around_an_object_is_not_contrast(level: float, seen: bool) -> None:
    """A flat disc on stripes of mean 0.5 and SD 0.14 is camouflaged at 0.5 and plain at 0.9."""
    y, x = np.mgrid[:64, :64] - 31.5
    disc = y**2 + x**2 < 12**2
    values = np.where(disc, level, 0.5 + 0.2 * np.sin(x)).astype(np.float32)
    assert _stands_out(values, disc, visible=0.04) is seen


def test_ct_like_is_windowed_ct_and_shapes_are_not(slices: dict[str, list[Clip]]) -> None:
    """Most of a CT-like picture is air or lies between fat and enhanced tissue; shapes take any gray level alike."""
    share = {}
    for kind in KINDS:
        values = np.concatenate([clip.image[:, ::4, ::4].ravel() for clip in slices[kind]])
        share[kind] = np.mean((values < GRAY_OF_HU[-850] + 0.05) | ((values > GRAY_OF_HU[-100] - 0.07) & (values < GRAY_OF_HU[50] + 0.12)))
    assert share["ct_like"] > 0.85
    assert share["shapes"] < 0.6
    assert GRAY_OF_HU[-850] == pytest.approx(0.04)


@pytest.mark.parametrize("kind", KINDS)
def test_other_sizes_show_the_same_field(kind: str) -> None:
    rng = np.random.default_rng(2)
    small = [draw_clip(kind, rng, size=64, slices=3) for _ in range(60)]
    assert all(clip.image.shape == clip.mask.shape == (3, 64, 64) for clip in small)
    assert min(clip.mask[1].sum() for clip in small) >= 3
    assert 15 < np.median([_diameter_mm(clip.mask[1]) for clip in small]) < 40
    coarse, fine = (draw_slice(kind, np.random.default_rng(8), size) for size in (64, 128))
    averaged = fine.image.reshape(64, 2, 64, 2).mean(axis=(1, 3))
    assert np.corrcoef(averaged.ravel(), coarse.image.ravel())[0, 1] > 0.8


def test_a_ball_cut_by_a_slice_covers_its_disc() -> None:
    """A ball of radius 20 mm through its centre covers pi 20^2 mm^2 and reaches sqrt(20^2 - 12^2) = 16 mm at a height of 12."""
    canvas = drawing.make_canvas(np.random.default_rng(0), 256, 1)
    for height, radius in ((0.0, 20.0), (12.0, 16.0)):
        ball = solids.Star(np.array([height, 5.0, -7.0]), np.eye(3), np.full(3, 20.0))
        area = ball.cover(canvas, canvas.whole()).sum() * canvas.pixel_mm**2
        assert area == pytest.approx(np.pi * radius**2, rel=0.02)
        within = ball.cover(canvas, ball.box(canvas)).sum() * canvas.pixel_mm**2
        assert within == pytest.approx(area, rel=1e-4)


@pytest.mark.parametrize("draw", ["draw_star", "draw_faceted", "draw_union", "draw_hollow", "draw_crescent"])
def test_boxes_hold_what_they_bound(draw: str) -> None:
    rng = np.random.default_rng(1)
    canvas = drawing.make_canvas(rng, 128, 4)
    style = {"draw_star": ("spiky", 4), "draw_faceted": ()}.get(draw, ("lobed",))
    for _ in range(20):
        solid = getattr(solids, draw)(rng, rng.uniform(-30, 30, 3), rng.uniform(5, 30), *style)
        whole = solid.cover(canvas, canvas.whole())
        outside = whole.copy()
        outside[solid.box(canvas)] = 0
        assert outside.max() < 0.5


@pytest.mark.parametrize("draw", [draw_clip, draw_slice])
def test_unknown_kind_names_the_known(draw) -> None:
    with pytest.raises(InputError, match=r"'chests' is not a source domain.*shapes, ct_like"):
        draw("chests", np.random.default_rng(0))


@pytest.mark.parametrize(("size", "slices"), [(16, 8), (128, 0)])
def test_clips_too_small_to_draw_are_refused(size: int, slices: int) -> None:
    with pytest.raises(InputError, match="cannot be drawn"):
        draw_clip("shapes", np.random.default_rng(0), size, slices)


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> set[str]:
    """Names of the modules, or of things in modules, that a file of the package imports anywhere in it."""
    package = path.relative_to(PACKAGE.parent).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*base, *([node.module] if node.module else [])])
            found |= {start} | {f"{start}.{alias.name}" for alias in node.names}
    return found


def _closure(start: set[str]) -> set[str]:
    """Modules of the package that are imported, directly or not, by modules in `start`, and these."""
    files = {_module(path): path for path in PACKAGE.rglob("*.py")}
    reached, ahead = set(), set(start)
    while ahead:
        module = ahead.pop()
        reached.add(module)
        ahead |= {name for name in _imports(files[module]) if name in files} - reached
    return reached


def test_phantoms_and_source_domain_share_no_code() -> None:
    """The worth of pretraining on other pictures would be overrated if they came from the phantoms' own drawing tools."""
    phantoms = {_module(path) for path in (PACKAGE / "phantoms").rglob("*.py")}
    assert len(phantoms) > 5
    drawings = {_module(path) for path in (PACKAGE / "networks" / "pretraining").rglob("*.py")}
    assert len(drawings) > 5
    shared = {"lungseg_utils", "lungseg_utils.types", "lungseg_utils.geometry", "lungseg_utils.networks"}
    assert _closure(drawings) <= drawings | shared
    assert not drawings & _closure(phantoms)


def test_the_import_walk_sees_known_imports() -> None:
    assert "lungseg_utils.types" in _closure({"lungseg_utils.networks.pretraining.clips"})
    assert "lungseg_utils.phantoms.fields" in _closure({"lungseg_utils.phantoms.cohort"})

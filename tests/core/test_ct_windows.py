"""Names of CT windows, and of the models that are asked in them."""

import pytest

from lungseg_utils import registry
from lungseg_utils.core import ct_windows


@pytest.mark.parametrize(
    ("window_hu", "name"),
    [((-160.0, 240.0), "W400 L40"), ([-910, 590], "W1500 L-160"), ((-1000.5, 400), "W1400.5 L-300.25")],
)
def test_a_window_is_called_by_its_width_and_level(window_hu, name):
    assert ct_windows.in_words(window_hu) == name


def test_a_model_is_titled_with_the_window_of_its_options():
    for name in ("sam", "medsam", "litemedsam", "sam2", "medsam2", "medical_sam2"):
        options = registry.card("models", name).options
        assert registry.model_title(name, options).endswith(f", {ct_windows.in_words(options['window_hu'])}")
        assert registry.model_title(name, {**options, "window_hu": [-910.0, 590.0]}).endswith(", W1500 L-160")

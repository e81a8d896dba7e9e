"""The same encoder by OpenVINO and by torch."""

import subprocess
import sys

import pytest
import torch

from lungseg_utils.networks import frozen_copy


def _encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.GELU(), torch.nn.Conv2d(8, 4, 1)]
    return torch.nn.Sequential(*layers).eval()


def test_gives_what_torch_gives_for_any_number_of_pictures():
    encoder, copy = _encoder(), frozen_copy.FrozenCopy()
    with torch.inference_mode():
        for count in (1, 3):
            pictures = torch.rand(count, 1, 16, 16).expand(-1, 3, -1, -1)
            assert copy(encoder, pictures) == pytest.approx(encoder(pictures).numpy(), abs=1e-5)


def test_changed_weights_and_another_encoder_are_seen():
    encoder, copy, pictures = _encoder(), frozen_copy.FrozenCopy(), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        before = copy(encoder, pictures)
        encoder[3].bias += 1
        assert copy(encoder, pictures) == pytest.approx((before + 1).numpy(), abs=1e-5)
        other = torch.nn.Conv2d(3, 4, 1)
        assert copy(other, pictures) == pytest.approx(other(pictures).numpy(), abs=1e-5)


class _Sum(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, maps, positions):
        return self.layer(maps) + positions


def test_a_module_of_several_inputs_gets_those_of_one_item_at_a_time():
    module, copy = _Sum().eval(), frozen_copy.FrozenCopy()
    maps, positions = torch.rand(3, 5, 4), torch.rand(3, 1, 2)
    with torch.inference_mode():
        assert frozen_copy.fits(module, maps, positions)
        assert not frozen_copy.fits(module, maps, positions.double())
        assert copy(module, maps, positions) == pytest.approx(module(maps, positions).numpy(), abs=1e-6)


def test_torch_answers_where_gradients_or_batch_statistics_are_wanted():
    encoder, pictures = _encoder(), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert frozen_copy.fits(encoder, pictures)
        assert not frozen_copy.fits(encoder, pictures.to(torch.bfloat16))
        assert not frozen_copy.fits(encoder.train(), pictures)
    assert not frozen_copy.fits(encoder.eval(), pictures)


def test_autocast_chooses_the_precision_of_the_products_also_between_two_calls():
    encoder, copy, pictures = _encoder(), frozen_copy.FrozenCopy(), torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        exact = encoder(pictures).numpy()
        with torch.autocast("cpu", torch.bfloat16):
            assert frozen_copy.fits(encoder, pictures)
            rounded = copy(encoder, pictures)
        assert rounded.dtype == torch.float32
        assert rounded.numpy() == pytest.approx(exact, abs=0.05)
        assert copy(encoder, pictures).numpy() == pytest.approx(exact, abs=1e-5)


_SIGNAL_AFTER_COPIES = """
import gc, signal, torch
from lungseg_utils.networks.frozen_copy import FrozenCopy
copies = []
with torch.inference_mode():
    for _ in range(3):
        copies.append(FrozenCopy())
        copies[-1](torch.nn.Linear(2, 2).eval(), torch.ones(1, 2))
while copies:
    copies.pop(0)  # the oldest first
    gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
signal.raise_signal(signal.SIGUSR1)
"""


def test_a_signal_is_heard_after_copies_were_let_go():
    """OpenVINO gives signals a stack of its own, and took it away with the first copy: a process that ended then killed its parent."""
    done = subprocess.run([sys.executable, "-c", _SIGNAL_AFTER_COPIES], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr

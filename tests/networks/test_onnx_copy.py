"""The same encoder by ONNX Runtime and by torch."""

import pytest
import torch

from lungseg_utils.networks import onnx_copy


def _encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.GELU(), torch.nn.Conv2d(8, 4, 1)]
    return torch.nn.Sequential(*layers).eval()


def test_gives_what_torch_gives_for_any_number_of_pictures():
    encoder, by_onnx = _encoder(), onnx_copy.OnnxCopy()
    with torch.inference_mode():
        for count in (1, 3):
            pictures = torch.rand(count, 1, 16, 16).expand(-1, 3, -1, -1)
            assert by_onnx(encoder, pictures) == pytest.approx(encoder(pictures).numpy(), abs=1e-5)


def test_changed_weights_and_another_encoder_are_seen():
    encoder, by_onnx, pictures = _encoder(), onnx_copy.OnnxCopy(), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        before = by_onnx(encoder, pictures)
        encoder[3].bias += 1
        assert by_onnx(encoder, pictures) == pytest.approx((before + 1).numpy(), abs=1e-5)
        other = torch.nn.Conv2d(3, 4, 1)
        assert by_onnx(other, pictures) == pytest.approx(other(pictures).numpy(), abs=1e-5)


class _Sum(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, maps, positions):
        return self.layer(maps) + positions


def test_a_module_of_several_inputs_gets_those_of_one_item_at_a_time():
    module, by_onnx = _Sum().eval(), onnx_copy.OnnxCopy()
    maps, positions = torch.rand(3, 5, 4), torch.rand(3, 1, 2)
    with torch.inference_mode():
        assert onnx_copy.fits(module, maps, positions)
        assert not onnx_copy.fits(module, maps, positions.double())
        assert by_onnx(module, maps, positions) == pytest.approx(module(maps, positions).numpy(), abs=1e-6)


def test_torch_answers_where_gradients_or_batch_statistics_are_wanted():
    encoder, pictures = _encoder(), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert onnx_copy.fits(encoder, pictures)
        assert not onnx_copy.fits(encoder, pictures.to(torch.bfloat16))
        with torch.autocast("cpu", torch.bfloat16):
            assert not onnx_copy.fits(encoder, pictures)
        assert not onnx_copy.fits(encoder.train(), pictures)
    assert not onnx_copy.fits(encoder.eval(), pictures)

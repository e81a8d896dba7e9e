"""The same encoder by ONNX Runtime and by torch."""

import pytest
import torch

from lungseg_utils.networks import onnx_encoder


def _encoder() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.GELU(), torch.nn.Conv2d(8, 4, 1)]
    return torch.nn.Sequential(*layers).eval()


def test_gives_what_torch_gives_for_any_number_of_pictures():
    encoder, by_onnx = _encoder(), onnx_encoder.OnnxEncoder()
    with torch.inference_mode():
        for count in (1, 3):
            pictures = torch.rand(count, 1, 16, 16).expand(-1, 3, -1, -1)
            assert by_onnx(encoder, pictures) == pytest.approx(encoder(pictures).numpy(), abs=1e-5)


def test_changed_weights_and_another_encoder_are_seen():
    encoder, by_onnx, pictures = _encoder(), onnx_encoder.OnnxEncoder(), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        before = by_onnx(encoder, pictures)
        encoder[3].bias += 1
        assert by_onnx(encoder, pictures) == pytest.approx((before + 1).numpy(), abs=1e-5)
        other = torch.nn.Conv2d(3, 4, 1)
        assert by_onnx(other, pictures) == pytest.approx(other(pictures).numpy(), abs=1e-5)


def test_torch_answers_where_gradients_or_batch_statistics_are_wanted():
    encoder, pictures = _encoder(), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert onnx_encoder.fits(encoder, pictures)
        assert not onnx_encoder.fits(encoder, pictures.to(torch.bfloat16))
        with torch.autocast("cpu", torch.bfloat16):
            assert not onnx_encoder.fits(encoder, pictures)
        assert not onnx_encoder.fits(encoder.train(), pictures)
    assert not onnx_encoder.fits(encoder.eval(), pictures)

"""sam2's image encoder band by band: the packaged one's maps for every published configuration, and only where it is meant to be taken."""

import itertools

import pytest
import torch

from lungseg_utils.experiments.costs import meter
from lungseg_utils.networks import hiera, products, training
from lungseg_utils.networks.sam2 import Size, build_network
from lungseg_utils.networks.view import View

CPU = torch.device("cpu")
VIEW = View(canvas=256, window_hu=(-1000.0, 500.0))
CONFIGS = [f"{family}_hiera_{size}" for family, size in itertools.product(("sam2", "sam2.1"), ("t", "s", "b+", "l"))]
FEW = {"stages": (2, 2, 3, 1), "global_blocks": (5,), "trunk_width": 16, "width": 32, "memory_layers": 1}


def _network(config="sam2.1_hiera_t", **size):
    torch.manual_seed(0)
    network = build_network(Size(config=config, **{**FEW, **size}), VIEW).eval()
    trunk = network.image_encoder.trunk
    torch.nn.init.normal_(trunk.pos_embed)
    torch.nn.init.normal_(trunk.pos_embed_window)
    return network


def _pictures(count=1):
    return torch.rand(count, 1, VIEW.canvas, VIEW.canvas, generator=torch.Generator().manual_seed(1))


def _counted(network):
    """The number of calls of each block from now on."""
    calls = [0] * len(network.image_encoder.trunk.blocks)
    for number, block in enumerate(network.image_encoder.trunk.blocks):
        block.register_forward_hook(lambda *_, n=number: calls.__setitem__(n, calls[n] + 1))
    return calls


@torch.no_grad()
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("band_tokens", [16 * 64, 24 * 64, 10**6], ids=["four bands", "bands that do not divide", "one band"])
def test_every_configuration_gives_the_packages_maps(config, band_tokens, monkeypatch):
    monkeypatch.setattr(hiera, "_BAND_TOKENS", band_tokens)
    network = _network(config)
    with products.as_packaged():
        expected = network.encode(_pictures())
    calls = _counted(network)
    found = network.encode(_pictures())
    assert calls[0] == -(-64 * 64 // band_tokens)
    assert calls[-1] == 1
    assert [level.shape for level in found] == [level.shape for level in expected]
    for level, other in zip(found, expected, strict=True):
        torch.testing.assert_close(level, other, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_picture_says_the_same_alone_and_among_others(monkeypatch):
    monkeypatch.setattr(hiera, "_BAND_TOKENS", 16 * 64 * 3)
    network, pictures = _network(), _pictures(3)
    together = network.encode(pictures)
    alone = [network.encode(picture[None]) for picture in pictures]
    for level, parts in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(level, torch.cat(parts), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "stages", "global_blocks", "rows", "expected"),
    [
        ("sam2.1_hiera_t", (1, 2, 7, 2), (5, 7, 9), 32, 4),  # up to the first that looks into windows of 14
        ("sam2.1_hiera_l", (2, 6, 9, 4), (9, 12), 32, 9),  # windows of 16 come after the first block of the third stage
        ("sam2.1_hiera_t", (1, 2, 7, 2), (2,), 32, 2),
        ("sam2.1_hiera_t", (1, 2, 7, 2), (0,), 32, 0),
        ("sam2.1_hiera_t", (1, 2, 7, 2), (5, 7, 9), 12, 0),
    ],
)
@torch.no_grad()
def test_a_band_passes_the_blocks_whose_windows_it_holds_whole(config, stages, global_blocks, rows, expected):
    network = _network(config, stages=stages, global_blocks=global_blocks)
    trunk = network.image_encoder.trunk
    assert trunk._blocks_of_a_band(rows) == expected
    with products.as_packaged():
        packaged = trunk(_pictures().expand(-1, 3, -1, -1))
    for level, other in zip(trunk(_pictures().expand(-1, 3, -1, -1)), packaged, strict=True):
        torch.testing.assert_close(level, other, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_in_bfloat16_it_errs_by_its_own_precision():
    network = _network()
    exact = network.encode(_pictures())
    with training.autocast(CPU, "bf16"):
        found = network.encode(_pictures())
        with products.as_packaged():
            packaged = network.encode(_pictures())
    for level, other, true in zip(found, packaged, exact, strict=True):
        assert level.dtype == other.dtype
        error, theirs = ((it.float() - true).square().mean().sqrt() for it in (level, other))
        assert 0 < error < 1.2 * theirs


def test_training_and_counting_of_operations_take_the_package_as_it_is(monkeypatch):
    monkeypatch.setattr(hiera, "_BAND_TOKENS", 16 * 64)
    monkeypatch.setattr(hiera, "decoder_maps", lambda *_: pytest.fail("not the package's own"))
    network = _network()
    calls = _counted(network)
    network.encode(_pictures())[0].sum().backward()
    assert network.image_encoder.trunk.pos_embed.grad.abs().sum() > 0
    meter.count_flops(lambda: network.encode(_pictures()))
    assert calls == [2] * len(calls)

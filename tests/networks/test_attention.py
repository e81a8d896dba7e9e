"""Attention by two products: torch's own numbers, to the precision asked for, and only where it is meant to be taken."""

import pytest
import torch
from torch.nn import functional

from lungseg_utils.networks import attention, products, training

CPU = torch.device("cpu")
SHAPES = [((1, 1, 64, 256), 448), ((2, 4, 49, 96), 196), ((3, 2, 5, 16), 5)]


def _parts(shape, keys, masked):
    draw = torch.Generator().manual_seed(0)
    parts = [torch.randn(*shape[:-2], n, shape[-1], generator=draw) for n in (shape[-2], keys, keys)]
    return [*parts, torch.randn(*shape[:-1], keys, generator=draw) if masked else None]


@torch.no_grad()
@pytest.mark.parametrize(("shape", "keys"), SHAPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("at_once", [attention._WEIGHTS_BYTES, 5000, 1], ids=["all", "some queries", "one query"])
@pytest.mark.parametrize("by_onednn", [False, True])
def test_two_products_give_what_the_fused_one_gives(shape, keys, masked, at_once, by_onednn, monkeypatch):
    monkeypatch.setattr(attention, "_WEIGHTS_BYTES", at_once)
    monkeypatch.setattr(products, "_mkl_takes_half_the_width", lambda: by_onednn)
    query, key, value, mask = _parts(shape, keys, masked)
    fused = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(attention.by_two_products(query, key, value, mask), fused, atol=1e-5, rtol=1e-5)
    few = value[..., :4].contiguous()  # values may have channels of their own number
    torch.testing.assert_close(attention.by_two_products(query, key, few, mask), fused[..., :4], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("shape", "keys"), SHAPES)
def test_in_bfloat16_they_err_by_its_own_precision(shape, keys):
    exact = functional.scaled_dot_product_attention(*_parts(shape, keys, False)[:3])
    found = attention.by_two_products(*(part.bfloat16() for part in _parts(shape, keys, False)[:3]))
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).square().mean().sqrt() < 2**-7 * exact.std()  # eight bits


def _asked(precision, keys=1):
    with training.autocast(CPU, precision):
        return attention.two_products_are_faster(torch.zeros(1), keys)


@torch.no_grad()
def test_they_are_taken_in_bfloat16_on_a_processor_with_vectors_of_it_and_no_tiles(monkeypatch):
    for vectors, tiles, expected in ((True, False, True), (True, True, False), (False, False, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda v=vectors, t=tiles: {"avx512_bf16": v, "amx_bf16": t})
        attention._vectors_but_no_tiles.cache_clear()
        assert _asked("bf16") is expected
        assert not _asked("by_device")  # full precision on a processor
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "aarch64"})
    attention._vectors_but_no_tiles.cache_clear()
    assert not _asked("bf16")
    attention._vectors_but_no_tiles.cache_clear()  # the next one asks the processor itself


@torch.no_grad()
def test_in_full_precision_they_are_taken_of_many_keys_where_onednn_multiplies_faster(monkeypatch):
    for faster in (True, False):
        monkeypatch.setattr(products, "_mkl_takes_half_the_width", lambda f=faster: f)
        assert _asked("by_device", attention._LEAST_KEYS) is faster
        assert not _asked("by_device", attention._LEAST_KEYS - 1)


def test_they_are_not_taken_in_training_nor_on_a_gpu(monkeypatch):
    monkeypatch.setattr(attention, "_vectors_but_no_tiles", lambda: True)
    monkeypatch.setattr(products, "_mkl_takes_half_the_width", lambda: True)
    assert not _asked("bf16")
    assert not _asked("by_device", attention._LEAST_KEYS)
    with torch.no_grad(), training.autocast(CPU, "bf16"):
        assert attention.two_products_are_faster(torch.zeros(1), 1)
        assert not attention.two_products_are_faster(torch.zeros(1, device="meta"), 1)

"""Products by oneDNN: torch's own numbers to rounding, its own ones bit by bit where oneDNN is not meant to be taken."""

import pytest
import torch

from lungseg_utils.experiments.costs import meter
from lungseg_utils.networks import products, training

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["oneDNN", "MKL"])
def by_onednn(request, monkeypatch):
    monkeypatch.setattr(products, "_mkl_takes_half_the_width", lambda: request.param)
    return request.param


@pytest.fixture
def drawn():
    draw = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(shape, generator=draw)


@pytest.mark.parametrize("shape", [(128, 24), (3, 50, 24), (2, 9, 11, 24), (7, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_gives_what_torch_gives(by_onednn, drawn, shape, bias):
    layer = torch.nn.Linear(24, 40, bias)
    features = drawn(*shape)
    expected = layer(features).detach()
    products.widen_linears(torch.nn.Sequential(layer))
    with torch.inference_mode():
        torch.testing.assert_close(layer(features), expected, atol=1e-6, rtol=1e-5)
        columns_first = features.transpose(0, 1).contiguous().transpose(0, 1)
        torch.testing.assert_close(layer(columns_first), expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("leading", [(1,), (1, 1), (2, 3)])
def test_stacks_of_matrices_are_multiplied_one_by_one(by_onednn, drawn, leading):
    left, right = drawn(*leading, 5, 8), drawn(*leading, 7, 8)
    expected = torch.einsum("...mc,...nc->...mn", left, right)
    torch.testing.assert_close(products.by_transposed(left, right), expected)
    torch.testing.assert_close(products.by_transposed(left, right.mT.contiguous().mT), expected)


def test_parameters_and_their_names_stay_and_only_plain_layers_change():
    network = torch.nn.ModuleDict({"plain": torch.nn.Linear(2, 3), "attention": torch.nn.MultiheadAttention(4, 2)})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    products.widen_linears(network)
    assert type(network["plain"]) is products.OneDnnLinear
    assert type(network["attention"].out_proj) is not products.OneDnnLinear
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert len(before) == len(network.state_dict())


def _counted(monkeypatch):
    """Calls of oneDNN from now on."""
    calls, by_onednn = [], products._by_onednn
    monkeypatch.setattr(products, "_by_onednn", lambda *given: calls.append(1) or by_onednn(*given))
    return calls


def test_training_and_lower_precision_and_few_rows_are_left_to_torch(monkeypatch, drawn):
    monkeypatch.setattr(products, "_mkl_takes_half_the_width", lambda: True)
    calls = _counted(monkeypatch)
    layer = products.widen_linears(torch.nn.Sequential(torch.nn.Linear(4, 4)))
    layer(drawn(200, 4)).sum().backward()
    with torch.no_grad(), training.autocast(CPU, "bf16"):
        assert layer(drawn(200, 4)).dtype == torch.bfloat16
    with torch.no_grad():
        layer(drawn(products._LEAST_ROWS - 1, 4))
        layer.double()(drawn(200, 4).double())
        assert not calls
        layer.float()(drawn(products._LEAST_ROWS, 4))
    assert len(calls) == 1


def test_a_network_that_is_written_down_for_other_machines_does_not_name_onednn(monkeypatch, drawn):
    monkeypatch.setattr(products, "_mkl_takes_half_the_width", lambda: True)
    layer = products.widen_linears(torch.nn.Sequential(torch.nn.Linear(4, 4)))
    with torch.no_grad():
        written = torch.export.export(layer, (drawn(200, 4),))
    assert "linear" in str(written.graph)
    assert "mkldnn" not in str(written.graph)


def test_it_is_taken_on_amd_processors_with_the_wide_vectors_only(monkeypatch):
    known = {
        "AMD EPYC 9655": ({"avx512_f": True}, True),
        "AMD EPYC 7702": ({"avx512_f": False}, False),
        "Intel(R) Xeon(R) Processor": ({"avx512_f": True}, False),
        None: ({"architecture": "aarch64"}, False),
    }
    for name, (capabilities, expected) in known.items():
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda n=name, c=capabilities: c | ({"cpu_name": n} if n else {}))
        products._mkl_takes_half_the_width.cache_clear()
        assert products._mkl_takes_half_the_width() is expected
    products._mkl_takes_half_the_width.cache_clear()  # the next one asks the processor itself


@torch.no_grad()
def test_operations_are_those_of_the_packages_whatever_multiplies(by_onednn, drawn):
    layer = products.widen_linears(torch.nn.Sequential(torch.nn.Linear(24, 40)))
    features = drawn(2, 100, 24)
    assert meter.count_flops(lambda: layer(features)) == 2 * 200 * 24 * 40
    assert meter.count_flops(lambda: products.by_transposed(features, features)) == 2 * 2 * 100 * 24 * 100
    assert products.onednn_is_faster(features) is by_onednn  # only while they are counted

"""Sizes of a network are read off its weights, and files of every layout that people have are read."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lungseg_utils.networks import own_sizes
from lungseg_utils.networks.checkpoints import load_checkpoint, read_state
from lungseg_utils.networks.sam import PromptedSam, Size
from lungseg_utils.networks.view import View
from lungseg_utils.types import InputError

SIZE = Size(patch=8, width=48, depth=3, heads=4, global_blocks=(1,), window=3, prompt_width=16, decoder_width=24)
VIEW = View(64, (-160.0, 240.0))


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return PromptedSam(SIZE, VIEW).state_dict()


def test_every_size_of_a_sam_is_read_off_its_weights(state, tmp_path):
    torch.save(state, tmp_path / "sam.pth")
    assert own_sizes.of_sam(tmp_path / "sam.pth") == {"canvas": 64, **vars(SIZE)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"model": s, "optimizer": {"state": {}}, "epoch": 3, "loss": np.float64(0.5)},  # MedSAM's fine-tuning
        lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, "epoch": 1},
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},  # several GPUs
        lambda s: {f"_orig_mod.module.{k}": v for k, v in s.items()},  # compiled, several GPUs
    ],
    ids=["plain", "model", "state_dict", "several GPUs", "compiled"],
)
def test_layouts_that_people_have_hold_the_same_weights(wrap, state, tmp_path):
    torch.save(wrap(state), tmp_path / "own.pth")
    network = PromptedSam(SIZE, VIEW)
    load_checkpoint(network, tmp_path / "own.pth")
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in state.items())


def test_safetensors_are_read_and_a_damaged_file_is_named(state, tmp_path):
    save_file(state, tmp_path / "own.safetensors")
    assert set(read_state(tmp_path / "own.safetensors")) == set(state)
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"torn\.safetensors"):
        read_state(tmp_path / "torn.safetensors")


class _RunsCode:
    def __reduce__(self):
        return print, ("code of a file was run",)


def test_a_pickle_with_code_is_refused_and_nothing_of_it_runs(tmp_path, capsys):
    torch.save({"model": _RunsCode()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="state dictionary alone"):
        read_state(tmp_path / "evil.pth")
    assert "was run" not in capsys.readouterr().out


def test_weights_of_another_architecture_are_named(tmp_path):
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    for of in (own_sizes.of_sam, own_sizes.of_sam2):
        with pytest.raises(InputError, match=r"other\.pth: no SAM"):
            of(tmp_path / "other.pth")

"""The training loop: learns, is deterministic, resumes exactly, keeps the best, stops when it diverges."""

import dataclasses

import numpy as np
import pytest
import torch

from lungseg_utils import types
from lungseg_utils.networks import training
from lungseg_utils.types import InputError


def _network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))


def _sample(rng):
    inputs = torch.from_numpy(rng.normal(size=(16, 4)).astype(np.float32))
    return inputs, inputs.sum(1, keepdim=True)


def _plan(steps=40, **more):
    return training.Schedule(steps=steps, learning_rate=1e-2, seed=3, warmup_steps=5, validate_every=10, checkpoint_every=5, **more)


def _train(network, folder, plan, **more):
    return training.train(network, _sample, torch.nn.functional.mse_loss, plan, folder, progress=False, **more)


def _equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_it_learns_and_two_runs_agree_to_the_last_bit(tmp_path):
    first, second = _network(), _network()
    history = _train(first, tmp_path / "a", _plan(200))
    assert history["value"][-20:].mean() < 0.3 * history["value"][:20].mean()
    _train(second, tmp_path / "b", _plan(200))
    assert _equal(first, second)


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path):
    undisturbed, interrupted = _network(), _network()
    expected = _train(undisturbed, tmp_path / "a", _plan())

    def stop_at_23(rng, calls=[0]):  # noqa: B006  the counter must live across calls
        calls[0] += 1
        if calls[0] > 23:
            raise KeyboardInterrupt
        return _sample(rng)

    with pytest.raises(KeyboardInterrupt):
        training.train(interrupted, stop_at_23, torch.nn.functional.mse_loss, _plan(), tmp_path / "b", progress=False)
    resumed = _network(seed=99)  # what it starts from must not matter
    history = _train(resumed, tmp_path / "b", _plan())
    assert _equal(undisturbed, resumed)
    assert history.equals(expected)


def test_batches_that_other_processes_draw_ahead_are_the_same_also_after_an_interruption(tmp_path):
    alone, ahead = _network(), _network()
    expected = _train(alone, tmp_path / "a", _plan(), drawers=0)
    with pytest.raises(KeyboardInterrupt):
        _train(ahead, tmp_path / "b", _plan(), drawers=2, validate=_interrupt)
    resumed = _network(seed=99)
    history = _train(resumed, tmp_path / "b", _plan(), drawers=3)
    assert _equal(alone, resumed)
    assert history.equals(expected)


def _interrupt():
    raise KeyboardInterrupt


def test_a_fault_while_a_batch_is_drawn_ahead_ends_the_training(tmp_path):
    def broken(rng):
        raise ValueError("no such patient")

    with pytest.raises(ValueError, match="no such patient"):
        training.train(_network(), broken, torch.nn.functional.mse_loss, _plan(), tmp_path, progress=False, drawers=1)


def test_a_checkpoint_of_another_plan_or_other_data_is_not_resumed(tmp_path):
    _train(_network(), tmp_path, _plan(), identity="one")
    again, fresh = _network(), _network()
    _train(again, tmp_path, _plan(), identity="two")
    _train(fresh, tmp_path / "fresh", _plan(), identity="two")
    assert _equal(again, fresh)


def test_the_best_checkpoint_is_kept_not_the_last(tmp_path):
    scores = iter([0.1, 0.9, 0.5, 0.2])
    seen = []

    def validate():
        seen.append({k: v.clone() for k, v in network.state_dict().items()})
        return next(scores)

    network = _network()
    history = _train(network, tmp_path, _plan(40), validate=validate)
    assert all(torch.equal(v, seen[1][k]) for k, v in network.state_dict().items())
    assert history.query("quantity == 'validation DSC'")["step"].tolist() == [10, 20, 30, 40]


def test_a_training_that_never_validates_keeps_the_last_weights(tmp_path):
    def validate():
        raise AssertionError("nobody asked for it")

    plan = dataclasses.replace(_plan(), validate_every=0)
    history = _train(network := _network(), tmp_path / "never", plan, validate=validate)
    _train(without := _network(), tmp_path / "without", plan)
    assert set(history["quantity"]) == {"training loss"}
    assert all(torch.equal(v, without.state_dict()[k]) for k, v in network.state_dict().items())


def test_all_layers_learn_again_after_each_validation(tmp_path):
    """Dropout and normalization of batches work in training only."""
    network, seen = _network(), []
    network.register_forward_hook(lambda module, *_: seen.append([part.training for part in module.modules()]))
    network.eval()  # as after a prediction with loaded weights

    def validate():
        network.eval()
        return 0.0

    _train(network, tmp_path, _plan(), validate=validate)
    assert len(seen) == _plan().steps
    assert all(all(parts) for parts in seen)


def test_without_validation_the_last_state_counts(tmp_path):
    history = _train(_network(), tmp_path, _plan(10))
    assert set(history["quantity"]) == {"training loss"}


def test_divergence_stops_and_leaves_the_last_good_state(tmp_path):
    def poisoned(rng, calls=[0]):  # noqa: B006
        calls[0] += 1
        inputs, targets = _sample(rng)
        return inputs, targets * (float("nan") if calls[0] == 13 else 1.0)

    network = _network()
    with pytest.raises(types.TrainingDiverged, match="step 13"):
        training.train(network, poisoned, torch.nn.functional.mse_loss, _plan(), tmp_path, progress=False)
    saved = training.load_weights_file(tmp_path / "last.pt")
    assert saved["step"] == 10
    assert all(torch.isfinite(v).all() for v in saved["network"].values())


def test_learning_rate_warms_up_and_ends_near_zero():
    plan = _plan(105)
    rates = [training.learning_rate_at(s, plan) for s in range(105)]
    assert rates[0] == pytest.approx(plan.learning_rate / 5)
    assert max(rates) == pytest.approx(plan.learning_rate)
    assert rates[55] == pytest.approx(plan.learning_rate / 2, rel=0.02)
    assert rates[-1] < 0.01 * plan.learning_rate


def test_weights_of_another_network_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / "weights.pt"
    training.save_weights(_network(), path, {"identity": "x"})
    assert training.load_weights(_network(1), path) == {"identity": "x"}
    with pytest.raises(InputError, match="another network"):
        training.load_weights(torch.nn.Linear(4, 8), path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="not a readable checkpoint"):
        training.load_weights(_network(), path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"weights": Evil(), "description": {}}, tmp_path / "evil.pt")
    with pytest.raises(InputError):
        training.load_weights_file(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()

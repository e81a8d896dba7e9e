"""Several processes that share the batches of one training: its loss curve and weights are those of one process with whole batches."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lungseg_utils import __main__
from lungseg_utils.core import distributed, project
from lungseg_utils.networks import training
from lungseg_utils.types import InputError
from tests.support import trained_together

ROOT = project.project_root()
# sums in another order, which the steps of an optimizer carry on and enlarge: of doubles, and of single precision
IN_DOUBLE, IN_SINGLE = 1e-9, 1e-5


def torchrun(*arguments: object, root: Path = ROOT) -> subprocess.CompletedProcess:
    """Two processes on this machine's CPU, connected by gloo."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, arguments)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | threads | {"LUNGSEG_ROOT": str(root), "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=500)


def assert_same_training(folder: Path, history: pd.DataFrame, tolerance: float = IN_DOUBLE) -> None:
    together = pd.read_csv(folder / "history.csv")
    assert together[["step", "quantity"]].values.tolist() == history[["step", "quantity"]].values.tolist()
    np.testing.assert_allclose(together["value"], history["value"], rtol=tolerance)


@pytest.mark.slow
def test_two_processes_train_as_one_does_with_the_whole_batch(tmp_path):
    models = [*trained_together.MODELS, "plain"]
    done = torchrun("tests/support/trained_together.py", tmp_path, 0, *models)
    assert done.returncode == 0, done.stderr[-3000:]
    for model in models:
        tolerance = IN_SINGLE if model in trained_together.SINGLE else IN_DOUBLE
        assert_same_training(tmp_path / model, trained_together.train(model, tmp_path / f"{model}_alone"), tolerance)


@pytest.mark.slow
def test_a_training_of_two_processes_that_was_stopped_goes_on_from_the_one_checkpoint(tmp_path):
    stopped = torchrun("tests/support/trained_together.py", tmp_path, 8, "plain")
    assert stopped.returncode != 0
    assert [path.name for path in (tmp_path / "plain").iterdir()] == ["last.pt"]
    assert training.load_weights_file(tmp_path / "plain" / "last.pt")["step"] == 5
    done = torchrun("tests/support/trained_together.py", tmp_path, 0, "plain")
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same_training(tmp_path / "plain", trained_together.train("plain", tmp_path / "alone"))
    shutil.copytree(tmp_path / "plain", tmp_path / "handed_over")  # what several began, one may end
    assert training.load_weights_file(tmp_path / "handed_over" / "last.pt")["step"] == 12
    history = trained_together.train("plain", tmp_path / "handed_over")
    np.testing.assert_array_equal(history["value"], pd.read_csv(tmp_path / "plain" / "history.csv")["value"])


@pytest.mark.slow
def test_an_experiment_under_torchrun_ends_with_the_tables_of_one_process(tmp_path, monkeypatch):
    roots = [tmp_path / name for name in ("together", "alone")]
    command = ("run", "unet_full", "--profile", "smoke", "--test", "phantom_nsclc")
    tiny_project(roots[0])
    for _ in range(2):  # the second time there is nothing to train, and the other process is sent home
        together = torchrun("-m", "lungseg_utils", *command, root=roots[0])
        assert together.returncode == 0, together.stderr[-3000:]
        assert together.stdout.count("tables: ") == 1
    shutil.copytree(roots[0], roots[1], ignore=lambda folder, names: {"results"} & set(names))
    monkeypatch.setenv("LUNGSEG_ROOT", str(roots[1]))
    assert __main__.main([*command]) == 0
    files = [sorted(p.relative_to(root).as_posix() for p in (root / "results").rglob("*") if p.is_file()) for root in roots]
    assert files[0] == files[1]
    histories, results = (
        [pd.read_csv(next(root.glob(f"results/smoke/*/{name}.csv"))) for root in roots] for name in ("history", "results")
    )
    losses = [h.loc[h["quantity"] == "training loss", "value"] for h in histories]
    np.testing.assert_allclose(*losses, rtol=IN_SINGLE)
    assert results[0].drop(columns="value").equals(results[1].drop(columns="value"))


def tiny_project(root: Path) -> None:
    """A root with the real splits, and smoke with fewer steps and patients."""
    shutil.copytree(ROOT / "data" / "splits", root / "data" / "splits")
    shutil.copy(ROOT / "data" / "frozen.json", root / "data")
    text = (ROOT / "experiments.yml").read_text()
    changes = {
        "train: 6, validation: 2, test: 3": "train: 2, validation: 1, test: 1",
        "steps: 60, validate_every: 30": "steps: 6, validate_every: 3",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    (root / "experiments.yml").write_text(text)


def test_one_process_alone_has_nothing_to_share(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert distributed.broadcast("train") == ""
    batch, network = object(), object()
    assert distributed.part(batch) is distributed.whole(batch) is batch
    assert distributed.connect(network) is network
    assert (distributed.size(), distributed.index(), distributed.is_worker()) == (1, 0, False)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(monkeypatch):
    class Three:
        num_processes, process_index = 3, 1

    monkeypatch.setattr(distributed, "_team", Three())
    assert distributed.part((np.arange(6), np.arange(12).reshape(6, 2)))[0].tolist() == [2, 3]
    with pytest.raises(InputError, match="batch of 4: 3 processes cannot share it evenly"):
        distributed.part(np.arange(4))


def test_several_processes_train_one_experiment_and_not_a_whole_profile(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert __main__.main(["run", "all"]) == 2
    assert "several processes train one experiment together" in capsys.readouterr().err

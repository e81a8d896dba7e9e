"""First weights: published files are checked, stand-ins are pretrained once and kept."""

import dataclasses
import hashlib
import json

import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.core import project
from lungseg_utils.experiments import cohorts, grid, initial_weights, run, store
from lungseg_utils.networks import promptable
from lungseg_utils.types import Checkpoint, Experiment, InputError, OwnWeights

SMALL = {"canvas": 32, "patch": 8, "width": 16, "depth": 1, "heads": 2, "global_blocks": (0,), "window": 2, "prompt_width": 16}
SMALL |= {"decoder_width": 16, "pretraining_steps": 3, "pretraining_batch_size": 2, "steps": 2}


def _options(**more):
    return {**registry.card("models", "sam_stand_in").options, **SMALL, **more}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "project_root", lambda: tmp_path)
    monkeypatch.setattr(project, "cache_root", lambda: tmp_path / "data")
    monkeypatch.setattr(promptable, "PRETRAINING_OBJECTS", 3)
    return tmp_path


def _weights(options):
    return initial_weights.initial_weights("sam_stand_in", options, progress=False)


def test_a_stand_in_is_pretrained_once_and_kept(here):
    path = _weights(_options())
    before = path.stat().st_mtime_ns
    assert _weights(_options()) == path
    assert path.stat().st_mtime_ns == before
    assert (path.parent / "history.csv").is_file()


def test_how_it_is_fine_tuned_later_leaves_the_first_weights_alone_and_all_else_does_not(here):
    path = _weights(_options())
    assert _weights(_options(steps=9, learning_rate=1e-5, trainable="lora")) == path
    others = [_weights(_options(pretraining="shapes")), _weights(_options(canvas=64)), _weights(_options(pretraining_steps=4))]
    assert len({path, *others}) == 4


def test_each_run_has_a_pretraining_of_its_own_seed(here):
    """The method includes its pretraining: two runs that shared one would look nearer to each other than they are."""
    first, second = (initial_weights.initial_weights("sam_stand_in", _options(), False, seed) for seed in (0, 1))
    one, other = (torch.load(path, weights_only=True)["weights"] for path in (first, second))
    assert first == _weights(_options())
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_stand_ins_of_a_profile_are_one_for_each_seed():
    seeds = {name: seed for name, (_, _, seed) in grid.stand_ins("seeds").items()}
    assert seeds == {"sam_stand_in__ct_like": 0} | {f"sam_stand_in__ct_like__seed{n}": n for n in range(1, 5)}


def test_an_unfinished_pretraining_is_not_taken_for_weights(here):
    path = _weights(_options())
    good = torch.load(path, weights_only=True)["weights"]
    (path.parent / "pretrained.json").unlink()  # written last
    path.write_bytes(b"torn")
    again = torch.load(_weights(_options()), weights_only=True)["weights"]
    assert all(torch.equal(good[name], again[name]) for name in good)


def test_random_weights_and_models_from_scratch_have_no_file(here):
    assert _weights(_options(pretraining="random")) is None
    assert initial_weights.initial_weights("unet", registry.card("models", "unet").options) is None


def test_published_weights_that_are_not_here_are_named_with_address_and_license(here):
    with pytest.raises(InputError, match=r"medsam_vit_b\.pth.*not here") as caught:
        initial_weights.initial_weights("medsam", registry.card("models", "medsam").options)
    assert "https://" in str(caught.value)
    assert "Apache" in str(caught.value)
    assert "python -m lungseg_utils fetch medsam_vit_b.pth" in caught.value.remedy


def test_a_published_file_is_checked_by_size_and_sha256(here, monkeypatch):
    content = b"weights"
    path = here / "data" / "weights" / "w.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    known = Checkpoint("w.pth", "https://example.org/w.pth", len(content), hashlib.sha256(content).hexdigest(), "none", "nobody")
    module = registry.plugin("models", "sam")
    for checkpoint, message in (
        (known, None),
        (dataclasses.replace(known, size=0, sha256=""), None),  # its authors give neither
        (dataclasses.replace(known, size=9), "7 bytes instead of 9"),
        (dataclasses.replace(known, sha256="0" * 64), "sha256"),
    ):
        monkeypatch.setattr(module, "initial_weights", lambda options, checkpoint=checkpoint: checkpoint)
        if message is None:
            assert initial_weights.initial_weights("sam", {}) == path
        else:
            with pytest.raises(InputError, match=message):
                initial_weights.initial_weights("sam", {})


def test_a_file_whose_hash_nobody_published_must_be_the_one_that_was_fetched_first(here):
    options = registry.card("models", "medsam2").options
    path = here / "data" / "weights" / options["checkpoint"]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"fetched first")
    assert initial_weights.initial_weights("medsam2", options) == path  # put there by hand: nothing is known of it
    record = {path.name: {"sha256": hashlib.sha256(b"fetched first").hexdigest(), "size": 13}}
    (path.parent / "pinned.json").write_text(json.dumps(record))
    assert initial_weights.initial_weights("medsam2", options) == path
    path.write_bytes(b"another one  ")
    with pytest.raises(InputError, match=r"MedSAM2_latest\.pt: its sha256 is not that.*fetch MedSAM2_latest\.pt"):
        initial_weights.initial_weights("medsam2", options)


def test_a_digest_that_ends_the_address_is_checked_too(here):
    path = here / "data" / "weights" / "medsam_vit_b.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not it")
    with pytest.raises(InputError, match=r"medsam_vit_b\.pth: its md5 is not that of the published file"):
        initial_weights.initial_weights("medsam", registry.card("models", "medsam").options)


def test_a_run_with_wrong_weights_ends_before_any_patient_is_looked_for(tmp_path, monkeypatch):
    def drawn(*_arguments, **_named):
        raise AssertionError("phantoms were drawn first")

    monkeypatch.setattr(store, "results_folder", lambda experiment: tmp_path / experiment.name)
    monkeypatch.setattr(project, "cache_root", lambda: tmp_path)
    monkeypatch.setattr(cohorts, "training_cohort", drawn)
    monkeypatch.setattr(cohorts, "cases_to_test", drawn)
    with pytest.raises(InputError, match="the published weights are not here"):
        run.run(Experiment("losses", "phantom_nsclc", "medsam", "fine_tuned"), ["phantom_nsclc"], ["box_every_slice"], progress=False)


@pytest.mark.parametrize("name", [n for n in registry.names("models") if hasattr(registry.plugin("models", n), "initial_weights")])
def test_every_checkpoint_has_an_address_a_license_and_a_citation(name):
    source = registry.plugin("models", name).initial_weights(registry.card("models", name).options)
    if isinstance(source, Checkpoint):
        assert source.url.startswith("https://")
        assert source.license
        assert source.citation
        assert len(source.sha256) in (0, 64)
    elif isinstance(source, OwnWeights):
        with pytest.raises(InputError, match="no file or folder of the model is named"):
            source.files()
    else:
        assert source.steps > 0

"""The guard round torchvision: the right boxes stay, twice is as good as once, and whoever imports torchvision can."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lungseg_utils import networks
from lungseg_utils.networks import torchvision_cpu

PACKAGE = Path(networks.__file__).parent


def _overlap(a, b):
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def _suppress_by_hand(boxes, scores, threshold):
    """The definition: best first, a box stays unless one that stays overlaps it by more than the threshold."""
    stays = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if all(_overlap(boxes[i], boxes[j]) <= threshold for j in stays):
            stays.append(i)
    return stays


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("count", [0, 1, 2, 137])
@pytest.mark.parametrize("ties", [False, True])
def test_the_same_boxes_stay_as_by_definition(count, threshold, ties):
    rng = np.random.default_rng([count, int(10 * threshold)])
    corners = rng.integers(0, 60, (count, 2)).astype(float)
    boxes = np.concatenate([corners, corners + rng.integers(0, 30, (count, 2))], axis=1)  # some without area
    scores = rng.integers(0, 4, count) / 4 if ties else rng.random(count)
    answer = torchvision_cpu.nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
    assert answer.dtype == torch.int64
    assert answer.tolist() == _suppress_by_hand(boxes.tolist(), scores.tolist(), threshold)


def test_by_hand_one_box_covers_half_of_another():
    # |----A 0..10----|
    #       |----B 5..15----|      shared 5 of union 15: overlap 1/3
    boxes = torch.tensor([[5.0, 0, 15, 1], [0, 0, 10, 1]])
    scores = torch.tensor([0.5, 0.9])
    assert torchvision_cpu.nms(boxes, scores, 0.3).tolist() == [1]
    assert torchvision_cpu.nms(boxes, scores, 0.34).tolist() == [1, 0]


def test_torchvision_calls_what_is_here_and_agrees():
    import torchvision

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.1, 0.9, 0.5]), 0.5).tolist() == [1, 2]
    assert torchvision.ops.batched_nms(boxes, torch.tensor([0.1, 0.9, 0.5]), torch.tensor([0, 1, 0]), 0.5).tolist() == [1, 2, 0]


def test_calling_it_again_changes_nothing():
    first = torchvision_cpu.ensure_torchvision()
    library = torchvision_cpu._library
    assert torchvision_cpu.ensure_torchvision() == first
    assert first in ("native", "shimmed")
    assert torchvision_cpu._library is library


def _run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_in_a_fresh_process_all_that_need_torchvision_import():
    answer = _run("import lungseg_utils.networks, torchvision, timm, segment_anything, peft; print('done')")
    assert answer.stdout.split() == ["done"], answer.stderr


def test_without_torchvision_it_says_so_and_touches_nothing():
    code = "import importlib.util as u; find = u.find_spec\n"
    code += "u.find_spec = lambda name, *a: None if name == 'torchvision' else find(name, *a)\n"
    code += "from lungseg_utils.networks.torchvision_cpu import _library, ensure_torchvision; print(ensure_torchvision(), _library)"
    answer = _run(code)
    assert answer.stdout.split() == ["absent", "None"], answer.stderr


def test_the_package_does_nothing_but_call_it():
    lines = [line for line in (PACKAGE / "__init__.py").read_text().splitlines() if line and not line.startswith('"""')]
    assert lines == ["from .torchvision_cpu import ensure_torchvision", "ensure_torchvision()"]

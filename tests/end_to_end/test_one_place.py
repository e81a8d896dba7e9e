"""A new metric, and a new prompt setting, are one record each: every table, page and check knows of them."""

import json

import pytest

from tests.support.worked_examples import copy_project, edit, follow

METRIC = """    Metric(
        "voe", "volumetric overlap error", "%", "100 % less the IoU in percent", lambda c: 100 * (1 - iou(c.reference, c.prediction)),
        {"both": np.nan, "reference": np.nan, "prediction": 100.0}, "mean", tables=(COHORT, CASE, REPORT, STORED), digits=1,
    ),
"""
SEEN_OF_THE_METRIC = """
import json
import numpy as np
from lungseg_utils.evaluation import intervals, metrics, scoring, tables
from lungseg_utils.experiments import store
from lungseg_utils.reporting import experiment_tables, labels
from lungseg_utils.reporting.own_masks import summary
from lungseg_utils.types import Mask
from lungseg_utils.viewers import case_explorer

rows = []
for n in range(12):
    reference = np.zeros((20, 20, 8), bool)
    reference[4:8, 4:8, 2:6] = True
    keys = {"experiment": "e", "test_dataset": "phantom_nsclc", "prompter": "none", "jitter": 0.0}
    keys |= {"patient_id": f"P{n}", "case_id": f"P{n}"}
    mask, moved = (Mask(array, np.diag([0.8, 0.8, 2.5, 1])) for array in (reference, np.roll(reference, n % 3, 0)))
    rows += scoring.score(keys, {"reference": mask}, moved)
results = tables.results_frame(rows)
print(json.dumps({
    "value": results.query("metric == 'voe' and case_id == 'P2'")["value"].iloc[0],
    "cohort": "voe_low" in intervals.cohort_table(results),
    "report": "voe" in set(summary.summarize(results)["quantity"]),
    "stored": "voe" in store.METRICS,
    "explorer": "voe" in case_explorer.METRICS,
    "label": labels.label_of("voe"),
    "case table": "volumetric overlap error (%)" in experiment_tables.printable_case_table(results, ["phantom_nsclc"]),
}))
"""
SETTING = """    "box_half": PromptSetting("box on half of the slices", "box", "half the outline", "box", _once(boxes.one_slice)),
"""
SEEN_OF_THE_SETTING = """
import json
import numpy as np
from lungseg_utils import registry
from lungseg_utils.experiments import config, interaction
from lungseg_utils.reporting import labels
from lungseg_utils.types import Image, Mask, Study
from lungseg_utils.viewers import prompt_page

grid = config.load()
reference = np.zeros((20, 20, 8), bool)
reference[4:8, 4:8, 2:6] = True
affine = np.diag([0.8, 0.8, 2.5, 1])
study = Study(Image(np.full(reference.shape, -500.0), affine), {"reference": Mask(reference, affine)})
model = registry.model("trivial").build(registry.card("models", "trivial").options)
prediction, actions = interaction.run_interaction(model, study, study.reference, "box_half", np.random.default_rng(0))
print(json.dumps({
    "lines": sorted(line.notebook for line in grid.experiments.values() if "box_half" in line.prompters) == sorted(grid.experiments),
    "profile": "box_half" in grid.profile("ladder").prompters,
    "page": "box_half" in prompt_page.SETTINGS,
    "label": labels.label_of("box_half"),
    "order": [name for name in labels.reading_order() if name.startswith("box")].index("box_half"),
    "actions": actions,
    "answered": bool(prediction.mask.array.any()),
}))
"""


@pytest.fixture
def project(tmp_path):
    return copy_project(tmp_path)


def seen(project, script):
    (project / "seen.py").write_text(script)
    done = follow(project, "seen.py")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_metric_is_one_record(project):
    edit(
        project / "lungseg_utils" / "evaluation" / "metrics.py",
        "    *map(_nsd, NSD_TOLERANCES_MM),\n",
        METRIC + "    *map(_nsd, NSD_TOLERANCES_MM),\n",
    )
    found = seen(project, SEEN_OF_THE_METRIC)
    assert found.pop("value") == pytest.approx(100 * (1 - 1 / 3))  # moved by half of its width
    assert found.pop("label") == "volumetric overlap error (%)"
    assert all(found.values()), found


@pytest.mark.slow
def test_a_prompt_setting_is_one_record(project):
    edit(project / "lungseg_utils" / "prompts" / "ladder.py", '    "box_3d": PromptSetting(', SETTING + '    "box_3d": PromptSetting(')
    found = seen(project, SEEN_OF_THE_SETTING)
    assert found.pop("label") == "box on half of the slices"
    assert found.pop("order") == 2  # where it stands in the mapping
    assert found.pop("actions") == 1
    assert all(found.values()), found

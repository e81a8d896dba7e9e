"""Files against their schemas: the fault that is told is the one that jsonschema, another implementation, finds best."""

import json

import jsonschema
import pytest
import yaml

from lungseg_utils.core import project, schema
from lungseg_utils.experiments import config

_GRID = json.loads(config._SCHEMA.read_text())


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (lambda grid: grid.update(extra=1), "the top level"),
        (lambda grid: grid["profiles"]["smoke"].update(seeds=["a"]), "profiles/smoke/seeds/0"),
        (lambda grid: grid["profiles"]["smoke"].pop("summary"), "profiles/smoke"),
        (lambda grid: (grid["profiles"]["smoke"].pop("summary"), grid.update(profiles=[])), "profiles"),
        (lambda grid: (grid["profiles"]["smoke"].update(seeds=["a"]), grid.update(extra=1)), "the top level"),
    ],
)
def test_the_outermost_fault_is_named_with_its_place(edit, place):
    grid = yaml.safe_load((project.project_root() / "experiments.yml").read_text())
    assert schema.fault(grid, config._SCHEMA) == ""
    edit(grid)
    best = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(_GRID).iter_errors(grid))
    assert "/".join(map(str, best.absolute_path)) == ("" if place == "the top level" else place)
    told = schema.fault(grid, config._SCHEMA)
    assert told.startswith(f"at {place}: ")
    assert told.split(": ", 1)[1].replace('"', "'") == best.message

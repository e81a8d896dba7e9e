"""Validate values against JSON schemas."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jsonschema_rs


def fault(value: object, schema: Path) -> str:
    """Where and why `value` (numbers, texts, lists, dictionaries) does not match the schema; "" if it does.

    Of several faults the outermost is returned, which often causes the others.
    """
    found = min(_validator(schema).iter_errors(value), key=lambda error: len(error.instance_path), default=None)
    if found is None:
        return ""
    place = "/".join(map(str, found.instance_path)) or "the top level"
    return f"at {place}: {found.message}"


@cache
def _validator(schema: Path) -> jsonschema_rs.Draft202012Validator:
    # not by jsonschema, whose import takes two seconds of every process where Jupyter's checkers of formats are installed
    return jsonschema_rs.Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))

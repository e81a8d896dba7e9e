"""Signatures say what they take and give: `Any` is the exception."""

import ast
from collections import Counter

from lungseg_utils.core import project

PACKAGE = project.project_root() / "lungseg_utils"
MOST = 20


def _annotations(tree):
    """What counts: parameters and returns of functions, fields of classes, and names of types on the level of a module.

    Names of types count since they would hide what they stand for. Variables inside functions do not count: their types follow from
    signatures.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            yield from (p.annotation for p in parameters if p is not None)
            yield node.returns
        elif isinstance(node, ast.ClassDef):
            yield from (statement.annotation for statement in node.body if isinstance(statement, ast.AnnAssign))
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign):
            yield statement.annotation
        elif isinstance(statement, ast.Assign):
            yield statement.value


def _holds_any(annotation):
    return annotation is not None and any(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(annotation))


def _found():
    counts = Counter()
    for path in PACKAGE.rglob("*.py"):
        counts[str(path.relative_to(PACKAGE))] = sum(map(_holds_any, _annotations(ast.parse(path.read_text(encoding="utf-8")))))
    return +counts


def test_the_count_sees_parameters_returns_fields_and_names_of_types():
    source = (
        "Plain = dict[str, Any]\nx: Any = 1\nclass A:\n    a: Any\n    def f(self, b: Any, *c: list[Any], **d: Any) -> Any: y: Any = 2\n"
    )
    assert sum(map(_holds_any, _annotations(ast.parse(source)))) == 7


def test_few_signatures_take_or_give_anything():
    found = _found()
    assert sum(found.values()) < MOST, found

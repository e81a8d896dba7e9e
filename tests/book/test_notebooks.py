"""Strict execution of notebooks."""

import ast
import importlib.util
import json
import socket

import nbformat
import pytest
from jupyter_client.connect import LocalPortCache
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from lungseg_utils import __main__
from lungseg_utils.book import notebooks
from lungseg_utils.core import project
from lungseg_utils.types import InputError


@pytest.fixture
def make_notebook(tmp_path):
    def make(*sources, parameters='profile: str = "phantoms"\nseed: int = 0\npublic: bool = False'):
        book = nbformat.v4.new_notebook()
        cell = nbformat.v4.new_code_cell(parameters)
        cell.metadata["tags"] = ["parameters"]
        book.cells = [cell, *(nbformat.v4.new_code_cell(s) for s in sources)]
        path = tmp_path / "n.ipynb"
        nbformat.write(book, path)
        return path

    return make


def test_a_good_notebook_is_executed_with_its_parameters_and_cleaned(make_notebook, tmp_path):
    notebook, out = make_notebook("import sys\nprint(seed + 1)\nprint('progress', file=sys.stderr)"), tmp_path / "out.ipynb"
    notebooks.execute(notebook, out, {"seed": 41}, cwd=tmp_path, progress=False)
    executed = nbformat.read(out, as_version=4)
    assert executed.cells[-1].outputs[0].text == "42\n"
    assert all("remove-cell" in cell.metadata["tags"] for cell in executed.cells[:2])  # parameters are not for readers
    text = out.read_text()
    assert str(tmp_path) not in text
    assert "progress" not in [o.get("name") for c in executed.cells if c.cell_type == "code" for o in c.outputs]
    assert "stderr" not in text.replace("file=sys.stderr", "")


def test_a_figure_keeps_its_alt_text_where_the_book_looks_for_it(make_notebook, tmp_path):
    draw = "import matplotlib.pyplot as plt\nfigure, _ = plt.subplots(figsize=(2, 1), dpi=96)\nfigure.text(0.1, 0.5, 'x', fontsize=9)\n"
    notebook, out = (
        make_notebook(f"from lungseg_utils.reporting import style\n{draw}plt.close(figure)\nstyle.show(figure, 'one x')"),
        tmp_path / "out.ipynb",
    )
    notebooks.execute(notebook, out, {}, cwd=tmp_path, progress=False)
    cell = nbformat.read(out, as_version=4).cells[-1]
    assert cell.metadata["mystnb"] == {"image": {"alt": "one x"}}
    assert cell.outputs[0].metadata["smallest_text_pt"] == 9.0  # 96 dots an inch are those of a page; the ticks are larger


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sed": 1}, "no parameter 'sed'"),
        ({"seed": "1"}, "Give a value of type int"),
        ({"public": "false"}, "type bool"),
        ({"seed": True}, "type int"),
    ],
)
def test_misspelled_and_mistyped_parameters_are_errors_before_the_kernel_starts(make_notebook, tmp_path, monkeypatch, parameters, message):
    monkeypatch.setattr(notebooks.papermill, "execute_notebook", lambda *a, **k: pytest.fail("the kernel was started"))
    with pytest.raises(InputError, match=message):
        notebooks.execute(make_notebook("1"), tmp_path / "out.ipynb", parameters, cwd=tmp_path)
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize(
    ("notebook", "parameters", "message"),
    [
        ("unet_few_shot", {"k": -1}, r"unet_few_shot.ipynb: its parameters .* k is -1\. Give a whole number from 0"),
        (
            "unet_few_shot",
            {"k": 999},
            r"unet_few_shot.ipynb: .*k = 999: lidc_nodules has \d+ training patients .* patients\. Choose k from 1 to",
        ),
        ("unet_few_shot", {"draw": -1}, "draw is -1"),
        ("unet_full", {"seed": -1}, r"unet_full.ipynb: .*seed is -1\. Give a whole number from 0 to 4294967295"),
        ("unet_full", {"fold": 5}, r"fold is 5\. Give a whole number from 0 to 4\."),
        ("unet_full", {"seed": 1.0}, "parameter seed is float 1.0"),
        ("prompts", {"profile": "gigantic"}, r"prompts.ipynb: .*profile gigantic: not in experiments.yml\. Choose one of smoke"),
    ],
)
def test_values_that_no_run_can_be_planned_from_are_errors_before_the_kernel_starts(tmp_path, monkeypatch, notebook, parameters, message):
    monkeypatch.setattr(notebooks.papermill, "execute_notebook", lambda *a, **k: pytest.fail("the kernel was started"))
    with pytest.raises(InputError, match=message):
        notebooks.execute(project.project_root() / "notebooks" / f"{notebook}.ipynb", tmp_path / "out.ipynb", parameters, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_command_line_gives_gets_the_types_that_the_notebook_declares(make_notebook):
    notebook = make_notebook("1")
    read = notebooks.read_parameters(notebook, {"profile": "smoke", "seed": "3", "public": "false"})
    assert read == {"profile": "smoke", "seed": 3, "public": False}
    notebooks.check_parameters(notebook, read)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("seed", "x", "seed is 'x'"), ("seed", "1.5", "float 1.5"), ("public", "perhaps", "type bool"), ("sed", "1", "'sed'")],
)
def test_what_a_command_line_gives_in_another_type_is_refused(make_notebook, name, text, message):
    notebook = make_notebook("1")
    with pytest.raises(InputError, match=message):
        notebooks.check_parameters(notebook, notebooks.read_parameters(notebook, {name: text}))


def test_the_command_takes_parameters_and_names_the_notebook_of_a_bad_one(tmp_path, capsys):
    assert __main__.main(["notebook", "unet_full", str(tmp_path / "out.ipynb"), "-p", "fold", "7"]) == 2
    assert "unet_full.ipynb: its parameters" in (error := capsys.readouterr().err)
    assert "fold is 7" in error


def test_a_failed_notebook_leaves_nothing_and_names_the_cell(make_notebook, tmp_path):
    out = tmp_path / "out.ipynb"
    out.write_text("an older success")
    with pytest.raises(notebooks.NotebookFailed, match="ZeroDivisionError"):
        notebooks.execute(make_notebook("1 / 0", "'never'"), out, {}, cwd=tmp_path, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["n.ipynb"]


def test_a_notebook_that_timed_out_leaves_nothing(make_notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "CELL_TIMEOUT_SECONDS", 2)
    with pytest.raises(Exception, match=r"(?i)time"):
        notebooks.execute(make_notebook("import time; time.sleep(60)"), tmp_path / "out.ipynb", {}, cwd=tmp_path, progress=False)
    assert not (tmp_path / "out.ipynb").exists()


def test_a_process_that_is_killed_is_said_and_leaves_nothing(make_notebook, tmp_path):
    with pytest.raises(notebooks.NotebookFailed, match="memory was full"):
        notebooks.execute(make_notebook("import os; os.kill(os.getpid(), 9)"), tmp_path / "out.ipynb", {}, cwd=tmp_path, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["n.ipynb"]


@pytest.mark.parametrize("starts", [1, notebooks.STARTS])
def test_a_process_that_finds_its_port_taken_is_started_again_a_few_times(make_notebook, tmp_path, monkeypatch, starts):
    """Ports are chosen before the kernel binds them: another program may have taken one in between."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        choose, chosen = LocalPortCache.find_available_port, []

        def race(cache, ip):
            chosen.append(choose(cache, ip) if len(chosen) >= 5 * starts else other.getsockname()[1])
            return chosen[-1]

        monkeypatch.setattr(LocalPortCache, "find_available_port", race)
        notebook, out = make_notebook("print(seed + 1)"), tmp_path / "out.ipynb"
        if starts < notebooks.STARTS:
            notebooks.execute(notebook, out, {"seed": 41}, cwd=tmp_path)
            assert "42" in out.read_text()
        else:
            with pytest.raises(notebooks.NotebookFailed, match=r"n.ipynb: no kernel could be started in \d+ attempts"):
                notebooks.execute(notebook, out, {}, cwd=tmp_path)
            assert not out.exists()


def test_a_missing_kernel_is_said(make_notebook, tmp_path, monkeypatch):
    def nothing(self, name):
        raise NoSuchKernel(name)

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", nothing)
    with pytest.raises(InputError, match="no Jupyter kernel named python3"):
        notebooks.execute(make_notebook("1"), tmp_path / "out.ipynb", {}, cwd=tmp_path, progress=False)


def test_parameters_without_annotation_or_cell_are_refused(make_notebook, tmp_path):
    with pytest.raises(InputError, match="no annotated default"):
        notebooks.declared_parameters(make_notebook("1", parameters="seed = 1"))
    (tmp_path / "broken.ipynb").write_text("{")
    with pytest.raises(InputError, match="not a readable notebook"):
        notebooks.declared_parameters(tmp_path / "broken.ipynb")


def test_one_notebook_makes_several_pages_under_their_own_titles(make_notebook, tmp_path):
    path = make_notebook("1")
    book = nbformat.read(path, as_version=4)
    book.cells.insert(0, nbformat.v4.new_markdown_cell("# The ladder\n\nA question."))
    nbformat.write(book, path)
    notebooks.execute(path, tmp_path / "out.ipynb", {}, cwd=tmp_path, progress=False, title="The whole ladder")
    assert nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[0].source == "# The whole ladder\n\nA question."


def test_a_tracked_notebook_that_was_run_and_saved_is_stored_as_it_was(tmp_path):
    path = project.project_root() / "notebooks" / "prompts.ipynb"
    ran = nbformat.read(path, as_version=4)
    ran.metadata.language_info.version = "3.11.7"
    for count, cell in enumerate(cell for cell in ran.cells if cell.cell_type == "code"):
        cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="42")], count
        cell.metadata["execution"] = {"iopub.status.busy": "2026-01-01T00:00:00Z"}
    model = {"type": "notebook", "content": dict(ran)}
    notebooks.save_as_tracked(model, "notebooks/prompts.ipynb")
    nbformat.write(model["content"], tmp_path / "saved.ipynb")
    assert (tmp_path / "saved.ipynb").read_bytes() == path.read_bytes()


def test_notebooks_of_other_places_are_saved_with_their_outputs():
    cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text="42")])
    model = {"type": "notebook", "content": nbformat.v4.new_notebook(cells=[cell])}
    notebooks.save_as_tracked(model, "mine/notebooks.ipynb")
    assert model["content"].cells[0].outputs[0].text == "42"
    notebooks.save_as_tracked(file := {"type": "file", "content": "text"}, "notebooks/notes.txt")
    assert file["content"] == "text"


@pytest.mark.parametrize("path", sorted((project.project_root() / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_what_a_notebook_takes_from_the_package_is_there(path):
    """A renamed function would be found by the workflow only, after minutes of work."""
    cells = json.loads(path.read_text())["cells"]
    tree = ast.parse("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    taken = {}
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("lungseg_utils")):
        for alias in node.names:
            inside = f"{node.module}.{alias.name}"
            is_module = importlib.util.find_spec(node.module).submodule_search_locations and importlib.util.find_spec(inside)
            taken[alias.asname or alias.name] = importlib.import_module(inside) if is_module else None
            assert is_module or hasattr(importlib.import_module(node.module), alias.name), inside
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)):
        module = taken.get(node.value.id)
        assert module is None or hasattr(module, node.attr), f"{module.__name__}.{node.attr}"

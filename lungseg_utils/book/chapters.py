"""Make the pages of the models, a section each, from a template and what is said of each model alone, both in `book/models/`.

A model of the grid of which nothing is said there is described by its card, folded, at the end of a page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from .. import registry
from ..experiments import config
from ..experiments.costs import subjects
from . import drawings
from .glued import glued_values

_STAND_IN = (
    "What runs here is a **stand-in**: a small network of the same classes that never saw the published weights "
    "([what that means](../results/models.ipynb)). **No number below is a result of the published model.**"
)
FOLDER = Path(__file__).resolve().parents[2] / "book" / "models"
_AUTOMATIC, _PROMPTABLE = "networks", "sam_family"  # pages at whose end models without a section are described
_FURTHER = "## Further published models\n\nThese are used as they are. Their text is that of their cards."
_BY_CARD = Template(""":::{dropdown} $title
$summary *$reference*, [doi:$doi](https://doi.org/$doi). License: $license.

$about

$ran

<!-- if it ran -->
```{glued} ../results/models.ipynb::${model}_numbers
```

```{glued} ../results/models.ipynb::${model}_setup
```

```{glued} ../results/models.ipynb::${model}_failures
```

<!-- end -->
$costs
:::""")
_NOT_MEASURED = "Its full size was not measured."
_NOT_RUN = "**This edition does not run it.**"
_DRAWING = """```{raw} html
%s
```"""
# of models whose full size is measured
_COSTS = """
```{glued} ../results/costs.ipynb::%s_costs
```"""
_PAGE = re.compile(r"^# (\w+): (.+)$", re.MULTILINE)
_MODEL = re.compile(r"^## (\w+): (.+)$", re.MULTILINE)
_PART = re.compile(r"^### (\w+)$", re.MULTILINE)  # Drawing, Adaptation, Costs, Failures
_IF_RAN = re.compile(r"<!-- if it ran -->\n(.*?)<!-- end -->\n", re.DOTALL)
_EMPTY = ("drawing", "adaptation", "costs", "failures")


@dataclass(frozen=True)
class Edition:
    """What was executed: names of notebooks, and model -> what ran of it as `models.ipynb` says, "" for nothing."""

    notebooks: frozenset[str]
    ran: Mapping[str, str]


def whole_grid() -> Edition:
    """An edition that holds every experiment."""
    grid = config.load()
    lines, replaced = grid.experiments.values(), {name for profile in grid.profiles.values() for name in profile.stand_ins}
    ran = {line.model: "stand-in" if line.model in replaced else "published weights" for line in lines}
    return Edition(frozenset(line.notebook for line in lines), ran)


def edition(executed: Path) -> Edition:
    """What a folder of executed notebooks holds."""
    glued = glued_values(executed / "models.ipynb")
    ran = {name.removesuffix("_ran"): str(ast.literal_eval(text)) for name, text in glued.items() if name.endswith("_ran")}
    return Edition(frozenset(path.stem for path in executed.glob("*.ipynb")), ran)


def models(folder: Path = FOLDER) -> dict[str, str]:
    """Model -> the page that its section is on, in reading order."""
    written = {name: page for page, (_, text) in _split(_PAGE, _read(folder)).items() for name in _split(_MODEL, text)}
    return written | _described_by_their_cards(written)


def _described_by_their_cards(written: Container[str]) -> dict[str, str]:
    """Model of the grid -> the page at whose end it is described."""
    models = dict.fromkeys(line.model for line in config.load().experiments.values() if line.model not in written)
    return {name: _AUTOMATIC if "none" in registry.card("models", name).prompts else _PROMPTABLE for name in models}


def pages(folder: Path, held: Edition | None = None) -> dict[str, str]:
    """Name -> Markdown of each page, from `_chapters.md` and `_chapter_template.md` in `folder`; without an edition, of the whole grid."""
    template, held = Template((folder / "_chapter_template.md").read_text(encoding="utf-8")), held or whole_grid()
    parts, made = _split(_PAGE, _read(folder)), {}
    by_card = _described_by_their_cards([name for _, text in parts.values() for name in _split(_MODEL, text)])
    for page, (title, text) in parts.items():
        lead = _MODEL.split(text)[0].strip()
        sections = [_section(template, name, *said, held) for name, said in _split(_MODEL, text).items()]
        folded = [_of_card(name, held) for name, where in by_card.items() if where == page]
        made[page] = "\n\n".join([f"# {title}", lead, *sections, *([_FURTHER, *folded] if folded else [])]) + "\n"
    return made


def write(folder: Path, target: Path, executed: Path) -> None:
    """Write the pages for the executed notebooks of an edition into `target`."""
    for name, text in pages(folder, edition(executed)).items():
        (target / f"{name}.md").write_text(text, encoding="utf-8")


def _read(folder: Path) -> str:
    return (folder / "_chapters.md").read_text(encoding="utf-8")


def _split(heading: re.Pattern[str], text: str) -> dict[str, tuple[str, str]]:
    """Key -> (title, text) of each part below a heading `KEY: TITLE`."""
    _, *parts = heading.split(text)
    return {key: (title.strip(), body.strip()) for key, title, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}


def _of_card(name: str, held: Edition) -> str:
    card = registry.card("models", name)
    about, said = card.about.format(**card.options), {"reference": card.reference, "doi": card.doi, "license": card.license}
    shown = _BY_CARD.substitute(
        said, model=name, title=card.title, summary=card.summary, about=about, ran=_ran(name, held), costs=_costs(name) or _NOT_MEASURED
    )
    return _fitting(shown, bool(held.ran.get(name)))


def _costs(name: str) -> str:
    return _COSTS % name if any(subject.model == name for subject in subjects.subjects()) else ""


def _section(template: Template, name: str, title: str, text: str, held: Edition) -> str:
    lead, *found = _PART.split(text)
    parts = dict.fromkeys(_EMPTY, "") | {part.lower(): body.strip() for part, body in zip(found[::2], found[1::2], strict=True)}
    if not found:  # the baselines without a network
        return f"## {title}\n\n{lead.strip()}\n\n{_experiments(name, held)}".strip()
    parts["costs"] = f"{parts['costs']}\n{_costs(name)}".strip() or _NOT_MEASURED
    drawing = _DRAWING % drawings.svg(drawings.read(parts["drawing"])) if parts["drawing"] else ""
    shown = template.substitute(parts, model=name, title=title, lead=lead.strip(), drawing=drawing, ran=_ran(name, held))
    return _fitting(shown, bool(held.ran.get(name))).strip()


def _ran(name: str, held: Edition) -> str:
    ran = held.ran.get(name, "")
    if not ran:
        return _NOT_RUN
    stand_in = f" {_STAND_IN}" if "stand-in" in ran and registry.checkpoints(name) else ""
    return f"**This edition runs:** {{glue:text}}`../results/models.ipynb::{name}_ran:s`.{stand_in} {_experiments(name, held)}".strip()


def _fitting(text: str, ran: bool) -> str:
    """Without the parts between marks, which hold numbers, where nothing ran."""
    return _IF_RAN.sub(lambda part: part[1] if ran else "", text)


def _experiments(model: str, held: Edition) -> str:
    lines = [line for line in config.load().experiments.values() if line.model == model and line.notebook in held.notebooks]
    links = [f"[{registry.card('paradigms', line.paradigm).title}](../results/{line.notebook}.ipynb)" for line in lines]
    return f"Case by case: {', '.join(links)}." if links else ""

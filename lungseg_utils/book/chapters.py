"""Make the chapter of each model from a template and what is said of it alone, both in `book/models/`."""

from __future__ import annotations

from pathlib import Path
from string import Template

from .. import registry
from ..experiments import config
from ..experiments.costs import subjects
from ..reporting import model_texts

_STAND_IN = (
    "Here it is a **stand-in**: a small network of the same classes, trained by the same recipe, that never saw the published weights "
    "([what that means](../stand_ins.md)). **No number below is a result of the published model.**"
)
# of models whose full size is measured
_MEASURED = """
The weights are random: nothing here is a score. [Efficiency](../results/efficiency.ipynb) describes
the conditions and shows the other models.

```{glued} ../results/efficiency.ipynb::%s_costs
```"""
_PARTS = ("Adaptation", "Experiments", "Costs", "Failures")  # headings of a section; Experiments: what follows the list of them


def pages(folder: Path) -> dict[str, str]:
    """Model -> Markdown of its chapter, from `_chapters.md` and `_chapter_template.md` in `folder`."""
    template = Template((folder / "_chapter_template.md").read_text(encoding="utf-8"))
    return {name: _page(template, name, title, text) for name, (title, text) in model_texts.sections(folder / "_chapters.md").items()}


def write(folder: Path, target: Path) -> None:
    """Write the chapters into `target`."""
    for name, text in pages(folder).items():
        (target / f"{name}.md").write_text(text, encoding="utf-8")


def _page(template: Template, name: str, title: str, text: str) -> str:
    lead, parts = text, {}
    for part in reversed(_PARTS):
        lead, _, parts[part.lower()] = (piece.strip() for piece in lead.partition(f"## {part}\n"))
    parts["adaptation"] = Template(parts["adaptation"]).substitute(stand_in=_STAND_IN)
    parts["costs"] += _MEASURED % name if any(subject.model == name for subject in subjects.SUBJECTS) else ""
    parts["experiments"] = f"{_experiments(name)} {parts['experiments']}".strip()
    return template.substitute(parts, model=name, title=title, lead=lead)


def _experiments(model: str) -> str:
    lines = [line for line in config.load().experiments.values() if line.model == model]
    links = [f"[{registry.card('paradigms', line.paradigm).title}](../results/{line.notebook}.ipynb)" for line in lines]
    return f"Experiment{'s' if len(links) > 1 else ''}: {', '.join(links)}."

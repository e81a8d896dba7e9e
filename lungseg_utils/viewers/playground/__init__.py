"""The playground: a person draws prompts on a case, and models predict at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...types import Case
    from .session import OfferedModel
    from .widget import Playground


def playground(
    cases: Case | Sequence[Case],
    models: OfferedModel | Sequence[OfferedModel],
    folder: Path | None = None,
    cache_mb: float = 512.0,
) -> Playground:
    """A widget to prompt models on cases in JupyterLab or voila: boxes and clicks on the slices, answers with their scores at once.

    `models` are what `viewers.playground.offers.models` gives, or one's own. The first case is shown and the first model is asked; others
    can be chosen. Sessions and masks are saved below `folder`
    (data/sessions without it). `cache_mb` limits the image embeddings that are kept. Raises InputError without case or model.
    """
    from .widget import Playground

    return Playground(cases, models, folder, cache_mb)

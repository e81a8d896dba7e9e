"""Write the data of the interactive pages: test cases with all predictions, and networks that run in the page."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ..experiments import config, grid, load, planning
from ..experiments.results import open_result, planned_results
from ..reporting import methods
from ..viewers import case_explorer, prompt_page

# whose networks can be asked in the page: small ones before and after fine-tuning, and LiteMedSAM as published, in every CT window
PROMPTED_IN_THE_PAGE = ("medsam_fine_tuned", "medsam_zero_shot")
PUBLISHED_IN_THE_PAGE, PUBLISHED = "litemedsam_zero_shot", "litemedsam"


def write(profile: str, folder: Path, public: bool = False) -> None:
    """Write the data of a profile's book into `folder`, whole or not at all; all its experiments must be finished.

    Of a method with several runs the first one is shown, of a cross-validation each fold on what it left out. With `public`, voxels of
    data sets that may not be redistributed stay out.
    """
    results = [methods.FirstRun(method) for method in methods.group_runs(planned_results(profile))]
    titles = {result.experiment.name: planning.experiment_title(result.experiment) for result in results}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".page-data-") as temporary:
        fresh = Path(temporary) / "fresh"
        case_explorer.write(results, titles, fresh / "cases", public)
        _write_prompt_page(profile, titles, fresh / "prompting", public)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)


def _write_prompt_page(profile: str, titles: dict[str, str], folder: Path, public: bool) -> None:
    here = config.load().notebooks(profile)
    asked = [planning.make_experiment(notebook, profile) for notebook in PROMPTED_IN_THE_PAGE if notebook in here]
    published = planning.planned_runs(PUBLISHED_IN_THE_PAGE, profile) if PUBLISHED_IN_THE_PAGE in here else []
    asked += [experiment for experiment in published if experiment.model == PUBLISHED]  # where no stand-in takes its place
    prompted = [open_result(experiment) for experiment in asked]
    segmenters = [load.segmenter_of(experiment) for experiment in asked]
    prompt_page.write(prompted, titles, segmenters, folder, public, grid.real_datasets(profile))

"""The contamination table: complete, sourced, and strict about what may be called zero-shot."""

import json
import re

import pandas as pd
import pytest

from lungseg_utils import registry
from lungseg_utils.core import own_models, project
from lungseg_utils.experiments import grid, planning
from lungseg_utils.reporting import contamination
from lungseg_utils.types import InputError

ROOT = project.project_root()


@pytest.fixture
def frame():
    return contamination.read()


@pytest.fixture
def refused(tmp_path):
    """Write a changed table and return the message of its refusal."""

    def check(changed):
        path = tmp_path / "contamination.csv"
        changed.to_csv(path, index=False)
        with pytest.raises(InputError) as caught:
            contamination.read(path)
        return str(caught.value)

    return check


def test_every_pair_has_one_row(frame):
    run_here = frame["weights"].isin(contamination.known_weights())
    assert run_here.sum() == len(contamination.known_weights()) * len(contamination.datasets())
    assert set(frame["weights"][~run_here]) == set(contamination.ELSEWHERE)
    assert not frame.duplicated(["weights", "dataset"]).any()


def test_weights_that_had_seen_the_tested_images_say_so_in_table_figure_and_text(frame):
    seen = ["lite_medsam", "MedSAM2_latest", "MedSAM2_CTLesion", "TotalSegmentator_lung_nodules"]
    assert contamination.burnt(frame, "lidc_nodules") == seen
    real, stand_in = (planning.make_experiment("litemedsam_fine_tuned", profile) for profile in ("patients", "phantoms"))
    assert contamination.is_burnt(real, "lidc_nodules")
    assert contamination.level_of(stand_in, "phantom_nsclc") == contamination.NONE
    assert not contamination.is_burnt(stand_in, "lidc_nodules")
    assert contamination.level_of(planning.make_experiment("unet_full", "phantoms"), "phantom_nsclc") == ""  # random first weights


def test_lidc_is_burnt_for_models_of_one_group_and_nobody_else_is_said_to_have_seen_it(frame):
    run_here = frame["weights"].isin(contamination.known_weights())
    seen = frame[run_here & (frame["dataset"] == "lidc_idri") & frame["level"].str.startswith("same images")]
    assert set(seen["weights"]) - {"TotalSegmentator_lung_nodules"} == {"MedSAM2_latest", "MedSAM2_CTLesion", "lite_medsam"}
    seen = seen[seen["weights"] != "TotalSegmentator_lung_nodules"]  # whose outlines are not said
    assert set(seen["level"]) == {"same images and labels"}
    assert set(seen["source"].str.rpartition("bowang-lab/")[2]) == {"MedSAM2/issues/5", "MedSAM/issues/255"}


def test_the_text_counts_pairs_of_published_weights_alone(frame):
    three = ["sam_vit_b_01ec64", "medsam_vit_b", "sam_stand_in__shapes"]
    small = frame[frame["weights"].isin(three)].groupby("weights", sort=False).head(2).copy()
    small.loc[small["weights"] == "sam_vit_b_01ec64", "level"] = [contamination.NONE, contamination.UNKNOWN]
    small.loc[small["weights"] == "medsam_vit_b", "level"] = [contamination.NONE, "same institution"]
    assert contamination.page_values(small, stand_ins=5) == {
        "contamination_pairs": 4,
        "contamination_clean": 2,
        "contamination_clean_files": 2,
        "contamination_unknown": 1,
        "contamination_seen": 1,
        "contamination_stand_ins": 5,
        "contamination_lidc": "none",
    }
    assert contamination.legend().count("- **") == len(contamination.LEVELS)


def test_all_weights_that_a_model_lists_are_known():
    for name in ("sam", "medical_sam2"):
        listed = {checkpoint.file.rpartition(".")[0] for checkpoint in registry.checkpoints(name)}
        assert listed <= set(contamination.known_weights())
    assert contamination.level("sam2_hiera_small", "msd_lung") == "unknown"  # an option of Medical SAM 2


def test_levels_are_looked_up_and_unknown_names_are_errors():
    assert contamination.level("sam_vit_b_01ec64", "nsclc_radiomics") == "none"
    for names in (("sam_vit_h", "msd_lung"), ("sam_vit_b_01ec64", "luna25")):
        with pytest.raises(InputError, match=r"not (in|among)"):
            contamination.level(*names)


def test_the_stand_ins_are_those_that_the_workflow_pretrains(frame):
    kinds = {name for name, kind in contamination.known_weights().items() if kind == "stand-in"}
    assert kinds == set(grid.stand_ins("phantoms"))


def test_quotes_from_this_project_stand_where_they_are_said_to(frame):
    own = frame[frame["source"] == "notebooks/models.ipynb"]
    cells = json.loads((ROOT / "notebooks" / "models.ipynb").read_text())["cells"]
    page = re.sub(r"[*\s]+", " ", "".join(line for cell in cells for line in cell["source"]))
    assert set(own["weights"]) == {name for name, kind in contamination.known_weights().items() if kind == "stand-in"}
    assert all(quote in page for quote in own["quote"].unique())


def test_faults_are_named(frame, refused):
    assert "unknown level ['a bit']" in refused(frame.assign(level=["a bit", *frame["level"][1:]]))
    assert "unknown weights" in refused(frame.replace({"weights": {"sam_vit_b_01ec64": "sam_vit_h"}}))
    assert "sam_vit_b_01ec64 on msd_lung is missing" in refused(frame.drop(index=0))
    assert "sam_vit_b_01ec64 on msd_lung stands there twice" in refused(pd.concat([frame, frame[:1]]))
    assert "over 25 words" in refused(frame.assign(quote="word " * 26))
    assert "quote without its source" in refused(frame.assign(source=""))
    assert "'none' without a source" in refused(frame.assign(source="", quote=""))
    assert "unknown without a reason" in refused(frame.assign(level="unknown", note=""))
    assert "its columns are" in refused(frame.drop(columns="note"))


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        contamination.read(tmp_path / "none.csv")


def test_the_matrix_has_a_word_for_each_level_and_one_row_for_all_stand_ins(frame):
    published = [name for name, kind in contamination.known_weights().items() if kind == contamination.PUBLISHED]
    table = contamination.matrix(frame).set_index("weights")
    assert list(table.index) == [*published, "all stand-ins"]
    assert table.shape[1] == len(contamination.datasets())
    assert table.loc["lite_medsam", ["LIDC nodules", "NSCLC-Radiomics", "NSCLC-like phantoms"]].tolist() == ["labels", "images", "target"]
    assert table.loc["medsam_vit_b"].unique().tolist() == ["?"]
    assert table.loc["all stand-ins"].unique().tolist() == ["none"]
    others = contamination.matrix(frame, run_here=False).set_index("weights")
    assert list(others.index) == list(contamination.ELSEWHERE)
    assert others.loc["VISTA3D", "RIDER Lung CT"] == ""  # nothing was looked for
    styled = contamination.colored(contamination.matrix(frame)).to_html()
    assert styled.count("background-color: #e8927c") == 1  # one rule, for the cells "labels"


def test_stand_ins_of_which_something_else_is_said_have_rows_of_their_own(frame):
    changed = frame.copy()
    changed.loc[(changed["weights"] == "sam_stand_in__shapes") & (changed["dataset"] == "msd_lung"), "level"] = contamination.UNKNOWN
    assert "sam_stand_in__shapes" in contamination.matrix(changed)["weights"].tolist()


def test_every_source_is_listed_once_in_a_table(frame):
    text = contamination.sources(frame)
    assert all(f"**{name}**" in text for name in contamination.known_weights())
    assert text.count("LIDC-IDRI; LIDC nodules: *same images and labels*") == 5
    assert {len(re.split(r"(?<!\\)\|", line)) for line in text.splitlines()} == {5}  # three cells in each row


def test_an_edition_that_tests_weights_on_images_that_they_saw_says_so(frame):
    assert "LiteMedSAM" in contamination.answer(frame, "patients")
    assert "upper bound" in contamination.answer(frame, "patients")
    assert "upper bound" not in contamination.answer(frame, "phantoms")
    assert "stand-ins" in contamination.answer(frame, "phantoms")


def test_every_promptable_model_has_first_weights_that_the_table_knows():
    starting = [name for name in registry.names("models") if hasattr(registry.plugin("models", name), "initial_weights")]
    promptable = [name for name in starting if not name.startswith(own_models.PREFIX)]
    assert len(promptable) >= 7
    for name in promptable:
        assert contamination.weights_of(name, registry.card("models", name).options) in contamination.known_weights(), name
    assert contamination.weights_of("unet", {}) == ""
    options = dict(registry.card("models", "sam_stand_in").options)
    assert "`sam_stand_in__ct_like`" in contamination.sentence("sam_stand_in", options, ["phantom_msd", "lidc_idri"])
    assert "random" in contamination.sentence("sam_stand_in", options | {"pretraining": "random"}, ["phantom_msd"])
    assert "same images and labels" in contamination.sentence("medsam2", registry.card("models", "medsam2").options, ["lidc_idri"])


def test_of_a_model_that_was_trained_elsewhere_the_page_repeats_what_its_owner_says():
    options = dict(registry.card("models", "own_nnunet").options)
    said = contamination.sentence("own_nnunet", options | {"trained_on": "MSD Task06"}, ["lidc_idri"])
    assert "MSD Task06" in said
    assert "random" not in said
    assert "may have seen the test patients" in contamination.sentence("own_nnunet", options | {"trained_on": "unknown"}, ["lidc_idri"])

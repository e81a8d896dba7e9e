"""Outputs are checked before any work: they can be written, and are no inputs."""

import os
from pathlib import Path

import pytest

from lungseg_utils import __main__ as command_line
from lungseg_utils.core import files, outputs
from lungseg_utils.types import InputError


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "in" / "ct.nii.gz"
    path.parent.mkdir()
    path.write_text("CT")
    return path


def _itself(image):
    return image


def _other_spelling(image):
    return image.parent / ".." / "in" / "ct.nii.gz"


def _link(image):
    (link := image.parent.parent / "m.nii.gz").symlink_to(image)
    return link


def _hard_link(image):
    os.link(image, other := image.parent.parent / "m.nii.gz")
    return other


def _linked_folder(image):
    (image.parent.parent / "link").symlink_to(image.parent)
    return image.parent.parent / "link" / "ct.nii.gz"


@pytest.mark.parametrize("spelled", [_itself, _other_spelling, _link, _hard_link, _linked_folder])
def test_an_input_is_no_output_however_it_is_spelled(image, spelled):
    out = spelled(image)
    with pytest.raises(InputError, match=r"it is read, as .*would be overwritten\. Give another name"):
        outputs.require_file(out, [image])
    if spelled is not _hard_link:  # whose own name lies elsewhere
        with pytest.raises(InputError, match="this file of the input"):
            outputs.require_file(out, [image.parent])
    assert image.read_text() == "CT"


def test_a_link_to_an_input_that_is_named_by_its_real_place_is_refused_too(image, tmp_path):
    (link := tmp_path / "ct.nii.gz").symlink_to(image)
    with pytest.raises(InputError, match="would be overwritten"):
        outputs.require_file(image, [link])


def test_another_file_passes_and_leaves_no_trace(image, tmp_path):
    outputs.require_file(image.parent / "mask.nii.gz", [image, image.parent], (".nii.gz",))
    outputs.require_file(tmp_path / "new" / "deep" / "m.nii.gz", [image])
    outputs.require_folder(image.parent / "report", [image.parent])
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["ct.nii.gz", "in"]


def test_a_folder_that_is_or_holds_an_input_is_refused(image, tmp_path):
    (tmp_path / "link").symlink_to(image.parent)
    for out in (image.parent, tmp_path, tmp_path / "link"):
        with pytest.raises(InputError, match="Give another folder"):
            outputs.require_folder(out, [image.parent])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("in", "it is a folder"),
        ("in/ct.nii.gz/m.csv", "is no folder"),
        ("x" * 300 + ".csv", "longer than 241 bytes"),
        ("new/" + "ü" * 130 + "/a.csv", "longer than 241 bytes"),
        ("pipe", "no regular file"),
        ("loop/a.csv", "cannot be written|is no folder"),
    ],
)
def test_what_cannot_be_written_is_refused(image, tmp_path, name, words):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match=words):
        outputs.require_file(tmp_path / name)


def test_whatever_passes_can_be_written(tmp_path):
    path = tmp_path / "deep" / ("x" * 237 + ".csv")
    outputs.require_file(path)
    files.write_text("text", path)
    assert path.read_text() == "text"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="permission"):
        outputs.require_file(tmp_path / "a.csv")


def test_a_disk_for_reading_only_is_refused():
    with pytest.raises(InputError, match="cannot be written"):
        outputs.require_folder(Path("/proc/report"))


@pytest.mark.parametrize("command", [["dry-run"], ["data", "check", "mydata"]])
def test_a_table_keeps_to_its_ending(command, tmp_path, capsys):
    assert command_line.main([*command, "--csv", str(tmp_path / "ct.nii.gz")]) == 2
    assert "Let the name end in .csv or .csv.gz" in capsys.readouterr().err


def test_the_table_of_a_data_set_is_not_overwritten_by_its_check(tmp_path, capsys):
    (table := tmp_path / "cases.csv").write_text("case_id,image,reference\n")
    assert command_line.main(["data", "check", str(table), "--csv", str(table)]) == 2
    assert "it is read" in capsys.readouterr().err
    assert table.read_text() == "case_id,image,reference\n"


def test_a_notebook_is_not_executed_onto_itself(capsys):
    source = Path("notebooks/data.ipynb")
    before = source.read_bytes()
    assert command_line.main(["notebook", "data", str(source)]) == 2
    assert "it is read" in capsys.readouterr().err
    assert source.read_bytes() == before

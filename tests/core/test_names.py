"""Names from outside become names of files: safe, readable, and apart."""

import os

import pytest

from lungseg_utils.core.names import safe_name
from lungseg_utils.types import Case, InputError

HOSTILE = [
    "KL/17-4",
    "../../gone",
    "..",
    ".hidden",
    "a\\b",
    "",
    " ",
    "\n",
    "a\0b",
    "x" * 300,
    "Jürg Ö.",
    "患者",
    "-rf",
    "a:b",
    "~root",
    "\udcff",
]


@pytest.mark.parametrize("text", ["LUNG1-001", "R01-001.b", "P_7", "1"])
def test_a_safe_name_stays_as_it_is_without_blanks_at_its_ends(text):
    assert safe_name(text) == safe_name(f" {text} ") == text


@pytest.mark.parametrize("text", HOSTILE)
def test_any_other_becomes_one_file_directly_in_its_folder_in_ascii(tmp_path, text):
    name = safe_name(text)
    assert name.isascii()
    assert len(name) <= 73
    path = tmp_path / f"{name}_0000.nii.gz"
    path.touch()
    assert os.listdir(tmp_path) == [path.name]
    assert Case("folder", name, text, path).case_id == name


def test_names_that_differ_stay_apart_and_can_be_recognized():
    names = {safe_name(text) for text in HOSTILE}
    assert len(names) == len({text.strip() for text in HOSTILE})
    assert safe_name("KL/17-4").startswith("KL-17-4-")
    assert safe_name("Jürg Ö.").startswith("Jurg-O-")
    assert len({safe_name("KL/17-4"), safe_name("KL-17-4"), safe_name("KL:17-4")}) == 3


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a b", "a\n", "x" * 300, "ü" * 100])
def test_no_case_has_an_unsafe_name(tmp_path, name):
    with pytest.raises(InputError, match="no usable case name"):
        Case("folder", name, "P", tmp_path)

"""Tables that people write: every encoding, blank and path is read, or refused with its line."""

import pytest

from lungseg_utils.core import text_tables
from lungseg_utils.types import InputError


def _table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


def _cells(path):
    return [row.cells for row in text_tables.read_rows(path, ("id", "who"))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_blanks_empty_rows_and_empty_columns_are_no_text(tmp_path, encoding, end):
    lines = ["", " id ,who,", "a, Jürg\u0085 ", ",,", "", " b ,P1,", 'c,"x, y"']
    assert _cells(_table(tmp_path, end.join(lines), encoding)) == [
        {"id": "a", "who": "Jürg"},
        {"id": "b", "who": "P1"},
        {"id": "c", "who": "x, y"},
    ]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_another_encoding_is_refused_in_words(tmp_path, encoding):
    with pytest.raises(InputError, match=r"t\.csv: it cannot be read as UTF-8\. Save it in UTF-8"):
        _cells(_table(tmp_path, "id,who\na,Jürg\n", encoding))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id;who\na;b\n", r"its columns are \['id;who'\]: the column id, who is missing"),
        ("id,who,id\na,b,c\n", "the column id stands there twice"),
        ("id,who\na,b\nc,d,e\n", "line 3: 3 cells in 2 columns"),
        ('id,who\na,"b\n', "line 2: it is no CSV"),
        ("id,who\na," + "x" * 200_000, "it is no CSV"),
        ("", "is missing"),
    ],
)
def test_what_is_no_such_table_is_refused_with_its_line(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        _cells(_table(tmp_path, text))


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        _cells(tmp_path / "nothing.csv")


@pytest.mark.parametrize("cell", ["~nobody-of-this-name/x.nii", "x" * 300, "a\0b", "nowhere.nii"])
def test_a_cell_that_is_no_path_is_refused_with_its_line(tmp_path, cell):
    with pytest.raises(InputError, match=r"^t\.csv, line 2: ") as caught:
        text_tables.resolve_path(cell, tmp_path, "t.csv, line 2")
    assert len(str(caught.value)) < 600


def test_relative_paths_start_at_the_folder_of_the_table(tmp_path):
    (tmp_path / "a.nii").touch()
    assert text_tables.resolve_path("a.nii", tmp_path, "") == tmp_path / "a.nii"

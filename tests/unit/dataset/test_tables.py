"""CSV files as people have them."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from builders import refused
from imagepipe.dataset.tables import read_header, read_table

PLAIN = "id,label\n1,cat\n2,größer\n"
ROWS = [(2, ("1", "cat")), (3, ("2", "größer"))]


def read(path: Path, content: str | bytes, *columns: str | None, **options: object) -> list:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_table(path, columns or ("id", "label"), **options))


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", " , "),
        PLAIN.replace("\n", ",,\n"),
        PLAIN.removesuffix("\n"),
        '"id","label"\n"1","cat"\n"2","größer"\n',
        'id, label\n1, "cat"\n2, "größer"\n',
        "label,id\ncat,1\ngrößer,2\n",
        ",id,label\n0,1,cat\n1,2,größer\n",
        "Unnamed: 0,id,label\n0,1,cat\n1,2,größer\n",
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.replace(",", "\t").encode("utf-16"),
    ],
)
def test_separator_encoding_and_quoting_are_recognized(
    tmp_path: Path, content: str | bytes
) -> None:
    assert read(tmp_path / "it.csv", content) == ROWS


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("\n\nid,label\n\n1,cat\n   \n,,\n2,dog\n\n", [5, 8]),
        ("sep=;\nid;label\n1;cat\n2;dog\n", [3, 4]),
        ('id,label,note\n1,cat,"two\nlines"\n2,dog,\n', [3, 4]),
    ],
)
def test_row_is_the_line_in_the_file(tmp_path: Path, content: str, lines: list[int]) -> None:
    rows = read(tmp_path / "it.csv", content)
    assert rows == [(lines[0], ("1", "cat")), (lines[1], ("2", "dog"))]


def test_separator_is_the_one_that_makes_the_columns(tmp_path: Path) -> None:
    rows = read(tmp_path / "it.csv", "id,tags\n1,a;b;c\n2,d|e|f|g\n", "id", "tags")
    assert rows == [(2, ("1", "a;b;c")), (3, ("2", "d|e|f|g"))]
    rows = read(tmp_path / "it.csv", "id;p\n1;0,5\n2;0,25\n", "id", "p")
    assert rows == [(2, ("1", "0,5")), (3, ("2", "0,25"))]


def test_other_encodings_must_be_said(tmp_path: Path) -> None:
    path = tmp_path / "it.csv"
    for encoding in ("latin-1", "cp1252"):
        assert read(path, PLAIN.encode(encoding), encoding=encoding) == ROWS
    with refused(str(path), "row 3", "not UTF-8", "latin-1 or cp1252"):
        read(path, PLAIN.encode("latin-1"))
    assert read(path, PLAIN.encode("utf-16"), encoding="latin-1") == ROWS


def test_rows_are_numbered_where_there_is_no_id_column(tmp_path: Path) -> None:
    content = "label,usage\ncat,train\n\ndog,test\nfrog,train\n"
    rows = read(tmp_path / "it.csv", content, None, "label", where={"usage": "train"})
    assert rows == [(2, ("1", "cat")), (5, ("3", "frog"))]


def test_condition_that_no_row_meets_is_refused(tmp_path: Path) -> None:
    content = "id,label,usage\n1,cat,Train\n2,dog,Test\n"
    with refused("no row has usage = 'train'", "Test, Train", "where"):
        read(tmp_path / "it.csv", content, where={"usage": "train"})
    with refused("no column 'use'", "id, label, usage"):
        read(tmp_path / "it.csv", content, where={"use": "train"})


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("labels.csv", PLAIN)
    return content.getvalue()


def workbook() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped(), "is a zip archive, not a CSV file; unpack it"),
        (workbook(), "is an Excel workbook, not a CSV file; save it as CSV"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "is an Excel workbook"),
        (gzip.compress(PLAIN.encode(), mtime=0), "is a gzip file"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "is a web page"),
        (b"\n <html>", "is a web page"),
        (PLAIN.encode("utf-16-le"), "NUL bytes"),
        (b"id,label\n1,\0\n", "NUL bytes"),
        ("id,label\n1,cat,dog\n", "row 2: 3 fields where the header has 2"),
        ("id,label\n1\n", "row 2: 1 fields where the header has 2"),
        ('id,label\n1,"cat\n', "row 2: not valid CSV"),
        ('id,label\n1,"cat"x\n', "row 2: not valid CSV"),
        ("id,label,id\n1,cat,2\n", "row 1: the column 'id' is there twice"),
        ("", "row 1: there is no column 'id' (found: nothing)"),
        ("id,lable\n1,cat\n", "no column 'label' (found: 'id, lable') (did you mean 'lable'?)"),
        (b"id,label\n1,c\xe4t\n", "row 2: not UTF-8"),
        (b"\xff\xfei\0d\0", "no column 'label' (found: 'id')"),
        (b"\xff\xfe\x00\xd8\x00\xd8,\0", "not utf-16 text"),
    ],
)
def test_file_that_is_no_such_table_is_refused_in_one_line(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    with refused(str(tmp_path / "labels.csv"), words):
        read(tmp_path / "labels.csv", content)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with refused("none.csv", "does not exist"):
        list(read_table(tmp_path / "none.csv", ("id",)))


def test_long_fields_are_read_up_to_a_limit(tmp_path: Path) -> None:
    pixels = "255 " * 50_000
    rows = read(tmp_path / "it.csv", f"id,pixels\n1,{pixels}\n", "id", "pixels")
    assert rows == [(2, ("1", pixels.strip()))]
    with refused("row", "field larger"):
        read(tmp_path / "it.csv", f'id,pixels\n1,"{"255 " * 5_000_000}', "id", "pixels")


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("id;a;b", ("id", "a", "b")),
        ("Unnamed: 0,id,a", ("id", "a")),
        ('"",id,a,', ("id", "a")),
    ],
)
def test_header_is_without_unnamed_columns(
    tmp_path: Path, header: str, names: tuple[str, ...]
) -> None:
    (tmp_path / "it.csv").write_text(f"{header}\n")
    assert read_header(tmp_path / "it.csv") == names


@pytest.mark.parametrize("header", ["", "id,id"])
def test_header_without_different_names_is_refused(tmp_path: Path, header: str) -> None:
    (tmp_path / "it.csv").write_text(f"{header}\n")
    with refused("row 1", "header"):
        read_header(tmp_path / "it.csv")

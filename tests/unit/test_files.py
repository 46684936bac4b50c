"""Files that are whole or not there, and tables that name their bad row."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from builders import refused
from imagepipe.files import (
    atomic_write,
    check_room,
    link,
    natural_key,
    read_rows,
    spreadsheet_safe,
    text_of_field,
    write_new,
    write_rows,
    write_text,
)


@pytest.mark.parametrize("stopped_by", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, "old"])
def test_failed_writing_leaves_the_old_file_and_no_debris(
    tmp_path: Path, stopped_by: type[BaseException], old: str | None
) -> None:
    target = tmp_path / "table.csv"
    if old is not None:
        target.write_text(old)
    with pytest.raises(stopped_by), atomic_write(target) as temporary:
        temporary.write_text("half of the new")
        raise stopped_by
    assert [path.name for path in tmp_path.iterdir()] == ([] if old is None else ["table.csv"])
    assert old is None or target.read_text() == old


def test_written_file_appears_only_at_the_end_and_its_folder_is_made(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file"
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["10", "9", "1"], ["1", "9", "10"]),
        (["a10", "a2", "a1"], ["a1", "a2", "a10"]),
        (["b", "2", "a", "10"], ["2", "10", "a", "b"]),
        (["x1y10", "x1y9", "x"], ["x", "x1y9", "x1y10"]),
        (["300000", "", "45"], ["", "45", "300000"]),
        (["train/10.png", "train/9.png"], ["train/9.png", "train/10.png"]),
        (["10.png", "a.png", "9.png"], ["9.png", "10.png", "a.png"]),
        (["a2", "a b", "a-2", "ab", "a"], ["a", "a2", "a b", "a-2", "ab"]),
        (["²", "2", "1"], ["1", "2", "²"]),
        (["7", "07", "007", "6"], ["6", "007", "07", "7"]),
    ],
)
def test_natural_order_counts_numbers_as_numbers(texts: list[str], expected: list[str]) -> None:
    assert sorted(texts, key=natural_key) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"id,label\n1,cat\n2,dog\n",
        b"\xef\xbb\xbfid,label\n1,cat\n2,dog\n",
        b"id,label\r\n1,cat\r\n2,dog\r\n",
        b"id,label\n1,cat\n2,dog",
        b" id , label\n 1, cat \n2 ,dog\n",
        b'"id","label"\n"1","cat"\n"2","dog"\n',
        b"label,other,id\ncat,x,1\ndog,,2\n",
    ],
    ids=["plain", "byte-order mark", "CRLF", "no last line end", "spaces", "quotes", "columns"],
)
def test_table_is_read_however_it_was_saved(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    assert list(read_rows(path, ("id", "label"))) == [(2, ("1", "cat")), (3, ("2", "dog"))]


def test_blank_lines_are_skipped_and_the_line_numbers_stay_right(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"id,label\n\n1,cat\n \n2,dog\n\n")
    assert [row for row, _ in read_rows(path, ("id",))] == [3, 5]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["row 1", "'id'"]),
        (b"number,label\n1,cat\n", ["row 1", "'id'", "number, label"]),
        (b"id,label\n1,cat\n2\n", ["row 3", "1 fields", "2"]),
        (b"id,label\n1,cat\n2,dog,x\n", ["row 3", "3 fields", "2"]),
        ("id,label\n1,chät\n".encode("latin-1"), ["UTF-8"]),
        ("id,label\n1,cat\n".encode("utf-16"), ["UTF-8"]),
        (b'id,label\n1,"cat\n', ["row 2", "CSV"]),
        (b"id,label\n1," + b"x" * (1 << 25) + b"\n", ["row 2", "CSV", "field limit"]),
        (b"id,label,id\n1,cat,2\n", ["row 1", "'id' is there twice"]),
        (b'id,"la\nbel"\n1,cat\n', ["row 1", "'label'", r"id, la\nbel"]),
        (b"id," + b"x" * 1_000 + b"\n", ["row 1", "'label'", "(1,004 characters)"]),
        ("id,label\n1,cat\n".encode("utf-16-le"), ["row 1", "'id'", r"i\x00d"]),
    ],
)
def test_bad_table_is_refused_with_file_and_row(
    tmp_path: Path, content: bytes, words: list[str]
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with refused(str(path), *words):
        list(read_rows(path, ("id", "label")))


def test_missing_table_is_named(tmp_path: Path) -> None:
    with refused(str(tmp_path / "table.csv")):
        list(read_rows(tmp_path / "table.csv", ("id",)))


def test_values_with_commas_quotes_and_line_ends_survive(tmp_path: Path) -> None:
    rows = [("1", 'a "b", c'), ("2", "d\ne")]
    write_rows(tmp_path / "table.csv", ("id", "label"), rows)
    assert [values for _, values in read_rows(tmp_path / "table.csv", ("id", "label"))] == rows


def test_link_that_was_asked_for_and_is_refused_is_not_replaced_by_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("links are not supported")

    (tmp_path / "a").write_text("content")
    monkeypatch.setattr(os, "link", refuse)
    with refused(str(tmp_path / "b"), "hardlink", "link_mode"):
        link(str(tmp_path / "a"), str(tmp_path / "b"), "hardlink")
    assert not (tmp_path / "b").exists()


def test_a_full_disk_is_not_called_a_refused_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for module, name in ((os, "link"), (os, "symlink"), (shutil, "copyfile")):
        monkeypatch.setattr(module, name, full)
    (tmp_path / "image.png").write_bytes(b"content")
    for mode in ("auto", "copy"):
        with pytest.raises(OSError, match="No space left"):
            link(str(tmp_path / "image.png"), str(tmp_path / "link.png"), mode)
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


def test_new_file_is_written_only_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    write_new(str(path), b"content")
    assert path.read_bytes() == b"content"
    with pytest.raises(FileExistsError):
        write_new(str(path), b"other")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_new(str(tmp_path / "link"), b"other")
    assert path.read_bytes() == b"content"
    assert not (tmp_path / "elsewhere").exists()


def test_content_is_written_whole_when_the_system_takes_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda d, content, offset: pwrite(d, content[:3], offset))
    write_new(str(tmp_path / "a"), b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_disk_without_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    check_room(tmp_path / "new" / "folder", 1)
    with refused(str(tmp_path / "new"), "1,000,000,000.00 GB", "make room"):
        check_room(tmp_path / "new" / "folder", 10**18)
    assert not (tmp_path / "new").exists()


def test_what_a_killed_job_has_left_is_removed(tmp_path: Path) -> None:
    left_over = tmp_path / ".table.csv.123.part"
    other = tmp_path / ".table.csv2.123.part"
    for path in (left_over, other):
        path.write_text("half")
    write_text(tmp_path / "table.csv", "whole")
    assert not left_over.exists()
    assert other.exists()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("'=1", "''=1"),
        ("1=1", "1=1"),
        ("'quoted'", "'quoted'"),
        ("", ""),
    ],
)
def test_no_field_for_people_is_a_formula(text: str, field: str) -> None:
    assert spreadsheet_safe(text) == field
    assert text_of_field(field) == text


def test_numbers_of_thousands_of_digits_have_their_place() -> None:
    """More digits than Python makes a number of."""
    long, longer = "9" * 5_000, "1" + "0" * 5_000
    assert sorted([longer, "10", long, "9"], key=natural_key) == ["9", "10", long, longer]
    texts = [f"a{longer}", f"a{long}", "a2"]
    assert sorted(texts, key=natural_key) == ["a2", f"a{long}", f"a{longer}"]

"""Files without a checksum are compared with what they were when they were first used."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from builders import refused
from imagepipe.sources.first_use import check_first_use


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_first_use_is_recorded_and_the_next_compared(tmp_path: Path) -> None:
    record = tmp_path / "first_use.sha256"
    paths = {name: tmp_path / f"{name}.partial" for name in ("a.zip", "my file.csv")}
    for path in paths.values():
        path.write_text("first")
    check_first_use({"a.zip": paths["a.zip"]}, record)
    check_first_use(paths, record)
    assert record.read_text() == f"{sha256('first')}  a.zip\n{sha256('first')}  my file.csv\n"

    before = record.stat().st_mtime_ns
    check_first_use(paths, record)
    assert record.stat().st_mtime_ns == before

    paths["my file.csv"].write_text("second")
    short = [sha256(text)[:12] for text in ("first", "second")]
    with refused(str(record), "my file.csv", *short, "nothing was kept", "remove its line"):
        check_first_use(paths, record)
    record.write_bytes(f"{sha256('first')}  a.zip\r\n\r\n".encode())  # as an editor may leave it
    check_first_use(paths, record)
    assert record.read_text().splitlines()[1] == f"{sha256('second')}  my file.csv"


def test_one_file_that_differs_lets_no_other_be_recorded(tmp_path: Path) -> None:
    record = tmp_path / "first_use.sha256"
    record.write_text(before := f"{sha256('first')}  b.zip\n")
    paths = {name: tmp_path / name for name in ("a.zip", "b.zip")}
    for path in paths.values():
        path.write_text("second")
    with refused("b.zip"):
        check_first_use(paths, record)
    assert record.read_text() == before


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_the_record_is_one_of_sha256sum(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("a.zip", "größe 1.csv")}
    for name, path in paths.items():
        path.write_text(name)
    check_first_use(paths, tmp_path / "first_use.sha256")
    call = ["sha256sum", "--check", "--strict", "first_use.sha256"]
    assert subprocess.run(call, cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    ("row", "content"),
    [
        (1, b"rubbish\n"),
        (1, b"\x00\xff\n"),
        (1, f"{'0' * 63}  a.zip\n".encode()),
        (1, f"{'0' * 64}\n".encode()),
        (3, f"{'0' * 64}  a.zip\n\nb.zip\n".encode()),
        (2, f"{'0' * 64}  a.zip\n{'1' * 64}  a.zip\n".encode()),
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, row: int, content: bytes) -> None:
    record = tmp_path / "first_use.sha256"
    record.write_bytes(content)
    (tmp_path / "a.zip").touch()
    with refused(f"{record}: row {row}: ", "remove the file"):
        check_first_use({"a.zip": tmp_path / "a.zip"}, record)
    assert record.read_bytes() == content

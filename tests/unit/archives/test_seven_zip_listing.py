"""The listing and the contents of .7z archives, as py7zr itself reads them.

The reader uses names of py7zr that are not documented. These tests show when one of them changes.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import py7zr
import pytest
from py7zr.io import BytesIOFactory

from builders import SEVEN_ZIP_FILTERS
from imagepipe.archives.reading import read_archive
from imagepipe.archives.seven_zip import open_listing
from imagepipe.archives.seven_zip_listing import Kind

PROGRAM = shutil.which("7zz")
# Options of the 7-Zip program: methods, blocks, a listing that is not compressed.
SWITCHES = (
    *("-m0=LZMA2", "-m0=LZMA", "-m0=BZip2", "-m0=Deflate", "-m0=Copy"),
    *("-m0=Delta:3 -m1=LZMA2", "-m0=BCJ -m1=LZMA2"),
    *("-ms=off", "-ms=2f", "-ms=off -m0=Copy -mhc=off", "-mhc=off", "-mtm=off", "-mtc=on -mta=on"),
)
# In a listing, they take one to four bytes.
SIZES = (0, 1, 127, 128, 16_383, 16_384, 70_000, 3_000_000, 0, 5)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of files of many sizes and of folders, one of which is empty."""
    folder = tmp_path / "files"
    for number, size in enumerate(SIZES):
        file = folder / ("train", "test/ünï")[number % 2] / f"{number} 画像.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(size // 2) + bytes(size - size // 2))
    (folder / "empty").mkdir()
    return folder


def write_with_py7zr(
    archive: Path,
    folder: Path,
    filters: list[dict[str, Any]] | None = None,
    blocks: int = 1,
    compress_listing: bool = True,
) -> None:
    # Folders first: py7zr cannot write a block without a file.
    paths = sorted(folder.rglob("*"), key=Path.is_file)
    for number in range(blocks):
        with py7zr.SevenZipFile(archive, "a" if number else "w", filters=filters) as file:
            file.set_encoded_header_mode(compress_listing)
            for path in paths[number::blocks]:
                file.write(path, path.relative_to(folder).as_posix())


def assert_read_as_by_py7zr(archive: Path, number_of_files: int = len(SIZES)) -> None:
    with py7zr.SevenZipFile(archive) as file:
        expected = [(m.filename, m.is_file, m.uncompressed, m.crc32) for m in file.list()]
        folders = [member.filename for member in file.list() if member.is_directory]
        file.extractall(factory=(extracted := BytesIOFactory(max(SIZES))))
    members = list(open_listing(archive).members())
    found = [(name, kind is Kind.FILE, size, checksum) for name, kind, size, checksum in members]
    assert sorted(found) == sorted(expected)
    assert sorted(name for name, kind, *_ in members if kind is Kind.FOLDER) == sorted(folders)
    contents = dict(read_archive(archive, lambda _: True))
    assert len(contents) == number_of_files
    for name, content in contents.items():
        assert content == extracted.get(name).read()


# py7zr itself does not extract this pair.
@pytest.mark.parametrize("method", sorted(SEVEN_ZIP_FILTERS.keys() - {"x86 and LZMA"}))
def test_archive_of_py7zr_by_every_method(tmp_path: Path, files: Path, method: str) -> None:
    write_with_py7zr(tmp_path / "a.7z", files, SEVEN_ZIP_FILTERS[method])
    assert_read_as_by_py7zr(tmp_path / "a.7z")


@pytest.mark.parametrize("compress_listing", [True, False])
@pytest.mark.parametrize("blocks", [1, 2, 10])
def test_archive_of_py7zr_of_several_blocks(
    tmp_path: Path, files: Path, blocks: int, compress_listing: bool
) -> None:
    write_with_py7zr(tmp_path / "a.7z", files, blocks=blocks, compress_listing=compress_listing)
    assert_read_as_by_py7zr(tmp_path / "a.7z")


@pytest.mark.skipif(PROGRAM is None, reason="needs the 7-Zip program, 7zz")
@pytest.mark.parametrize("switches", SWITCHES)
def test_archive_of_the_7_zip_program(tmp_path: Path, files: Path, switches: str) -> None:
    command = [str(PROGRAM), "a", "-bso0", *switches.split(), str(tmp_path / "a.7z"), "."]
    subprocess.run(command, cwd=files, check=True)
    assert_read_as_by_py7zr(tmp_path / "a.7z")


@pytest.mark.skipif(PROGRAM is None, reason="needs the 7-Zip program, 7zz")
def test_archive_without_attributes(tmp_path: Path, files: Path) -> None:
    command = [str(PROGRAM), "a", "-bso0", "-mtr=off", str(tmp_path / "a.7z"), "-r", "*.png"]
    subprocess.run(command, cwd=files, check=True)
    assert_read_as_by_py7zr(tmp_path / "a.7z")


def test_archive_without_members(tmp_path: Path) -> None:
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w"):
        pass
    assert list(open_listing(tmp_path / "a.7z").members()) == []

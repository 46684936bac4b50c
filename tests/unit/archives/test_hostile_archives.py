"""Archives that were made to do harm: what they promise is not believed, and takes no memory."""

import bz2
import gzip
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import py7zr
import pytest
from py7zr.properties import FILTER_DEFLATE, FILTER_PPMD, FILTER_ZSTD

from builders import SCRIPTS, dataset_options, png_bytes, refused, write_archive
from imagepipe.archives import safety
from imagepipe.archives.reading import open_archive, read_archive
from imagepipe.archives.safety import damage_in_one_line
from imagepipe.config.dataset import Contents
from imagepipe.config.dataset_files import table_names
from imagepipe.config.image_form import image_form
from imagepipe.dataset.extraction import extract, extract_tables
from imagepipe.dataset.packing import pack
from odd_archives import add_tar_header, misstate_last_of_zip

BOMB = bytes(1 << 28)
# Reads an archive, and says how much memory that took, in KiB. The kernel's `ru_maxrss` would be
# that of the process which started this one, if that had more.
PEAK = """
import re, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from imagepipe.archives.reading import read_archive
from imagepipe.errors import UserError

def peak():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+([0-9]+) kB", status)[1])

before = peak()
try:
    for _ in read_archive(Path(sys.argv[2]), lambda _: True):
        pass
    print("taken")
except UserError as error:
    print(error)
print(peak() - before)
"""


def bomb_in_7z(path: Path, filter_id: int) -> None:
    """Write a .7z archive of zeros, which says that it unpacks to a thousand of them."""
    options = {FILTER_ZSTD: {"level": 3}}.get(filter_id, {})
    with py7zr.SevenZipFile(path, "w", filters=[{"id": filter_id, **options}]) as archive:
        archive.writestr(BOMB, "train/1.png")
        archive.header.main_streams.substreamsinfo.unpacksizes[0] = 1000
        write_header = archive._write_header

        def write_another() -> None:
            archive.header.main_streams.unpackinfo.folders[0].unpacksizes[:] = [1000]
            write_header()

        archive._write_header = write_another


def bomb_in_zip(path: Path, method: int) -> None:
    """Write a .zip archive of zeros, which says that it unpacks to a thousand of them."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("train/1.png", BOMB)
    misstate_last_of_zip(path, 1000)


def bomb_in_tar_header(path: Path) -> None:
    """Write a .tar.gz archive whose first member has a long comment."""
    write_archive(path, {"train/1.png": b"x"})
    header = tarfile.TarInfo("train/2.png")
    header.pax_headers = {"comment": "x" * len(BOMB)}
    add_tar_header(path, header)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("zstd.7z", lambda path: bomb_in_7z(path, FILTER_ZSTD)),
        ("deflate.7z", lambda path: bomb_in_7z(path, FILTER_DEFLATE)),
        ("deflate.zip", lambda path: bomb_in_zip(path, zipfile.ZIP_DEFLATED)),
        ("bzip2.zip", lambda path: bomb_in_zip(path, zipfile.ZIP_BZIP2)),
        ("header.tar.gz", bomb_in_tar_header),
    ],
)
def test_a_lie_about_the_size_takes_no_memory(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    archive = tmp_path / name
    write(archive)
    assert archive.stat().st_size < 1 << 20
    call = [sys.executable, "-c", PEAK, str(SCRIPTS), str(archive)]
    message, peak = subprocess.run(
        call, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert re.match(rf"{archive}: (damaged|uses a compression)", message)
    # The whole content has 256 MiB.
    assert int(peak) < 160 << 10


def test_memory_that_is_not_there_is_told_of_in_one_line(tmp_path: Path) -> None:
    archive = tmp_path / "train.7z"
    with refused(str(archive), "more memory to read than there is"), damage_in_one_line(archive):
        raise MemoryError


@pytest.mark.parametrize("kind", ["gz", "bz2"])
def test_what_comes_after_the_end_of_a_tar_is_not_waited_for(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "HARMLESS_SIZE", 1 << 20)
    archive = write_archive(tmp_path / "train.tar", {"train/1.png": b"x"})
    pack = {"gz": gzip.compress, "bz2": bz2.compress}[kind]
    packed = archive.with_name(f"train.tar.{kind}")
    packed.write_bytes(pack(archive.read_bytes() + bytes(1 << 24)))
    with refused(str(packed), "more than 200 times its size"):
        list(read_archive(packed, lambda _: True))


PPMD = {"id": FILTER_PPMD, "order": 6, "mem": 16}
ZSTD = {"id": FILTER_ZSTD, "level": 3}


def test_7z_archive_by_a_method_that_damage_makes_crash_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "train.7z"
    with py7zr.SevenZipFile(archive, "w", filters=[PPMD]) as file:
        file.writestr(b"content", "train/1.png")
    with refused(str(archive), "not supported (PPMd)", "pack it again as LZMA2"):
        open_archive(archive, lambda _: True)


@pytest.mark.parametrize(("method", "name"), [(PPMD, "PPMd"), (ZSTD, "Zstandard")])
def test_table_of_a_7z_archive_is_not_unpacked_by_such_a_method_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: dict, name: str
) -> None:
    archive = tmp_path / "train.7z"
    with py7zr.SevenZipFile(archive, "w") as file:
        file.writestr(b"content", "train/1.png")
        # What it takes for the table, which it writes last.
        filters = SimpleNamespace(ENCODED_HEADER_FILTER=[method])
        monkeypatch.setattr(py7zr.archiveinfo, "DEFAULT_FILTERS", filters)
    with refused(str(archive), f"not supported ({name})", "pack it again as LZMA2"):
        open_archive(archive, lambda _: True)


TABLE = b"id,label\n1,cat\n2,dog\n"
IMAGES = {f"train/{i}.png": png_bytes(i) for i in (1, 2)} | {"test/1.png": png_bytes(3)}


def extracted(folder: Path, layout: str, files: dict[str, dict[str, bytes] | bytes]) -> Contents:
    """Write a dataset's files into `folder`/raw, extract them, and return what they hold."""
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / "raw").mkdir(exist_ok=True)
            (folder / "raw" / name).write_bytes(content)
        else:
            write_archive(folder / "raw" / name, content)
    names = [{"name": name} for name in files]
    dataset = dataset_options("cifar10_tiny", files=names, labels={"file": "labels.csv"})
    tables = {name: folder / "out" / name for name in table_names(dataset)}
    contents = dataset.part(Contents)
    extract(contents, folder / "raw", folder / "out", layout)
    extract_tables(contents, folder / "raw", tables)
    return contents


def test_capitals_of_a_folder_matter(tmp_path: Path) -> None:
    images = {name.replace("train", "Train"): content for name, content in IMAGES.items()}
    with refused("no image is in a folder 'train'", "'Train'", "train_folder"):
        extracted(tmp_path, "folders", {"all.zip": images, "labels.csv": TABLE})


@pytest.mark.parametrize("layout", ["folders", "packed"])
def test_table_beside_the_archives_is_not_replaced_by_one_inside(
    tmp_path: Path, layout: str
) -> None:
    inside = IMAGES | {"labels.csv": b"id,label\n1,dog\n2,dog\n"}
    extracted(tmp_path, layout, {"all.zip": inside, "labels.csv": TABLE})
    assert (tmp_path / "out/labels.csv").read_bytes() == TABLE


@pytest.mark.parametrize("kind", ["7z", "zip", "tar.gz"])
def test_archive_without_any_image_is_packed_from_the_others(tmp_path: Path, kind: str) -> None:
    files = {"all.zip": IMAGES, f"labels.{kind}": {"labels.csv": TABLE}}
    archives = (extracted(tmp_path, "packed", files), tmp_path / "raw")
    (tmp_path / "split.csv").write_text("id,label,split\n1,cat,train\n2,dog,valid\n")
    out = tmp_path / "packed"
    (tmp_path / "test.csv").write_text("id,submission_id\n1,1\n")
    tables = (tmp_path / "split.csv", tmp_path / "test.csv")
    form = image_form([32, 32], None, "squash")
    pack(tmp_path / "out", *tables, out, form, archives=archives)
    assert len((out / "labelled.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("names", [("a.png", "a.png/b.png"), ("x/y/z/1.png", "x")])
@pytest.mark.parametrize("archive", ["a.zip", "a.tar"])
def test_a_file_with_the_name_of_a_folder_is_refused(
    tmp_path: Path, archive: str, names: tuple[str, str]
) -> None:
    path = write_archive(tmp_path / archive, dict.fromkeys(names, b"1"))
    with refused(archive, "is a file and a folder"):
        open_archive(path, lambda _: True)

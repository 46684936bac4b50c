"""A disk that fills while a rule writes: one line that says so, and the next call goes on."""

import csv
import io
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from builders import label_of, write_archive, write_csv
from project import Project
from stages import Job, run_jobs

IMAGES = 400  # of each split
PACKED = "data/cifar10/packed/32x32"
FULL = "No space left on device; make room, or set --directory to another disk"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A competition of images so small that they take far more of a disk than their sizes say."""
    folder = tmp_path_factory.mktemp("raw")
    numbers = range(1, IMAGES + 1)
    for split in ("train", "test"):
        members: dict[str, bytes] = {}
        for number in numbers:
            content = io.BytesIO()
            Image.new("RGB", (32, 32), (number % 256, 7, 7)).save(content, format="PNG")
            members[f"{split}/{number}.png"] = content.getvalue()
        write_archive(folder / f"{split}.7z", members)
    write_csv(folder / "trainLabels.csv", ("id", "label"), ((n, label_of(n)) for n in numbers))
    write_csv(folder / "sampleSubmission.csv", ("id", "label"), ((n, "cat") for n in numbers))
    return folder


@pytest.fixture
def disk(tmp_path: Path, raw: Path) -> Iterator[Path]:
    """A working directory on a disk of its own, of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here ({error})")
    try:
        (folder / "kaggle").symlink_to(raw)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)


def rows_of(table: Path) -> int:
    with table.open(newline="") as file:
        return len(list(csv.DictReader(file)))


def assert_packed(directory: Path) -> None:
    for name in ("labelled", "test"):
        packed = directory / PACKED
        assert rows_of(packed / f"{name}.csv") == IMAGES
        assert (packed / f"{name}.npy").stat().st_size == 128 + IMAGES * 32 * 32 * 3


def test_disk_that_fills_while_images_are_unpacked(
    disk: Path, jobs: Callable[[str], list[Job]]
) -> None:
    outcome = run_jobs(jobs("folders"), disk)
    assert (outcome.failed, outcome.code) == ("extract", 1)
    assert outcome.log == f"error: {FULL}\n"
    assert outcome.terminal.splitlines()[-1] == f"[extract] error: {FULL}"
    assert "Traceback" not in outcome.terminal
    assert outcome.left_over == []
    enlarge(disk)
    assert run_jobs(jobs("folders"), disk).code == 0
    assert_packed(disk)


# What there is room for: one of the two arrays and the tables; both arrays, but not the tables.
ROOM = {
    "one array": (IMAGES * 32 * 32 * 3, 20, f"{PACKED}: the files take 2.46 MB, but the disk has"),
    "arrays": (2 * IMAGES * 32 * 32 * 3, 2, FULL),
}


@pytest.mark.parametrize("room", ROOM)
@pytest.mark.parametrize("layout", ["folders", "packed"])
def test_disk_that_fills_while_images_are_packed(
    disk: Path, jobs: Callable[[str], list[Job]], layout: str, room: str
) -> None:
    enlarge(disk)
    *before, pack = jobs(layout)
    assert run_jobs(before, disk).code == 0
    size, more_blocks, words = ROOM[room]
    status = os.statvfs(disk)
    blocks = status.f_bavail - size // status.f_bsize - more_blocks
    (disk / "films").write_bytes(bytes(blocks * status.f_bsize))
    outcome = run_jobs([pack], disk)
    assert (outcome.failed, outcome.code) == ("pack", 1)
    (line,) = outcome.log.splitlines()
    assert line.startswith(f"error: {words}")
    assert line.endswith("; make room, or set --directory to another disk")
    assert "Traceback" not in outcome.terminal
    assert not list((disk / PACKED).iterdir())
    (disk / "films").unlink()
    assert run_jobs([pack], disk).code == 0
    assert_packed(disk)


def test_snakemake_on_a_disk_that_fills(tmp_path: Path, disk: Path) -> None:
    project = Project(Project.copy_to(tmp_path / "copy").folder, disk)
    config = ("dataset=cifar10", "raw_dir=kaggle")
    result = project.run("extract", config=config)
    assert result.code == 1
    assert result.errors == [f"error: {FULL}"]
    assert "Traceback" not in result.output
    assert not list((disk / "data/cifar10").glob("extracted/*"))
    enlarge(disk)
    result = project.run("pack", config=config)
    assert result.code == 0, result.output
    assert_packed(disk)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("layout", ["folders", "packed"])
def test_file_that_must_not_grow(
    tmp_path: Path, raw: Path, jobs: Callable[[str], list[Job]], layout: str
) -> None:
    (tmp_path / "kaggle").symlink_to(raw)
    with files_of_at_most(500_000):
        outcome = run_jobs(jobs(layout), tmp_path)
    assert (outcome.failed, outcome.code) == ("pack", 1)
    assert outcome.log == "error: File too large\n"
    assert outcome.left_over == []
    assert run_jobs(jobs(layout), tmp_path).code == 0
    assert_packed(tmp_path)

"""Images that lie in a user's folder, as files, and not in archives."""

from pathlib import Path

import pytest
import yaml

from builders import label_of, png_bytes, write_csv, write_png
from project import Project

DATASET = {
    "title": "a user's own",
    "source": "folder",
    "files": [{"name": "labels.csv"}],
    "image_size": 32,
    "labels": {"file": "labels.csv"},
    "train_folder": "learn.v2",
    "test_folder": "exam",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
}
CONFIG = ("dataset=own.yaml", "raw_dir=mine")


@pytest.fixture
def mine(project: Project) -> Path:
    """A user's folder: images in folders of folders, and a table."""
    folder = project.directory / "mine"
    for number in range(1, 21):
        write_png(folder / f"learn.v2/{number % 3}/{number}.png", number)
    for number in (3, 200, 10):
        write_png(folder / f"exam/{number}.png", 10**6 + number)
    write_csv(folder / "labels.csv", ("id", "label"), [(n, label_of(n)) for n in range(1, 21)])
    (project.directory / "own.yaml").write_text(yaml.safe_dump(DATASET))
    return folder


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_images_of_a_folder_are_read_and_left_as_they_are(project: Project, mine: Path) -> None:
    before = snapshot(mine)
    result = project.run("pack", config=CONFIG)
    assert result.code == 0, result.output
    names = ("labelled.npy", "labelled.csv", "test.npy", "test.csv", "decoded.json")
    packed = {name: project.read(f"data/own/packed/32x32/{name}") for name in names}
    assert packed["test.csv"].decode().split()[1:] == [
        "0,3,unknown",
        "1,10,unknown",
        "2,200,unknown",
    ]
    assert project.stale("pack", config=CONFIG) == set()
    result = project.run("pack", config=(*CONFIG, "layout=packed"))
    assert result.code == 0, result.output
    for name, content in packed.items():
        assert project.read(f"data/own/packed/32x32/{name}") == content
    assert snapshot(mine) == before

    # An image in a folder of a folder: the time of no folder that is looked at changes.
    (mine / "learn.v2/1/4.png").write_bytes(png_bytes(444))
    assert "extract" in project.stale("pack", config=(*CONFIG, "layout=packed"))


def test_missing_folder_is_named(project: Project, mine: Path) -> None:
    (mine / "exam").rename(mine / "exams")
    result = project.run("pack", config=CONFIG)
    assert result.code == 1
    assert len(result.errors) == 1, result.output
    assert "mine/exam: is not a folder" in result.errors[0]
    result = project.run("pack", config=CONFIG[:1])
    assert result.code == 1
    assert "raw_dir" in result.errors[0]
    assert "learn.v2/" in result.errors[0]

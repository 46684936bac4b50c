"""The workflow on real CIFAR-10 images, in the competition's and in the book's own files."""

import csv
import zipfile
from pathlib import Path

import pytest

from builders import make_kaggle
from project import Project, run_of, trained

pytestmark = pytest.mark.realdata


def ids_of(project: Project, path: str = "submission.csv") -> list[str]:
    with (project.directory / path).open(newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.copy_to(tmp_path)


@pytest.mark.slow
def test_the_chapters_recipe_on_the_competitions_files(project: Project, real_data: Path) -> None:
    archives = project.directory / "archives"
    make_kaggle(real_data, archives, "--train", "500", "--test", "300")
    override = "override={epochs: 1}"
    config = ("dataset=cifar10", f"raw_dir={archives}", "recipe=d2l", override)
    targets = trained(f"results/cifar10/{run_of(override, 'd2l')}")
    result = project.run(*targets, config=config)
    assert result.code == 0, result.output
    assert ids_of(project, targets[0]) == [str(number) for number in range(1, 301)]
    assert "Nothing to be done" in project.run(*targets, config=config).output


def test_the_books_sample_keeps_the_ids_of_its_own_five_images(
    project: Project, real_data: Path
) -> None:
    archive = real_data / "kaggle_cifar10_tiny.zip"
    with zipfile.ZipFile(archive) as file:
        test = [Path(name).stem for name in file.namelist() if "/test/" in name]
    config = ("dataset=cifar10_tiny", f"raw_dir={real_data}", "override={epochs: 1}")
    result = project.run("submission.csv", config=config)
    assert result.code == 0, result.output
    assert ids_of(project) == sorted((name for name in test if name), key=int)
    assert ids_of(project) != [str(number) for number in range(1, 6)]


@pytest.mark.slow
def test_the_full_size_is_split_as_the_book_does(project: Project, real_data: Path) -> None:
    from torchvision.datasets import ImageFolder

    archives = project.directory / "archives"
    make_kaggle(real_data, archives, "--test", "1000")
    result = project.run("reorganise", "pack", config=("dataset=cifar10", f"raw_dir={archives}"))
    assert result.code == 0, result.output
    tree = project.directory / "data/cifar10/train_valid_test"
    sizes = {}
    for name in ("train", "valid", "train_valid", "test"):
        folder = ImageFolder(str(tree / name))
        sizes[name] = len(folder)
        assert folder.classes == (sorted(folder.classes) if name != "test" else ["unknown"])
        assert len(folder.classes) == (10 if name != "test" else 1)
    assert sizes == {"train": 45_000, "valid": 5_000, "train_valid": 50_000, "test": 1_000}

"""Which trainings are below a folder."""

from pathlib import Path

import pytest

from imagepipe.watch.places import find_places
from watch_builders import FAILURE, WorkingDirectory, epochs_of

Key = tuple[str, str, int, str]


def keys(folder: Path) -> list[Key]:
    return [(place.dataset, place.run, place.seed, place.training) for place in find_places(folder)]


@pytest.fixture
def made(tmp_path: Path) -> WorkingDirectory:
    made = WorkingDirectory(tmp_path / "work")
    made.add("fast", log=[])
    made.add("fast", training="final", log=[])
    made.add("fast", seed=10, training="final", log=[])
    made.add("small", dataset="cifar10", log=[])
    return made


FAST: list[Key] = [
    ("sample", "fast", 0, "final"),
    ("sample", "fast", 0, "train"),
    ("sample", "fast", 10, "final"),
]
SMALL: Key = ("cifar10", "small", 0, "train")


@pytest.mark.parametrize(
    ("below", "found"),
    [
        ("", [SMALL, *FAST]),
        ("results", [SMALL, *FAST]),
        ("results/cifar10", [SMALL]),
        ("results/sample/fast", FAST),
        ("results/sample/fast/seed0", FAST[:2]),
        ("results/sample/fast/seed0/train", FAST[1:2]),
        ("data", []),
    ],
)
def test_any_folder_of_a_working_directory_will_do(
    made: WorkingDirectory, below: str, found: list[Key]
) -> None:
    (made.folder / "data").mkdir()
    assert keys(made.folder / below) == found


def test_a_relative_folder_is_one_of_the_current_directory(
    made: WorkingDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made.folder / "results" / "sample")
    assert keys(Path()) == FAST
    (place, *_) = find_places(Path("fast"))
    assert place.log == made.folder / "logs/sample/fast/seed0/retrain.log"


def test_other_folders_are_no_trainings(made: WorkingDirectory) -> None:
    for other in ("fast/figures", "fast/seed0/.checkpoint", "fast/seedX/train", "fast/seed0/old"):
        (made.folder / "results" / "sample" / other).mkdir(parents=True)
    (made.folder / "logs/sample/fast/seed0/predict.log").write_text("")
    assert keys(made.folder) == [SMALL, *FAST]


def test_a_training_whose_results_snakemake_has_removed_is_known_by_its_log(
    made: WorkingDirectory,
) -> None:
    results = made.add("best", epochs=epochs_of(2), has_history=False, log=[FAILURE])
    for folder in (results, results.parent, results.parent.parent):
        folder.rmdir()
    assert ("sample", "best", 0, "train") in keys(made.folder)


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert keys(tmp_path) == []
    assert keys(tmp_path / "missing") == []
    (tmp_path / "results").write_text("a file")
    assert keys(tmp_path) == []

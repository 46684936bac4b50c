"""Files that are missing, damaged, half written or huge; and that they are only read."""

import os
import random
from pathlib import Path

import pytest

from imagepipe.watch import training_files
from imagepipe.watch.places import Place, find_places
from imagepipe.watch.status import State, TrainingStatus, Watcher
from imagepipe.watch.training_files import FileReader, TrainingFiles
from snapshots import snapshot
from watch_builders import FAILURE, NOW, WorkingDirectory, all_states, epochs_of

HEADER = (
    "epochs,train_loss,train_accuracy,valid_accuracy,learning_rate,examples_per_second,seconds,"
    "device,precision\n"
)


@pytest.fixture
def made(tmp_path: Path) -> WorkingDirectory:
    made = WorkingDirectory(tmp_path)
    made.add(epochs=epochs_of(3), log=[])
    return made


def only(made: WorkingDirectory) -> TrainingStatus:
    (one,) = Watcher(made.folder).look(NOW)
    return one


def place_in(made: WorkingDirectory) -> Place:
    (place,) = find_places(made.folder)
    return place


def read(made: WorkingDirectory) -> TrainingFiles:
    (files,) = FileReader().read_all([place_in(made)])
    return files


def test_looking_changes_nothing(tmp_path: Path) -> None:
    made = all_states(tmp_path)
    before = snapshot(made.folder)
    watcher = Watcher(made.folder)
    watcher.look(NOW)
    watcher.look()
    assert snapshot(made.folder) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"\xff\xfe",
        b"epochs,train_loss\n1,2\n",
        b'"epochs',
        HEADER.encode(),
        f"{HEADER}1,0.5,0.8\n".encode(),
        f"{HEADER}1,nan,0.8,0.7,0.1,100,2,cpu,fp32\n".encode(),
        f"{HEADER}1,0.5,0.8,0.7,0.1,100,inf,cpu,fp32\n".encode(),
        # Sums of such seconds and axes with such losses overflow.
        "".join([HEADER, *(f"{n},0.5,0.8,0.7,0.1,100,1e308,cpu,fp32\n" for n in "12")]).encode(),
        "".join([HEADER, *(f"{n},{n}e307,0.8,0.7,0.1,100,2,cpu,fp32\n" for n in "19")]).encode(),
        f"{HEADER}{'9' * 4000},0.5,0.8,0.7,0.1,100,2,cpu,fp32\n".encode(),
        f"{HEADER}-1,0.5,0.8,0.7,0.1,100,2,cpu,fp32\n".encode(),
    ],
)
def test_a_damaged_history_leaves_what_the_log_says(made: WorkingDirectory, content: bytes) -> None:
    history = place_in(made).results / "history.csv"
    history.write_bytes(content)
    os.utime(history, (NOW, NOW))
    one = only(made)
    assert (one.state, one.epochs_done, one.num_epochs) == (State.RUNNING, 3, 8)


def test_a_history_of_any_size_is_not_read(
    made: WorkingDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(read(made).history) == 3
    monkeypatch.setattr(training_files, "LARGEST_HISTORY", 10)
    assert read(made).history == []


def test_of_a_long_log_the_end_is_read(made: WorkingDirectory) -> None:
    place = place_in(made)
    with place.log.open("a") as file:
        file.writelines(f"a warning, number {number}\n" for number in range(50_000))
        file.write(f"{FAILURE}\n")
    assert place.log.stat().st_size > 2 * training_files.LONGEST_LOG
    one = only(made)
    assert (one.state, one.message) == (State.FAILED, FAILURE)
    assert one.epochs_done == 3


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\0", b"train on", b"error: \xff"])
def test_a_damaged_log_is_no_obstacle(made: WorkingDirectory, content: bytes) -> None:
    place_in(made).log.write_bytes(content)
    assert only(made).epochs_done == 3


def test_folders_and_dangling_links_in_the_place_of_files(made: WorkingDirectory) -> None:
    place = place_in(made)
    for path in (place.log, place.results / "history.csv"):
        path.unlink()
        path.mkdir()
    (place.results / "metrics.json").symlink_to("nowhere")
    one = only(made)
    assert (one.epochs_done, one.num_epochs) == (0, None)


def test_damage_at_random_never_raises(tmp_path: Path) -> None:
    made = all_states(tmp_path)
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    contents = {path: path.read_bytes() for path in files}
    rng = random.Random(0)
    for _ in range(300):
        path = rng.choice(files)
        content = bytearray(contents[path])
        for _ in range(rng.randint(0, 5)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content[: rng.randint(0, len(content))])
        assert len(Watcher(made.folder).look()) >= 6
        path.write_bytes(contents[path])


def test_only_what_has_changed_is_read_again(
    made: WorkingDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.add("small", epochs=epochs_of(2), log=[])
    opened: list[Path] = []
    for name in ("_read_log", "_read_epochs"):
        original = getattr(training_files, name)
        monkeypatch.setattr(
            training_files, name, lambda path, read=original: opened.append(path) or read(path)
        )
    watcher = Watcher(made.folder)
    watcher.look(NOW)
    assert len(opened) == 4
    opened.clear()
    place = place_in_run(made, "small")
    with place.log.open("a") as file:
        file.write(f"{FAILURE}\n")
    found = watcher.look(NOW)
    assert opened == [place.log]
    assert {one.place.run: one.state for one in found} == {
        "fast": State.RUNNING,
        "small": State.FAILED,
    }


def place_in_run(made: WorkingDirectory, run: str) -> Place:
    return next(place for place in find_places(made.folder) if place.run == run)


def test_files_that_go_meanwhile_are_gone(made: WorkingDirectory) -> None:
    watcher = Watcher(made.folder)
    assert watcher.look(NOW)[0].epochs_done == 3
    place = place_in(made)
    # As Snakemake does when the job starts.
    place.log.unlink()
    (place.results / "history.csv").unlink()
    (one,) = watcher.look(NOW)
    assert (one.state, one.epochs_done) == (State.STARTING, 0)


def test_a_folder_that_cannot_be_looked_at_is_missing(
    made: WorkingDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file server that has gone, or whose rights have changed."""
    place = place_in(made)
    found = Path.is_dir

    def refuse(path: Path) -> bool:
        if path in (place.results, made.folder / "results"):
            raise PermissionError(13, "Permission denied", str(path))
        return found(path)

    monkeypatch.setattr(Path, "is_dir", refuse)
    (files,) = FileReader().read_all([place])
    assert not files.has_folder
    Watcher(made.folder).look(NOW)

"""TensorBoard's event files: each epoch once, whatever happens, and the same weights."""

import errno
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from imagepipe.config import packages
from imagepipe.errors import Stopped, UserError
from imagepipe.launch.launching import run_training
from imagepipe.training.event_files import event_files
from imagepipe.training.history import EpochMetrics
from process_builders import PLAIN, inputs_in, run_in, write_inputs
from training_builders import (
    EVERYTHING,
    Killed,
    all_images,
    assert_same_result,
    complete_recipe,
    die_after_saving,
    read_history,
    train_in,
    undisturbed,
)

COLUMNS = {
    "loss/train": "train_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/valid": "valid_accuracy",
    "learning_rate": "learning_rate",
    "images_per_second": "examples_per_second",
}


def values_in(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (epoch, value) by tag, as TensorBoard itself reads a folder."""
    events = EventAccumulator(str(folder), {"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def assert_like_history(events: Path, folder: Path) -> None:
    """Assert that event files have each epoch of history.csv, once."""
    found = values_in(events)
    rows = read_history(folder)
    known = {tag: name for tag, name in COLUMNS.items() if rows[0][name]}
    assert set(found) == set(known)
    for tag, name in known.items():
        assert [epoch for epoch, _ in found[tag]] == [int(row["epochs"]) for row in rows]
        expected = [float(row[name]) for row in rows]
        assert [value for _, value in found[tag]] == pytest.approx(expected)


def test_they_have_what_the_history_has_and_change_no_bit(tmp_path: Path) -> None:
    recipe = complete_recipe(epochs=5, **EVERYTHING)
    watched = train_in(tmp_path, recipe, events=tmp_path / "tensorboard")
    assert_same_result(watched, undisturbed(recipe))
    assert_like_history(tmp_path / "tensorboard", tmp_path)


def test_each_epoch_is_there_as_soon_as_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_after_saving(2, monkeypatch)
    with pytest.raises(Killed):
        train_in(tmp_path, complete_recipe(), all_images(24), events=tmp_path / "tensorboard")
    assert_like_history(tmp_path / "tensorboard", tmp_path)
    assert len(read_history(tmp_path)) == 2


def test_a_resumed_training_has_no_epoch_twice_and_one_that_starts_over_has_only_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = tmp_path / "tensorboard"
    others = events / "notes.txt"
    events.mkdir()
    others.write_text("mine")
    recipe = complete_recipe(epochs=4)
    for fingerprint in ("one", "another"):
        with monkeypatch.context() as patch:
            die_after_saving(3, patch)
            with pytest.raises(Killed):
                train_in(tmp_path, recipe, events=events, fingerprint=fingerprint)
        assert_like_history(events, tmp_path)
        assert len(list(events.glob("events*"))) == 1
        train_in(tmp_path, recipe, events=events, fingerprint=fingerprint)
        assert_like_history(events, tmp_path)
        assert len(read_history(tmp_path)) == 4
        assert others.read_text() == "mine"


def epoch(number: int, **values: Any) -> EpochMetrics:
    return EpochMetrics(number, 0.5, 0.8, 0.7, 0.1, 100.0, 60.0, "cpu", "fp32", **values)


def test_the_epochs_of_a_resumed_training_are_as_far_apart_as_they_were(tmp_path: Path) -> None:
    history = [epoch(1), epoch(2), epoch(3)]
    with event_files(tmp_path, history):
        pass
    events = EventAccumulator(str(tmp_path), {"scalars": 0})
    events.Reload()
    first, second, third = (event.wall_time for event in events.Scalars("loss/train"))
    assert second - first == pytest.approx(60)
    assert third - second == pytest.approx(60)


def test_a_tensorboard_that_runs_meanwhile_shows_no_epoch_twice(tmp_path: Path) -> None:
    with event_files(tmp_path, []) as add:
        add(epoch(1))
        add(epoch(2))
    running = EventAccumulator(str(tmp_path), {"scalars": 0})
    running.Reload()
    with event_files(tmp_path, [epoch(1)]) as add:
        add(epoch(2))
        add(epoch(3))
    running.Reload()
    assert [event.step for event in running.Scalars("loss/train")] == [1, 2, 3]


def test_a_metric_of_its_own_is_there_where_it_is_defined(tmp_path: Path) -> None:
    name = "quadratic_kappa"
    with event_files(tmp_path, [epoch(1, metric_name=name, metric=0.25)]) as add:
        add(epoch(2, metric_name=name, metric=None))
    assert values_in(tmp_path)[f"metric/{name}"] == [(1, 0.25)]


def test_of_several_processes_one_writes(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    run = run_in(tmp_path / "two", inputs_in(tmp_path), PLAIN, 2)
    events = tmp_path / "two" / "tensorboard"
    run_training(replace(run, outputs=replace(run.outputs, events=events)))
    assert len(list(events.iterdir())) == 1
    assert_like_history(events, tmp_path / "two")


def test_without_the_package_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="tensorboard is not installed") as caught:
        train_in(tmp_path, complete_recipe(), events=tmp_path / "tensorboard")
    assert "`pip install tensorboard`" in str(caught.value)
    assert not (tmp_path / "tensorboard").exists()
    train_in(tmp_path, complete_recipe())


def test_a_broken_installation_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in list(sys.modules):
        if "tensorboard" in module.split("."):
            monkeypatch.delitem(sys.modules, module)
    broken = tmp_path / "packages" / "tensorboard"
    broken.mkdir(parents=True)
    broken.joinpath("__init__.py").write_text("raise TypeError('Descriptors\\n' + 90 * 'long ')")
    monkeypatch.syspath_prepend(broken.parent)
    with pytest.raises(UserError) as caught, event_files(tmp_path / "tensorboard", []):
        pass
    message = str(caught.value)
    assert message.startswith("tensorboard is installed but cannot be imported ('Descriptors long")
    assert "pip install --force-reinstall tensorboard" in message
    assert message.isprintable()
    assert len(message) < 300


def test_a_full_disk_does_not_hide_why_the_training_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(writer: SummaryWriter) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "close", fail)
    with pytest.raises(Stopped), event_files(tmp_path, []):
        raise Stopped("stopped by SIGTERM", 15)
    with pytest.raises(OSError, match="No space left"), event_files(tmp_path, []):
        pass

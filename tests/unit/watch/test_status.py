"""The states of trainings, by their files alone."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from imagepipe.watch.status import KILLED, SILENCE, State, TrainingStatus, Watcher
from imagepipe.watch.texts import cells, doing, note, tally
from watch_builders import (
    FAILURE,
    HOUR,
    MINUTE,
    NOW,
    STOP,
    WorkingDirectory,
    all_states,
    epochs_of,
    progress_line,
)

HALF = progress_line(4000, 8000, "epoch 5 of 8, loss 1.093, acc 0.980, lr 0.074")


@pytest.fixture
def made(tmp_path: Path) -> WorkingDirectory:
    return WorkingDirectory(tmp_path)


def look(made: WorkingDirectory, now: float = NOW) -> list[TrainingStatus]:
    return Watcher(made.folder).look(now)


def only(made: WorkingDirectory, now: float = NOW) -> TrainingStatus:
    (one,) = look(made, now)
    return one


def test_each_state_is_known_and_what_runs_comes_first(tmp_path: Path) -> None:
    found = look(all_states(tmp_path))
    assert [(one.place.dataset, one.place.run, one.state) for one in found] == [
        ("sample", "fast", State.RUNNING),
        ("sample", "best", State.STARTING),
        ("sample", "fast", State.FINISHED),
        ("sample", "small", State.FAILED),
        ("sample", "small", State.STOPPED),
        ("sample", "accurate", State.STALE),
        ("aptos2019", "fast", State.FINISHED),
    ]
    assert tally(found) == "1 running, 1 starting, 1 failed, 1 stopped, 1 stale, 2 finished"


def test_a_running_training_tells_how_far_it_is(made: WorkingDirectory) -> None:
    line = progress_line(5400, 8000, "epoch 6 of 8, loss 1.093, acc 0.980, lr 0.074")
    made.add(epochs=epochs_of(5), log=[line], silent=4)
    one = only(made)
    assert (one.epochs_done, one.num_epochs) == (5, 8)
    assert one.fraction == pytest.approx(0.4)
    # Five epochs of 10 s, and four seconds since.
    assert one.seconds == pytest.approx(54)
    assert one.seconds_left == pytest.approx(3 * 10 - 4)
    assert doing(one) == "epoch 6 of 8, 40 % done, loss 1.093, acc 0.980, 26.0 s left"
    assert cells(one) == {
        "state": "▶ running",
        "dataset": "sample",
        "run": "fast",
        "seed": "0",
        "training": "train",
        "epochs": "5.4/8",
        "left": "26.0 s",
        "time": "54.0 s",
        "train loss": "0.630",
        "train acc": "0.849",
        "valid acc": "0.741",
        "lr": "0.074",
        "images/s": "540",
        "device": "cpu fp32",
    }


def test_in_the_first_epoch_the_progress_line_tells_all(made: WorkingDirectory) -> None:
    line = progress_line(2000, 8000, "epoch 1 of 2, loss 2.100, acc 0.300, lr 0.1", seconds=100)
    made.add(log=[line], silent=50)
    one = only(made)
    assert (one.state, one.epochs_done, one.num_epochs) == (State.RUNNING, 0, 2)
    assert one.fraction == pytest.approx(0.5)
    # 20 images a second: 100 s so far, and 300 s to go, of which 50 have passed.
    assert one.seconds == pytest.approx(150)
    assert one.seconds_left == pytest.approx(250)
    assert cells(one)["train loss"] == "2.100"


def test_before_its_first_line_of_progress_a_training_starts(made: WorkingDirectory) -> None:
    made.add(log=[])
    one = only(made)
    assert (one.state, doing(one)) == (State.RUNNING, "starts")
    assert cells(one)["epochs"] == "0"


def test_validation_and_writing_are_told(made: WorkingDirectory) -> None:
    validation = "validate: 5 of 20 batches, 1/s, 00:15 left"
    made.add("one", epochs=epochs_of(5), log=[validation])
    made.add("two", epochs=epochs_of(8), log=[])
    assert sorted(map(doing, look(made))) == [
        "epoch 6 of 8, 25 % validated, 29.0 s left",
        "writes its results",
    ]


def test_a_log_that_goes_on_after_a_failure_is_that_of_a_new_attempt(
    made: WorkingDirectory,
) -> None:
    made.add(epochs=epochs_of(2), log=[FAILURE, HALF])
    assert only(made).state == State.RUNNING


@pytest.mark.parametrize(("line", "state"), [(FAILURE, State.FAILED), (STOP, State.STOPPED)])
def test_the_closing_line_is_the_message_and_the_epochs_are_the_logs(
    made: WorkingDirectory, line: str, state: State
) -> None:
    made.add(epochs=epochs_of(3), has_history=False, log=[line], silent=HOUR)
    one = only(made)
    assert (one.state, note(one, NOW)) == (state, line)
    assert (one.epochs_done, one.num_epochs) == (3, 8)
    assert one.epochs[-1].train_loss == pytest.approx(epochs_of(3)[-1].train_loss, abs=5e-4)


def test_a_killed_training_is_first_running_and_then_stale(made: WorkingDirectory) -> None:
    made.add(epochs=epochs_of(4), log=[HALF], silent=0)
    assert only(made, NOW + SILENCE - 1).state == State.RUNNING
    one = only(made, NOW + SILENCE + 1)
    assert one.state == State.STALE
    assert note(one, NOW + SILENCE + 1).endswith("for 3 min 1 s: it may have been killed")
    # What it has done is its epochs', however long ago that was.
    assert one.seconds == pytest.approx(40)
    assert one.seconds_left is None


def test_a_checkpoint_is_a_sign_of_life(made: WorkingDirectory) -> None:
    results = made.add(epochs=epochs_of(4), log=[HALF], silent=HOUR)
    checkpoint = results.parent / ".checkpoint" / "train" / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"")
    os.utime(checkpoint, (NOW - 5, NOW - 5))
    assert only(made).state == State.RUNNING


def test_without_progress_lines_long_epochs_are_waited_for(made: WorkingDirectory) -> None:
    made.add(epochs=epochs_of(4, seconds=HOUR), log=[], silent=2 * HOUR)
    assert only(made).state == State.RUNNING
    assert only(made, NOW + 2 * HOUR).state == State.STALE


def test_where_an_epoch_takes_longer_than_before_the_later_ones_are_still_to_come(
    made: WorkingDirectory,
) -> None:
    made.add("three are left", epochs=epochs_of(5), log=[HALF], silent=60)
    made.add("the last one", epochs=epochs_of(7), log=[HALF], silent=60)
    left = {one.place.run: one.seconds_left for one in look(made)}
    assert left == {"three are left": pytest.approx(20), "the last one": None}


def test_a_clock_that_is_ahead_makes_no_time_negative(made: WorkingDirectory) -> None:
    made.add(epochs=epochs_of(4), log=[HALF], silent=-30)
    one = only(made)
    assert one.state == State.RUNNING
    assert one.seconds == pytest.approx(40)
    assert one.seconds_left == pytest.approx(40)


def test_a_training_whose_outputs_snakemake_has_removed_has_failed(made: WorkingDirectory) -> None:
    made.add("in the third epoch", epochs=epochs_of(2), has_history=False, log=[HALF], silent=HOUR)
    first = made.add("in the first epoch", log=[], silent=HOUR)
    first.rmdir()
    for one in look(made):
        assert (one.state, one.message) == (State.FAILED, KILLED)


def test_a_training_whose_results_the_user_has_removed_is_not_shown(
    made: WorkingDirectory,
) -> None:
    results = made.add(epochs=epochs_of(8), has_history=False, log=[], silent=HOUR)
    results.rmdir()
    assert look(made) == []


def test_a_finished_training_has_the_time_of_its_epochs(made: WorkingDirectory) -> None:
    made.add(epochs=epochs_of(8), log=[], has_metrics=True, silent=HOUR)
    one = only(made)
    assert (one.state, one.epochs_done, one.num_epochs) == (State.FINISHED, 8, 8)
    assert (one.seconds, one.seconds_left) == (pytest.approx(80), None)
    assert doing(one) == "finished"
    assert note(one, NOW) is None


def test_results_without_logs_are_shown_too(made: WorkingDirectory) -> None:
    made.add("finished", epochs=epochs_of(8), has_metrics=True, silent=HOUR)
    made.add("unfinished", epochs=epochs_of(4), silent=HOUR)
    assert [one.state for one in look(made)] == [State.FINISHED, State.STALE]


def test_a_metric_of_its_own_is_shown_by_its_words(made: WorkingDirectory) -> None:
    made.add(epochs=epochs_of(3, metric="quadratic_weighted_kappa"), log=[])
    one = only(made)
    assert one.metric == "quadratic weighted kappa"
    assert cells(one)["metric"].startswith("0.664 quadratic")
    # From the log alone, too.
    history = made.folder / "results/sample/fast/seed0/train/history.csv"
    history.unlink()
    again = only(made)
    assert (again.metric, cells(again)["metric"]) == (one.metric, cells(one)["metric"])


def test_where_the_metric_is_not_defined_it_is_left_open(made: WorkingDirectory) -> None:
    epochs = [replace(epoch, metric=None) for epoch in epochs_of(2, metric="roc_auc")]
    made.add(epochs=epochs, log=[])
    assert cells(only(made))["metric"] == "– ROC AUC"


def test_a_job_that_has_written_nothing_yet_is_starting(made: WorkingDirectory) -> None:
    made.add()
    one = only(made)
    assert one.state == State.STARTING
    assert note(one, NOW) == "its job has just begun, and has not written anything yet"
    assert MINUTE < SILENCE

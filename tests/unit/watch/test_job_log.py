"""What a training's log says, as the workflow writes it."""

import pytest

from imagepipe.config.closing_lines import BUG
from imagepipe.training.history import epoch_line
from imagepipe.watch.job_log import JobLog, parse_log
from watch_builders import FAILURE, START, STOP, epochs_of, progress_line


def test_epochs_are_read_as_they_are_logged() -> None:
    epochs = epochs_of(12)
    log = parse_log([START, *(epoch_line(epoch, 12) for epoch in epochs)])
    assert (log.num_epochs, log.device, log.precision) == (12, "cpu", "fp32")
    assert log.metric is None
    assert [epoch.number for epoch in log.epochs] == list(range(1, 13))
    for found, epoch in zip(log.epochs, epochs, strict=True):
        assert found.train_loss == pytest.approx(epoch.train_loss, abs=5e-4)
        assert found.train_accuracy == pytest.approx(epoch.train_accuracy, abs=5e-4)
        assert found.valid_accuracy == pytest.approx(epoch.valid_accuracy, abs=5e-4)
        assert found.images_per_second == 90


def test_without_validation_and_with_a_metric_of_its_own() -> None:
    (plain,) = epochs_of(1, valid=False)
    assert parse_log([epoch_line(plain, 3)]).epochs[0].valid_accuracy is None
    (other,) = epochs_of(1, metric="mean_column_roc_auc")
    log = parse_log([epoch_line(other, 3)])
    assert log.metric == "mean column ROC AUC"
    assert log.epochs[0].metric == pytest.approx(other.metric, abs=5e-4)
    assert log.epochs[0].valid_accuracy == pytest.approx(other.valid_accuracy, abs=5e-4)


def test_progress_counts_until_the_epoch_ends() -> None:
    line = progress_line(5400, 8000, "epoch 6 of 8, loss 1.093, acc 0.980, lr 0.074")
    log = parse_log([START, epoch_line(epochs_of(5)[-1], 8), line])
    assert log.progress is not None
    assert (log.progress.images, log.progress.all_images) == (5400, 8000)
    assert log.progress.images_per_second == 540
    assert (log.progress.train_loss, log.progress.train_accuracy) == (1.093, 0.98)
    assert log.progress.lr == 0.074
    assert parse_log([line, epoch_line(epochs_of(6)[-1], 8)]).progress is None


def test_the_first_progress_line_tells_the_number_of_epochs() -> None:
    log = parse_log([START, progress_line(1_500, 1_000_000, "epoch 1 of 30")])
    assert log.num_epochs == 30
    assert log.progress is not None
    assert log.progress.train_loss is None


def test_a_resumed_training_tells_the_number_of_epochs() -> None:
    for text in ("epoch 3 of 8", "epoch 3 of 8 and step 5 of 10 of the next"):
        assert parse_log([START, f"carry on after {text}"]).num_epochs == 8


def test_a_validation_is_told_from_the_training() -> None:
    train = progress_line(800, 8000, "epoch 1 of 8, loss 1.093, acc 0.980, lr 0.074")
    log = parse_log([train, "validate: 5 of 20 batches, 1/s, 00:15 left"])
    assert log.validated == 0.25
    assert log.progress is not None
    assert log.progress.images == 800


@pytest.mark.parametrize(
    ("lines", "ended", "stopped"),
    [
        ([START, FAILURE], FAILURE, False),
        ([START, STOP], STOP, True),
        (
            [START, BUG, "Traceback (most recent call last):", "KeyError: 'x'"],
            "a bug in the workflow: KeyError: 'x'",
            False,
        ),
        ([START], None, False),
        # Only a closing line is at the end.
        ([FAILURE, START], None, False),
    ],
)
def test_the_end_is_told_by_the_closing_line(
    lines: list[str], ended: str | None, stopped: bool
) -> None:
    log = parse_log(lines)
    assert (log.ended, log.stopped) == (ended, stopped)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "epoch",
        "epoch 3/: train loss 1",
        "epoch 99999999999/8: train loss 1.0, train acc 1.0, 5 examples/sec on cpu",
        "train: 5 of , 3/s, 00:01 left",
        "train: 1,000,000,000,000,000,000,000 of 8 images, 3/s, 00:01 left",
        "carry on after epoch x of y",
        "\x00\x1b[2J",
        "a" * 100_000,
    ],
)
def test_other_lines_are_passed_over(line: str) -> None:
    assert parse_log([line]) == JobLog()


@pytest.mark.parametrize("valid", ["1e999", "1e308", "-1e308"])
def test_what_cannot_be_computed_with_is_not_known(valid: str) -> None:
    line = f"epoch 1/8: train loss nan, train acc inf, valid acc {valid}, 5 examples/sec on cpu"
    (epoch,) = parse_log([line]).epochs
    assert (epoch.train_loss, epoch.train_accuracy, epoch.valid_accuracy) == (None, None, None)


def test_what_comes_from_outside_is_printable() -> None:
    log = parse_log(["train on \x1b[31mGPU in fp32 (x", "error: \x1b]0;title\x07 bad"])
    assert log.device == "\\x1b[31mGPU"
    assert log.ended == "error: \\x1b]0;title\\x07 bad"

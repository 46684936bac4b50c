"""What is shown of a training, as text: the same in the terminal and in the page."""

import time
from collections.abc import Sequence

from imagepipe.config.summary import duration
from imagepipe.errors import one_line
from imagepipe.watch.status import State, TrainingStatus

METRIC = "metric"
# Each state's mark, so that no state is told by its color alone.
MARKS = {
    State.RUNNING: "▶",
    State.WAITING: "…",
    State.FAILED: "✗",
    State.STOPPED: "■",
    State.STALE: "?",
    State.FINISHED: "✓",
}
NOTHING = "–"


def shorten(text: str, limit: int) -> str:
    """Return foreign text on one line, printable, with at most `limit` characters.

    What is left out is in the middle, as the names of runs differ mostly at their end.
    """
    text = one_line(text)
    if len(text) <= limit:
        return text
    end = (limit - 1) // 2
    return f"{text[: limit - 1 - end]}…{text[len(text) - end :]}"


def number_text(number: float | None) -> str:
    """Return a loss or a metric as text of a few characters."""
    if number is None:
        return NOTHING
    return f"{number:.3f}" if abs(number) < 1e4 else f"{number:.3g}"


def name(status: TrainingStatus) -> str:
    """Return a training's name, such as "sample, fast, seed 0, train"."""
    place = status.place
    return one_line(f"{place.dataset}, {place.run}, seed {place.seed}, {place.training}")


def note(status: TrainingStatus, now: float) -> str | None:
    """Return a sentence about a training that has failed, or may have, or has not begun."""
    if status.state == State.WAITING:
        return "its job waits for a machine, or is just starting"
    if status.state == State.STALE and status.changed is not None:
        ago = duration(max(0.0, now - status.changed))
        clock = time.strftime("%Y-%m-%d %H:%M", time.localtime(status.changed))
        return f"no sign of life since {clock}, for {ago}: it may have been killed"
    return status.message


def activity(status: TrainingStatus) -> str:
    """Return what a running training does, such as "epoch 6 of 8, 40 % done"."""
    epoch, num_epochs = status.epochs_done + 1, status.num_epochs
    if num_epochs is None:
        return "starts" if status.epochs_done == 0 else f"epoch {epoch}"
    if epoch > num_epochs:
        return "writes its results"
    text = f"epoch {epoch} of {num_epochs}"
    if status.validated is not None:
        return f"{text}, validates, {status.validated:.0%} done"
    return text if status.fraction is None else f"{text}, {status.fraction:.0%} done"


def details(status: TrainingStatus) -> str:
    """Return how a training goes at this moment, such as "loss 1.093, acc 0.980, 9.1 s left"."""
    now, left = status.current, status.seconds_left
    parts = []
    if now and now.train_loss is not None:
        parts.append(f"loss {number_text(now.train_loss)}")
        parts.append(f"acc {number_text(now.train_accuracy)}")
    if left is not None:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)


def tally(found: Sequence[TrainingStatus]) -> str:
    """Return how many trainings there are in each state, such as "1 running, 3 finished"."""
    counts = ((sum(one.state == state for one in found), state) for state in State)
    return ", ".join(f"{count} {state}" for count, state in counts if count)


def cells(status: TrainingStatus) -> dict[str, str]:
    """Return the texts of a training's row in the table, by the names of their columns."""
    place = status.place
    last = status.epochs[-1] if status.epochs else status.current
    done = f"{status.epochs_done + (status.fraction or 0):.{0 if status.fraction is None else 1}f}"
    values = {
        "dataset": one_line(place.dataset),
        "run": one_line(place.run),
        "seed": str(place.seed),
        "training": place.training,
        "state": f"{MARKS[status.state]} {status.state}",
        "epochs": done if status.num_epochs is None else f"{done}/{status.num_epochs}",
        "train loss": number_text(last.train_loss if last else None),
        "train acc": number_text(last.train_accuracy if last else None),
        "valid acc": number_text(last.valid_accuracy if last else None),
    }
    if status.metric:
        values[METRIC] = f"{status.metric} {number_text(last.metric if last else None)}"
    newest = status.current or last
    lr, speed = (newest.lr, newest.images_per_second) if newest else (None, None)
    device = " ".join(filter(None, (status.device, status.precision)))
    return values | {
        "lr": NOTHING if lr is None else f"{lr:.2g}",
        "images/s": NOTHING if speed is None else f"{speed:,.0f}",
        "time": NOTHING if status.seconds is None else duration(status.seconds),
        "left": NOTHING if status.seconds_left is None else duration(status.seconds_left),
        "device": device or NOTHING,
    }


def columns(rows: Sequence[dict[str, str]]) -> list[str]:
    """Return the columns of a table with such rows, in their order."""
    longest: list[str] = max(map(list, rows), key=len, default=[])
    return longest

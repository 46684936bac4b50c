"""What is shown of a training, as text: the same in the terminal and in the page."""

import time
from collections.abc import Sequence

from imagepipe.config.summary import duration
from imagepipe.display.escaping import shorten
from imagepipe.errors import one_line
from imagepipe.watch.status import State, TrainingStatus

METRIC = "metric"
LONGEST_METRIC = 24
# Each state's mark, so that no state is told by its color alone.
MARKS = {
    State.RUNNING: "▶",
    State.STARTING: "…",
    State.FAILED: "✗",
    State.STOPPED: "■",
    State.STALE: "?",
    State.FINISHED: "✓",
}
NOTHING = "–"
NO_TRAININGS = "no trainings yet: they appear when `snakemake` starts them"
# The columns that are no numbers.
TEXT_COLUMNS = ("dataset", "run", "training", "state", METRIC, "device")


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
    if status.state == State.STARTING:
        return "its job has just begun, and has not written anything yet"
    if status.state == State.STALE and status.changed is not None:
        ago = duration(max(0.0, now - status.changed))
        clock = time.strftime("%Y-%m-%d %H:%M", time.localtime(status.changed))
        return f"no sign of life since {clock}, for {ago}: it may have been killed"
    return status.message


def doing(status: TrainingStatus) -> str:
    """Return what a training does, such as "epoch 6 of 8, 40 % done, loss 1.093, 9.1 s left"."""
    if status.state != State.RUNNING:
        return str(status.state)
    epoch, num_epochs, now = status.epochs_done + 1, status.num_epochs, status.current
    if num_epochs is None:
        return f"epoch {epoch}" if status.epochs else "starts"
    if epoch > num_epochs:
        return "writes its results"
    parts = [f"epoch {epoch} of {num_epochs}"]
    if status.validated is not None:
        parts.append(f"{100 * status.validated:.0f} % validated")
    elif status.fraction is not None:
        parts.append(f"{100 * status.fraction:.0f} % done")
    if now and now.train_loss is not None:
        parts.append(f"loss {number_text(now.train_loss)}")
    if now and now.train_accuracy is not None:
        parts.append(f"acc {number_text(now.train_accuracy)}")
    if status.seconds_left is not None:
        parts.append(f"{duration(status.seconds_left)} left")
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
    newest = status.current or last
    lr, speed = (newest.lr, newest.images_per_second) if newest else (None, None)
    values = {
        "state": f"{MARKS[status.state]} {status.state}",
        "dataset": one_line(place.dataset),
        "run": one_line(place.run),
        "seed": str(place.seed),
        "training": place.training,
        "epochs": done if status.num_epochs is None else f"{done}/{status.num_epochs}",
        "left": NOTHING if status.seconds_left is None else duration(status.seconds_left),
        "time": NOTHING if status.seconds is None else duration(status.seconds),
        "train loss": number_text(last.train_loss if last else None),
        "train acc": number_text(last.train_accuracy if last else None),
        "valid acc": number_text(last.valid_accuracy if last else None),
    }
    if status.metric:
        value = number_text(last.metric if last else None)
        values[METRIC] = f"{value} {shorten(status.metric, LONGEST_METRIC)}"
    return values | {
        "lr": NOTHING if lr is None else f"{lr:.2g}",
        "images/s": NOTHING if speed is None else f"{speed:,.0f}",
        "device": " ".join(filter(None, (status.device, status.precision))) or NOTHING,
    }


def columns(rows: Sequence[dict[str, str]]) -> list[str]:
    """Return the columns of a table with such rows, in their order."""
    longest: list[str] = max(map(list, rows), key=len, default=[])
    return longest

"""Plots for the report."""

from pathlib import Path

import matplotlib
import pandas as pd

from imagepipe.config.metric_names import metric_words
from imagepipe.files import atomic_write
from imagepipe.training.history import HISTORY_COLUMNS

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def plot_history(history: Path, target: Path, title: str) -> None:
    """Plot loss, accuracies and metric of a training over its epochs, as an SVG file."""
    frame = pd.read_csv(history)
    metrics = [name for name in frame.columns if name not in HISTORY_COLUMNS]
    # The same bytes for the same history: no date and no random names in the file.
    plt.rcParams["svg.hashsalt"] = "imagepipe"
    panels, width = 2 + len(metrics), 4.5 * (2 + len(metrics))
    figure, drawn = plt.subplots(1, panels, figsize=(width, 3.6), layout="constrained")
    loss, accuracy, *others = drawn
    figure.suptitle(title)
    loss.plot(frame["epochs"], frame["train_loss"], color="C0", label="train")
    loss.set_ylabel("mean loss")
    accuracy.plot(frame["epochs"], frame["train_accuracy"], color="C0", label="train")
    if frame["valid_accuracy"].notna().any():
        accuracy.plot(frame["epochs"], frame["valid_accuracy"], color="C1", label="valid")
    accuracy.set_ylabel("top-1 accuracy")
    accuracy.set_ylim(0, 1)
    for axes, name in zip(others, metrics, strict=True):
        axes.plot(frame["epochs"], frame[name], color="C1", label="valid")
        axes.set_ylabel(metric_words(name))
        axes.legend(loc="best", frameon=False)
    for axes in drawn:
        axes.set_xlabel("epochs")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    loss.set_ylim(bottom=0)
    accuracy.legend(loc="lower right", frameon=False)
    with atomic_write(target) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    plt.close(figure)

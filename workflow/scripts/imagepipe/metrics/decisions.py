"""From probabilities to predicted classes, at thresholds or without."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from imagepipe.errors import UserError
from imagepipe.files import write_text


@dataclass(frozen=True)
class Thresholds:
    """How to predict classes from probabilities.

    kind:
        none: the likeliest class; of several labels, those with a probability of at least 0.5.
        one: `positive` from the probability `values[0]` on; without `positive`, every class.
        per_class: each class from its own value on, in the order of the classes.
        ordinal: the classes are numbers, and `values` are the boundaries between them, from the
            lowest, for the expected number.
    at_least_one: Where no class of several reaches its threshold, the likeliest is predicted.
    """

    kind: Literal["none", "one", "per_class", "ordinal"] = "none"
    values: tuple[float, ...] = ()
    positive: str | None = None
    at_least_one: bool = False


NO_THRESHOLDS = Thresholds()


def decide(
    probabilities: np.ndarray,
    classes: Sequence[str],
    thresholds: Thresholds = NO_THRESHOLDS,
    *,
    several_labels: bool,
) -> np.ndarray:
    """Return the predicted classes of probabilities float64 [N, classes].

    They are int64 [N], or bool [N, classes] if an image may have several labels.
    """
    if several_labels:
        limits = thresholds.values if thresholds.kind != "none" else (0.5,)
        chosen = probabilities >= np.array(limits)
        if thresholds.at_least_one:
            without = np.flatnonzero(~chosen.any(axis=1))
            chosen[without, probabilities[without].argmax(axis=1)] = True
        return np.asarray(chosen)
    if thresholds.kind == "ordinal":
        numbers = class_numbers(classes)
        boundaries = np.array(thresholds.values)
        rating = np.searchsorted(boundaries, probabilities @ numbers, side="right")
        return np.asarray(np.argsort(numbers, kind="stable")[rating])
    if thresholds.kind == "one" and thresholds.positive is not None:
        positive = classes.index(thresholds.positive)
        is_positive = probabilities[:, positive] >= thresholds.values[0]
        others = probabilities.copy()
        others[:, positive] = -1
        return np.where(is_positive, positive, others.argmax(axis=1))
    return np.asarray(probabilities.argmax(axis=1))


def class_numbers(classes: Sequence[str]) -> np.ndarray:
    """Return the numbers, float64, that the classes' names are.

    Raises `UserError` if a name is not a number.
    """
    try:
        return np.array([float(name) for name in classes])
    except ValueError:
        raise UserError(
            f"quadratic_weighted_kappa needs classes that are numbers, not {', '.join(classes)}; "
            "choose another metric"
        ) from None


def write_thresholds(path: Path, thresholds: Thresholds) -> None:
    """Write thresholds.json."""
    write_text(path, json.dumps(asdict(thresholds), ensure_ascii=False, indent=2) + "\n")


def read_thresholds(path: Path) -> Thresholds:
    """Read thresholds.json. Raises `UserError` if another version wrote it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Thresholds(**content | {"values": tuple(content["values"])})
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{path}: cannot be read; run again with --forcerun thresholds") from None

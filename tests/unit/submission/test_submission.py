"""The submission: its rows and columns, and the mean over several models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import SCATTERED_IDS, refused
from imagepipe.config.dataset import Submission
from imagepipe.prediction.logits import Predictions
from imagepipe.submission.submission import write_submission

CLASSES = ("cat", "dog", "frog")


def predictions(
    logits: list[list[float]], ids: tuple[str, ...], classes: tuple[str, ...] = CLASSES
) -> Predictions:
    return Predictions(np.array(ids), np.array(logits, dtype=np.float32), np.array(classes))


def certain(ids: tuple[str, ...]) -> Predictions:
    """Return predictions of the classes in turn."""
    return predictions([[9.0 * (n % 3 == c) for c in range(3)] for n in range(len(ids))], ids)


def submitted(
    folder: Path, models: list[Predictions], sample: str | None = None, **changes: Any
) -> list[str]:
    """Write a submission to two places, and return its lines."""
    if sample is not None:
        (folder / "sample.csv").write_text(sample)
    target = folder / "results/submission.csv"
    write_submission(
        models,
        None if sample is None else folder / "sample.csv",
        Submission(**changes),
        target,
    )
    content = target.read_bytes()
    assert content.endswith(b"\n")
    assert b"\r" not in content
    return content.decode().splitlines()


def test_rows_follow_the_sample_and_not_the_predictions(tmp_path: Path) -> None:
    sample = "Id,Animal\n200,cat\n3,cat\n10,cat\n"
    lines = submitted(tmp_path, [certain(("3", "10", "200"))], sample)
    assert lines == ["Id,Animal", "200,frog", "3,cat", "10,dog"]


def test_without_sample_scattered_ids_are_in_numeric_order(tmp_path: Path) -> None:
    backwards = tuple(reversed(SCATTERED_IDS))
    lines = submitted(tmp_path, [certain(backwards)])
    assert lines == ["id,label", "3,dog", "44,cat", "127,frog", "1000,dog", "20005,cat"]


def test_members_are_averaged_by_probability_and_not_by_logit(tmp_path: Path) -> None:
    """One member is sure of dog, two lean towards cat: the mean of the logits would be dog."""
    logits = [[0.0, 20.0], [2.0, 0.0], [2.5, 0.0]]
    assert np.mean(logits, axis=0).argmax() == 1
    models = [predictions([one], ("1",), ("cat", "dog")) for one in logits]
    assert submitted(tmp_path, models) == ["id,label", "1,cat"]
    _, row = submitted(tmp_path, models, format="probability")
    expected = np.mean([np.exp(one) / np.exp(one).sum() for one in logits], axis=0)
    assert np.allclose([float(value) for value in row.split(",")[1:]], expected, atol=1e-8)


def test_probability_columns_are_in_the_order_of_the_sample(tmp_path: Path) -> None:
    sample = "id,frog,cat,dog\n2,0,0,0\n1,0,0,0\n"
    logits = np.log([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]).tolist()
    models = [predictions(logits, ("1", "2"))]
    header, *rows = submitted(tmp_path, models, sample, format="probability")
    assert header == "id,frog,cat,dog"
    values = [[float(value) for value in row.split(",")] for row in rows]
    assert np.allclose(values, [[2, 0.7, 0.1, 0.2], [1, 0.2, 0.5, 0.3]], atol=1e-6)


def test_huge_logits_do_not_overflow(tmp_path: Path) -> None:
    models = [predictions([[3e4, 3.1e4, -3e4]], ("1",))]
    assert submitted(tmp_path, models) == ["id,label", "1,dog"]


@pytest.mark.parametrize(
    "other", [certain(("2", "1")), predictions([[1, 0], [0, 1]], ("1", "2"), ("cat", "dog"))]
)
def test_models_of_other_images_or_classes_are_not_mixed(
    tmp_path: Path, other: Predictions
) -> None:
    with pytest.raises(ValueError, match="other"):
        submitted(tmp_path, [certain(("1", "2")), other])
    assert not (tmp_path / "submission.csv").exists()


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ("id,label\n1,cat\n", ["no row", "'2'"]),
        ("id,label\n1,cat\n2,cat\n3,cat\n", ["row 4", "'3'"]),
        ("id,label\n1,cat\n2,cat\n2,cat\n", ["row 4", "'2'", "twice"]),
    ],
)
def test_nothing_is_written_when_the_sample_does_not_fit(
    tmp_path: Path, sample: str, words: list[str]
) -> None:
    with refused(str(tmp_path / "sample.csv"), *words):
        submitted(tmp_path, [certain(("1", "2"))], sample)
    assert not (tmp_path / "submission.csv").exists()


def test_class_name_with_a_comma_is_quoted(tmp_path: Path) -> None:
    models = [predictions([[1.0, 0.0]], ("1",), ("cat, tabby", "dog"))]
    assert submitted(tmp_path, models) == ["id,label", '1,"cat, tabby"']


def test_label_that_a_spreadsheet_would_take_for_a_formula_is_written_as_it_is(
    tmp_path: Path,
) -> None:
    one = predictions([[9.0, 0.0], [0.0, 9.0]], ("1", "2"), classes=("=1+1", "cat"))
    assert submitted(tmp_path, [one]) == ["id,label", "1,=1+1", "2,cat"]

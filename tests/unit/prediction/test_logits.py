"""Logits on disk: checked before they are written, and read without unpickling."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagepipe.errors import UserError
from imagepipe.prediction.logits import (
    Predictions,
    class_probabilities,
    read_labelled_predictions,
    read_predictions,
    write_predictions,
)


def predictions(ids: tuple[str, ...] = ("10", "2", "Zoë")) -> Predictions:
    logits = np.random.default_rng(0).normal(size=(len(ids), 2)).astype(np.float32)
    return Predictions(np.array(ids, dtype=object), logits, np.array(["cat", "dog"]))


def test_logits_come_back_with_their_ids_and_classes(tmp_path: Path) -> None:
    write_predictions(tmp_path / "new" / "logits.npz", predictions())
    read = read_predictions(tmp_path / "new" / "logits.npz")
    assert read.ids.tolist() == ["10", "2", "Zoë"]
    assert read.classes.tolist() == ["cat", "dog"]
    assert read.logits.dtype == np.float32
    assert np.array_equal(read.logits, predictions().logits)


def test_labels_are_kept_beside_the_logits(tmp_path: Path) -> None:
    write_predictions(tmp_path / "logits.npz", predictions(), np.array([1, 0, 1]))
    with np.load(tmp_path / "logits.npz") as file:
        assert file["labels"].tolist() == [1, 0, 1]
    read_predictions(tmp_path / "logits.npz")
    read, labels = read_labelled_predictions(tmp_path / "logits.npz")
    assert read.ids.tolist() == ["10", "2", "Zoë"]
    assert labels.tolist() == [1, 0, 1]


def test_logits_without_labels_are_not_those_of_validation_images(tmp_path: Path) -> None:
    write_predictions(tmp_path / "logits.npz", predictions())
    with pytest.raises(UserError, match="predict again"):
        read_labelled_predictions(tmp_path / "logits.npz")


def test_file_says_whether_images_may_have_several_labels(tmp_path: Path) -> None:
    write_predictions(tmp_path / "one.npz", predictions())
    with np.load(tmp_path / "one.npz") as file:
        assert set(file) == {"ids", "logits", "classes"}
    assert not read_predictions(tmp_path / "one.npz").several_labels
    several = replace(predictions(), several_labels=True)
    labels = np.array([[1, 0], [0, 0], [1, 1]], dtype=np.uint8)
    write_predictions(tmp_path / "several.npz", several, labels)
    read, read_labels = read_labelled_predictions(tmp_path / "several.npz")
    assert read.several_labels
    assert read_labels.tolist() == labels.tolist()


def test_probabilities_are_softmax_of_one_label_and_sigmoid_of_several() -> None:
    logits = np.array([[0.0, np.log(3)], [800, -800]], dtype=np.float32)
    one = class_probabilities(logits, several_labels=False)
    assert np.allclose(one, [[0.25, 0.75], [1, 0]])
    several = class_probabilities(logits, several_labels=True)
    assert np.allclose(several, [[0.5, 0.75], [1, 0]])
    assert (one.dtype, several.dtype) == (np.float64, np.float64)


def test_the_same_logits_give_the_same_bytes_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_predictions(tmp_path / "one.npz", predictions())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e7)
    write_predictions(tmp_path / "other.npz", predictions())
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_a_user_error(value: float, tmp_path: Path) -> None:
    bad = predictions()
    bad.logits[1, 0] = value
    with pytest.raises(UserError, match=r"not finite; train it with a lower lr, or .* fp32$"):
        write_predictions(tmp_path / "logits.npz", bad)
    assert not list(tmp_path.iterdir())


def test_an_id_with_two_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ids"):
        write_predictions(tmp_path / "logits.npz", predictions(("1", "2", "1")))


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (3, 1)])
def test_a_row_or_a_class_without_logits_is_refused(
    rows: int, columns: int, tmp_path: Path
) -> None:
    whole = predictions()
    part = Predictions(whole.ids, whole.logits[:rows, :columns], whole.classes)
    with pytest.raises(ValueError, match="logits"):
        write_predictions(tmp_path / "logits.npz", part)


def assert_refused(path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read .*; predict again$") as raised:
        read_predictions(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_reading_never_unpickles(tmp_path: Path) -> None:
    attack = np.array([Attack(tmp_path / "victim")], dtype=object)
    whole = predictions()
    path = tmp_path / "logits.npz"
    np.savez(path, ids=attack, logits=whole.logits, classes=whole.classes)
    assert_refused(path)
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99], ids=lambda part: f"{part:.0%} of it")
def test_a_truncated_file_is_a_user_error(part: float, tmp_path: Path) -> None:
    path = tmp_path / "logits.npz"
    write_predictions(path, predictions())
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    assert_refused(path)


def test_a_file_with_a_changed_byte_is_a_user_error(tmp_path: Path) -> None:
    path = tmp_path / "logits.npz"
    write_predictions(path, predictions())
    content = path.read_bytes()
    number = predictions().logits[1].tobytes()
    assert number in content
    path.write_bytes(content.replace(number, bytes(len(number))))
    assert_refused(path)


def test_an_array_that_is_no_table_of_logits_is_a_user_error(tmp_path: Path) -> None:
    with (tmp_path / "logits.npz").open("wb") as file:
        np.save(file, predictions().logits)
    assert_refused(tmp_path / "logits.npz")
    np.savez(tmp_path / "logits.npz", logits=predictions().logits)
    assert_refused(tmp_path / "logits.npz")


def test_several_labels_are_kept_and_have_probabilities_of_their_own(tmp_path: Path) -> None:
    logits = np.array([[0, 800], [-800, 1]], np.float32)
    one = Predictions(np.array(["a", "b"]), logits, np.array(["x", "y"]), several_labels=True)
    write_predictions(tmp_path / "logits.npz", one, np.array([[1, 0], [1, 1]], np.uint8))
    again, labels = read_labelled_predictions(tmp_path / "logits.npz")
    assert again.several_labels
    assert labels.tolist() == [[1, 0], [1, 1]]
    np.testing.assert_allclose(again.probabilities(), [[0.5, 1], [0, 1 / (1 + np.exp(-1))]])
    several_without = Predictions(one.ids, logits, one.classes)
    np.testing.assert_allclose(several_without.probabilities().sum(axis=1), 1)

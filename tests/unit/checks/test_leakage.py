"""Training on images of the test set: refused in one line, unless it is asked for."""

import json
import logging
from pathlib import Path

import pytest

from builders import refused
from imagepipe.checks.leakage import refuse_test_images


def write(path: Path, *groups: tuple[list[str], list[str]]) -> Path:
    names = ("labelled", "test")
    content = {"groups": [dict(zip(names, group, strict=True)) for group in groups]}
    path.write_text(json.dumps(content))
    return path


HARMLESS = (["3", "4"], []), ([], ["1", "2"])


@pytest.mark.parametrize("allowed", [True, False])
def test_equal_images_that_are_not_in_the_test_set_are_let_pass(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, allowed: bool
) -> None:
    refuse_test_images(write(tmp_path / "d.json"), allowed=allowed)
    refuse_test_images(write(tmp_path / "d.json", *HARMLESS), allowed=allowed)
    assert not caplog.records


@pytest.mark.parametrize(
    ("groups", "number", "pair"),
    [
        ([(["17"], ["4711", "9"])], "1 labelled image is", "'17' = test image '4711'"),
        (
            [(["5", "6", "8"], ["2"]), (["9"], ["3"])],
            "4 labelled images are",
            "'5' = test image '2'",
        ),
    ],
    ids=["one", "several"],
)
def test_labelled_images_in_the_test_set_are_refused(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    groups: list[tuple[list[str], list[str]]],
    number: str,
    pair: str,
) -> None:
    path = write(tmp_path / "d.json", *HARMLESS, *groups)
    with refused(str(path), number, pair, "report.md", "allow_test_images_in_training: true"):
        refuse_test_images(path, allowed=False)
    caplog.set_level(logging.WARNING)
    refuse_test_images(path, allowed=True)
    (record,) = caplog.records
    assert number in record.getMessage()
    assert pair in record.getMessage()


def test_odd_ids_stay_on_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "d.json", (["a\nb\x1b[31m"], ["c\u2028d"]))
    with refused(r"'a\nb\x1b[31m'", r"'c\u2028d'"):
        refuse_test_images(path, allowed=False)

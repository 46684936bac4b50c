"""Sorting lines in runs, of which the memory holds one."""

import random
from pathlib import Path

import pytest

from imagepipe import sorted_lines as module
from imagepipe.sorted_lines import sorted_lines

LINES = [f"{number} ü\x1f\r\x85{number % 7}\n" for number in range(50)]


@pytest.mark.parametrize("lines_per_run", [1, 7, 49, 50, 51])
def test_lines_are_in_order_however_many_runs_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines_per_run: int
) -> None:
    monkeypatch.setattr(module, "LINES_PER_RUN", lines_per_run)
    lines = LINES[:]
    random.Random(0).shuffle(lines)
    found = sorted_lines(iter(lines), tmp_path)
    first = next(found)
    # Not even while it is at work is there a file that could be left over.
    assert not list(tmp_path.iterdir())
    assert [first, *found] == sorted(LINES)


def test_no_lines_at_all(tmp_path: Path) -> None:
    assert list(sorted_lines([], tmp_path)) == []

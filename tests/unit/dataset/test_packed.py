"""Reading packed arrays with their tables."""

from pathlib import Path

import numpy as np
import pytest

from builders import refused, write_csv
from imagepipe.dataset.packed import read_packed
from imagepipe.dataset.packing import PACKED_COLUMNS


@pytest.mark.parametrize("damage", ["rows", "content", "missing"])
def test_array_and_table_that_do_not_belong_together_are_refused(
    tmp_path: Path, damage: str
) -> None:
    array, table = tmp_path / "a.npy", tmp_path / "a.csv"
    np.save(array, np.zeros((3, 32, 32, 3), np.uint8))
    write_csv(table, PACKED_COLUMNS, [(row, row, "cat") for row in range(3)])
    assert len(read_packed(array, table).images) == 3
    if damage == "rows":
        write_csv(table, PACKED_COLUMNS, [(0, 0, "cat")])
    elif damage == "content":
        array.write_bytes(array.read_bytes()[:50])
    else:
        array.unlink()
    with refused(str(array), "--forcerun pack"):
        read_packed(array, table)


def test_ids_and_labels_stay_text(tmp_path: Path) -> None:
    """0012 is not 12, and a class may be called nan, null or 1."""
    np.save(tmp_path / "a.npy", np.zeros((3, 32, 32, 3), np.uint8))
    rows = [(0, "0012", "nan"), (1, "1e3", "null"), (2, "NA", "1")]
    write_csv(tmp_path / "a.csv", PACKED_COLUMNS, rows)
    read = read_packed(tmp_path / "a.npy", tmp_path / "a.csv")
    assert read.ids == ["0012", "1e3", "NA"]
    assert read.labels == ["nan", "null", "1"]

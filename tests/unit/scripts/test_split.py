"""The script of the rule `split`, with the options that the rule gives."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from split import main

CLASSES = "".join(f"{n},{'ab'[n % 2]},{'valid' if n < 2 else 'train'}\n" for n in range(10))


@pytest.mark.parametrize(
    "options",
    [
        {"split": {"name": "fixed", "file": "labels.csv"}},
        {"split": {"name": "stratified"}, "valid_ratio": 0.2, "split_seed": 0},
    ],
    ids=lambda options: options["split"]["name"],
)
def test_every_rule_of_the_dataset_file(tmp_path: Path, options: dict[str, Any]) -> None:
    is_fixed = options["split"]["name"] == "fixed"
    options["several_labels"] = False
    rows = CLASSES if is_fixed else CLASSES.replace(",valid", "").replace(",train", "")
    labels, target = tmp_path / "labels.csv", tmp_path / "split.csv"
    labels.write_text(f"id,label{',split' if is_fixed else ''}\n{rows}")
    files = {"labels": str(labels)}
    main(
        SimpleNamespace(
            input=SimpleNamespace(**files, get=files.get),
            output=SimpleNamespace(split=str(target)),
            params=SimpleNamespace(options=json.dumps(options)),
        )
    )
    assert target.read_text().count(",valid\n") == 2

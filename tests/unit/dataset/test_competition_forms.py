"""The tables of twelve competitions, a few rows of each: labels, test ids, form, metric, split."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from imagepipe.config.dataset import StratifiedSplit
from imagepipe.dataset.labels import LabelOptions
from imagepipe.dataset.splitting import write_split
from listed_images import matched

SAMPLE = {"sample_submission": "sample.csv"}


@dataclass
class Case:
    """A competition: its images, tables and options, and what must come out."""

    train: list[str]
    test: list[str]
    tables: dict[str, str]
    options: dict[str, Any]
    classes: list[str]
    ids: list[str]
    form: dict[str, Any] = field(default_factory=dict)
    metric: str = "accuracy"


def rows(header: str, *lines: str) -> str:
    return "".join(f"{line}\n" for line in (header, *lines))


def table(id_column: str, label_column: str) -> dict[str, Any]:
    return {"file": "train.csv", "id_column": id_column, "label_column": label_column}


N = range(8)
CASES = {
    "aerial-cactus-identification": Case(
        [f"{n}a.jpg" for n in N],
        ["e8.jpg", "b9.jpg"],
        {
            "train.csv": rows("id,has_cactus", *(f"{n}a.jpg,{n % 2}" for n in N)),
            "sample.csv": rows("id,has_cactus", "e8.jpg,0.5", "b9.jpg,0.5"),
        },
        {"labels": table("id", "has_cactus")},
        ["0", "1"],
        ["e8.jpg", "b9.jpg"],
        {"name": "probability", "positive": "1", "header": ["id", "has_cactus"]},
        "roc_auc",
    ),
    "dog-breed-identification": Case(
        [f"{n}f.jpg" for n in N],
        ["58.jpg", "20.jpg"],
        {
            "train.csv": rows("id,breed", *(f"{n}f,{'basset' if n % 2 else 'beagle'}" for n in N)),
            "sample.csv": rows("id,beagle,basset", "58,0.5,0.5", "20,0.5,0.5"),
        },
        {"labels": table("id", "breed")},
        ["basset", "beagle"],
        ["58", "20"],
        {"name": "probabilities", "columns": ["beagle", "basset"]},
        "log_loss",
    ),
    "dogs-vs-cats-redux-kernels-edition": Case(
        [f"{name}.{n}.jpg" for n in range(4) for name in ("cat", "dog")],
        ["1.jpg", "2.jpg", "10.jpg"],
        {"sample.csv": rows("id,label", "1,0.5", "2,0.5", "10,0.5")},
        {
            "labels": {"name": "file_names", "pattern": r"(?P<label>cat|dog)\."},
            "submission": {"name": "probability", "positive": "dog"},
            "metric": "log_loss",
        },
        ["cat", "dog"],
        ["1", "2", "10"],
        {"name": "probability", "positive": "dog", "header": ["id", "label"]},
        "log_loss",
    ),
    "plant-pathology-2020-fgvc7": Case(
        [*(f"Train_{n}.jpg" for n in N), "Test_0.jpg", "Test_1.jpg"],
        [],
        {
            "train.csv": rows("image_id,rust,scab", *(f"Train_{n},{n % 2},{1 - n % 2}" for n in N)),
            "test.csv": rows("image_id", "Test_0", "Test_1"),
            "sample.csv": rows("image_id,rust,scab", "Test_0,0.25,0.25", "Test_1,0.25,0.25"),
        },
        {
            "labels": {"name": "columns", "file": "train.csv", "id_column": "image_id"},
            "test_ids": {"file": "test.csv", "id_column": "image_id"},
            "metric": "mean_column_roc_auc",
        },
        ["rust", "scab"],
        ["Test_0", "Test_1"],
        {"name": "probabilities", "columns": ["rust", "scab"]},
        "mean_column_roc_auc",
    ),
    "plant-seedlings-classification": Case(
        [f"{name}/{n}.png" for n in range(4) for name in ("Fat Hen", "Maize")],
        ["6df.png", "e20.png"],
        {"sample.csv": rows("file,species", "6df.png,Maize", "e20.png,Maize")},
        {"labels": {"name": "folders"}, "metric": "f1_micro"},
        ["Fat Hen", "Maize"],
        ["6df.png", "e20.png"],
        {"name": "label", "header": ["file", "species"]},
        "f1_micro",
    ),
    "leaf-classification": Case(
        [f"{n}.jpg" for n in range(10)],
        [],
        {
            "train.csv": rows("id,species,margin1", *(f"{n},Acer_{n % 2},0.1" for n in N)),
            "sample.csv": rows("id,Acer_0,Acer_1", "9,0,0", "8,0,0"),
        },
        {"labels": table("id", "species")},
        ["Acer_0", "Acer_1"],
        ["9", "8"],
        {"name": "probabilities", "columns": ["Acer_0", "Acer_1"]},
        "log_loss",
    ),
    "aptos2019-blindness-detection": Case(
        [f"{n}c.png" for n in N],
        ["43d.png"],
        {
            "train.csv": rows("id_code,diagnosis", *(f"{n}c,{n % 3}" for n in N)),
            "sample.csv": rows("id_code,diagnosis", "43d,0"),
        },
        {"labels": table("id_code", "diagnosis"), "metric": "quadratic_weighted_kappa"},
        ["0", "1", "2"],
        ["43d"],
        {"name": "label"},
        "quadratic_weighted_kappa",
    ),
    "cassava-leaf-disease-classification": Case(
        [f"100{n}.jpg" for n in N],
        ["103.jpg"],
        {
            "train.csv": rows("image_id,label", *(f"100{n}.jpg,{n % 4}" for n in N)),
            "sample.csv": rows("image_id,label", "103.jpg,4"),
        },
        {"labels": table("image_id", "label")},
        ["0", "1", "2", "3"],
        ["103.jpg"],
        {"name": "label"},
    ),
    "whale-categorization-playground": Case(
        [f"{n}d.jpg" for n in N],
        ["04.jpg"],
        {
            "train.csv": rows("Image,Id", *(f"{n}d.jpg,{'new' if n < 4 else f'w_{n}'}" for n in N)),
            "sample.csv": rows("Image,Id", "04.jpg,new w_4 w_5 w_6 w_7"),
        },
        {"labels": table("Image", "Id")},
        ["new", "w_4", "w_5", "w_6", "w_7"],
        ["04.jpg"],
        {"name": "top_k", "k": 5, "separator": " "},
        "map_at_5",
    ),
    "siim-isic-melanoma-classification": Case(
        [f"ISIC_{n}.jpg" for n in N],
        ["ISIC_9.jpg"],
        {
            "train.csv": rows(
                "image_name,patient_id,sex,target",
                *(f"ISIC_{n},IP_{n // 2},{'' if n else 'f'},{n % 2}" for n in N),
            ),
            "sample.csv": rows("image_name,target", "ISIC_9,0"),
        },
        {
            "labels": table("image_name", "target"),
            "metric": "roc_auc",
            "split": {
                "name": "groups",
                "file": "train.csv",
                "id_column": "image_name",
                "group_column": "patient_id",
            },
        },
        ["0", "1"],
        ["ISIC_9"],
        {"name": "probability", "positive": "1"},
        "roc_auc",
    ),
    "digit-recognizer": Case(
        [f"{n + 1}.png" for n in N],
        ["1.png", "2.png"],
        {
            "train.csv": rows("label,pixel0,pixel1", *(f"{n % 2},0,255" for n in N)),
            "sample.csv": rows("ImageId,Label", "1,0", "2,0"),
        },
        {"labels": {"file": "train.csv", "id_column": "null"}},
        ["0", "1"],
        ["1", "2"],
        {"name": "label", "header": ["ImageId", "Label"]},
    ),
    "state-farm-distracted-driver-detection": Case(
        [f"c{n % 2}/img_{n}.jpg" for n in N],
        ["img_10.jpg"],
        {
            "drivers.csv": rows(
                "subject,classname,img", *(f"p{n // 2},c{n % 2},img_{n}.jpg" for n in N)
            ),
            "sample.csv": rows("img,c0,c1", "img_10.jpg,0.1,0.1"),
        },
        {
            "labels": {"name": "folders"},
            "split": {
                "name": "groups",
                "file": "drivers.csv",
                "id_column": "img",
                "group_column": "subject",
            },
        },
        ["c0", "c1"],
        ["img_10.jpg"],
        {"name": "probabilities", "columns": ["c0", "c1"]},
        "log_loss",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_competition_goes_from_its_tables_to_a_split_and_a_form(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    found = matched(tmp_path, case.train, case.test, case.tables, **SAMPLE, **case.options)
    assert found.classes == case.classes
    assert len(found.labels) == 8
    assert list(found.test.values()) == case.ids
    assert {key: found.form[key] for key in case.form} == case.form
    assert found.metric["name"] == case.metric
    assert found.unmatched == []
    split = LabelOptions.checked(case.options, "options").split or StratifiedSplit()
    write_split(tmp_path / "labels.csv", tmp_path / "split.csv", 0.25, 0, split)
    parts = Counter(row[2] for row in found.rows("split.csv"))
    assert parts["train"] + parts["valid"] == 8
    assert 1 <= parts["valid"] <= 4

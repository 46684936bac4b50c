"""The look at the data in the real workflow, and trainings that refuse images of the test set."""

import json
from pathlib import Path

from builders import label_of, make_competition, png_bytes, write_archive
from project import QUICK, Project, run_of, trained

TRAIN, TEST = 30, 20
DATA = "data/cifar10"
ALLOWED = "allow_test_images_in_training=true"
TRAINED = trained(f"results/cifar10/{run_of(QUICK)}")


def leaky(raw: Path) -> None:
    """Write a competition whose training image 17 is test image 3, and 19 training image 21."""
    raw.mkdir()
    made = make_competition(raw, train=TRAIN, test=TEST)
    seeds = {image_id: int(image_id) for image_id in made.label_of}
    seeds |= {"17": 10**6 + 3, "19": 21}
    images = {f"train/{image_id}.png": png_bytes(seed) for image_id, seed in seeds.items()}
    (raw / "train.7z").unlink()
    write_archive(raw / "train.7z", images)


def test_images_of_the_test_set_are_refused_until_they_are_allowed(project: Project) -> None:
    leaky(project.directory / "kaggle")
    config = ("dataset=cifar10", "raw_dir=kaggle", QUICK)

    result = project.run("submission.csv", config=config)
    assert result.code == 1, result.output
    assert "Traceback" not in result.output
    (error,) = result.errors
    for word in (
        f"{DATA}/packed/32x32/duplicates.json",
        "1 labelled image is in the test set",
        "training image '17' = test image '3'",
        "report.md",
        "allow_test_images_in_training: true",
    ):
        assert word in error
    assert not (project.directory / "results").exists()

    report = json.loads(project.read(f"{DATA}/report.json"))
    found = [item["finding"] for item in report["attention"]]
    assert found[:2] == ["labelled_images_in_test", "different_labels"]
    assert report["duplicates"]["different_labels"] == [
        {label_of(21): ["21"], label_of(19): ["19"]}
    ]
    text = project.read(f"{DATA}/report.md").decode()
    assert text.startswith("# The data before training")
    assert "| 17 |  | 3 |" in text
    for finding in report["attention"]:
        assert f"[check_data] {finding['message']}" in result.output

    result = project.run(*TRAINED, config=(*config, ALLOWED))
    assert result.code == 0, result.output
    assert {"train", "retrain", "submission"} <= result.rules
    assert not result.rules & {"pack", "compare", "check_data"}
    for rule in ("train", "retrain"):
        log = project.read(f"logs/cifar10/{run_of(QUICK)}/seed0/{rule}.log").decode()
        assert log.count("training image '17' = test image '3'") == 1
        assert "train on them all the same" in log
    # Nothing is trained again, nor refused, when it is no longer allowed.
    assert project.stale(*TRAINED, config=config) == set()


def test_the_look_can_be_asked_for_by_name_and_says_what_was_left_out(project: Project) -> None:
    raw = project.directory / "kaggle"
    raw.mkdir()
    made = make_competition(raw, train=TRAIN, test=TEST)
    images = {f"train/{i}.png": png_bytes(int(i)) for i in made.label_of}
    images["train/4.png"] = png_bytes(4, mode="L")
    images["train/5.png"] = b"rubbish"
    del images["train/6.png"]
    (raw / "train.7z").unlink()
    write_archive(raw / "train.7z", images)
    config = ("dataset=cifar10", "raw_dir=kaggle", "on_bad_image=drop")

    result = project.run("check_data", config=config)

    assert result.code == 0, result.output
    report = json.loads(project.read(f"{DATA}/report.json"))
    assert report["images"]["train"] + report["images"]["valid"] == TRAIN - 2
    assert report["images"]["test"] == TEST
    assert report["formats"]["labelled"] == {"PNG L 32×32": 1, "PNG RGB 32×32": TRAIN - 3}
    assert [row["image"] for row in report["undecodable"]] == ["train/5.png"]
    assert [row["id"] for row in report["unmatched"]] == ["6"]
    assert report["duplicates"]["groups"] == 0
    assert "| train/5.png | " in project.read(f"{DATA}/report.md").decode()
    assert not (project.directory / "results").exists()

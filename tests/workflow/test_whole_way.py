"""From archives in the real formats to the submission, through the real Snakefile."""

import csv
import json
import zipfile
from pathlib import Path

import pytest
import yaml
from markupsafe import escape
from PIL import Image
from torchvision.datasets import ImageFolder

from builders import SCATTERED_IDS, make_competition, make_tiny_zip, make_toronto
from imagepipe.display.figures import inline_svg
from imagepipe.evaluation.captions import read_caption
from imagepipe.evaluation.report import FIGURES
from project import (
    QUICK,
    ROOT,
    Project,
    check_snakemakes_report,
    figure_files,
    run_of,
    trained,
)

CLASSES = [
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
]
# Of the report, in bytes.
MAX_PAGE = 5_000_000


def rows_of(project: Project, path: str = "submission.csv") -> list[dict[str, str]]:
    with (project.directory / path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_default_makes_a_submission_that_is_good(project: Project) -> None:
    before = {path: path.read_bytes() for path in project.folder.rglob("*") if path.is_file()}
    result = project.run("submission.csv", cores="all")
    assert result.code == 0, result.output

    rows = rows_of(project)
    assert list(rows[0]) == ["id", "label"]
    assert [row["id"] for row in rows] == [str(number) for number in range(1, 501)]
    assert {row["label"] for row in rows} <= set(CLASSES)
    # The last line says what to open: one page, with every figure in it.
    page, figures = "results/sample/report.html", figure_files(project)
    assert result.output.splitlines()[-1] == "open " + "/".join(("..", "work", page))
    text = project.read(page).decode()
    assert len(text.encode()) <= MAX_PAGE
    assert {path.stem for path in figures} == set(FIGURES)
    for path in figures:
        assert inline_svg(path, FIGURES[path.stem]) in text, path
        assert escape(read_caption(path.stem)) in text, path

    score = json.loads(project.read("results/sample/score.json"))
    assert score["n"] == 500
    assert score["accuracy"] > 0.85  # 0.974 was measured; chance is 0.1
    assert f"test accuracy   {score['accuracy']:.4f}" in result.output

    final = "results/sample/fast/seed0/final"
    assert f"{final}/model.safetensors" in result.output  # the summary says where things are
    assert "epoch 8/8: train loss" in result.output
    metrics = json.loads(project.read(f"{final}/metrics.json"))
    assert metrics["valid_accuracy"] is None
    assert metrics["epochs"] == 8
    validated = json.loads(project.read("results/sample/fast/seed0/train/metrics.json"))
    assert 0 < validated["valid_accuracy"] <= 1
    for rule in ("extract", "reorganise", "pack"):
        assert (project.directory / f"logs/sample/{rule}.benchmark.tsv").is_file()
    for rule in ("train", "retrain", "predict"):
        assert (project.directory / f"logs/sample/fast/seed0/{rule}.log").stat().st_size > 0
    assert not (project.directory / "results/sample/fast/seed0/.checkpoint/train").exists()

    # Nothing is written beside the code, but what Python compiles.
    after = {path for path in project.folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert after == set(before)
    assert all(path.read_bytes() == content for path, content in before.items())

    assert "Nothing to be done" in project.run("submission.csv", cores="all").output

    check_snakemakes_report(project)


@pytest.mark.parametrize(
    "layout", ["{split}/{id}.png", "{split}/{split}/{id}.png", "{id}.png"], ids=str
)
def test_every_layout_seen_inside_the_archives(project: Project, layout: str) -> None:
    raw = project.directory / "kaggle"
    raw.mkdir()
    made = make_competition(raw, train=30, test=20, layout=layout)
    config = ("dataset=cifar10", "raw_dir=kaggle")
    result = project.run("pack", config=config)
    assert result.code == 0, result.output
    table = rows_of(project, "data/cifar10/packed/32x32/labelled.csv")
    assert {row["id"]: row["label"] for row in table} == made.label_of
    assert len(rows_of(project, "data/cifar10/packed/32x32/test.csv")) == 20


def test_the_one_zip_that_kaggle_downloads(project: Project) -> None:
    raw = project.directory / "kaggle"
    raw.mkdir()
    make_competition(raw, train=30, test=20)
    with zipfile.ZipFile(raw / "cifar-10.zip", "w") as bundle:
        for path in sorted(raw.iterdir()):
            if path.name != "cifar-10.zip":
                bundle.write(path, path.name)
                path.unlink()
    submission = "results/cifar10/submission.csv"
    result = project.run(submission, config=("dataset=cifar10", "raw_dir=kaggle", QUICK))
    assert result.code == 0, result.output
    ids = [row["id"] for row in rows_of(project, submission)]
    assert ids == [str(number) for number in range(1, 21)]
    assert sorted(path.name for path in raw.iterdir()) == ["cifar-10.zip"]


def test_the_books_small_sample_keeps_its_scattered_ids(project: Project) -> None:
    raw = project.directory / "my files, ünïcode 'and' quotes"
    raw.mkdir()
    made = make_tiny_zip(raw, train=40)
    config = ("dataset=cifar10_tiny", f"raw_dir={raw}", QUICK)
    submission = "results/cifar10_tiny/submission.csv"
    result = project.run(submission, "reorganise", config=config)
    assert result.code == 0, result.output
    assert "has the sha1" in result.output  # a warning only, as the file is the user's own
    assert [row["id"] for row in rows_of(project, submission)] == list(SCATTERED_IDS)

    tree = project.directory / "data/cifar10_tiny/train_valid_test"
    ids = {}
    for name in ("train_valid", "train", "valid"):
        folder = ImageFolder(str(tree / name))
        assert folder.classes == CLASSES
        ids[name] = {Path(path).stem for path, _ in folder.samples}
        for path, label in folder.samples:
            assert made.label_of[Path(path).stem] == CLASSES[label]
    assert ids["train"].isdisjoint(ids["valid"])
    assert ids["train"] | ids["valid"] == ids["train_valid"] == set(made.label_of)
    assert {path.stem for path in (tree / "test" / "unknown").iterdir()} == set(SCATTERED_IDS)


def test_the_toronto_archive_is_scored(project: Project) -> None:
    raw = project.directory / "toronto"
    raw.mkdir()
    make_toronto(raw, per_batch=6, test=10)
    config = ("dataset=cifar10_official", "raw_dir=toronto", QUICK)
    score = "results/cifar10_official/score.json"
    result = project.run(score, config=config)
    assert result.code == 0, result.output
    assert json.loads(project.read(score))["n"] == 10
    assert Image.open(project.directory / "data/cifar10_official/extracted/train/1.png").size == (
        32,
        32,
    )


def test_a_users_own_dataset_and_recipe_files(project: Project) -> None:
    raw = project.directory / "files"
    raw.mkdir()
    make_competition(raw, train=24, test=6, classes=("no", "yes"))
    recipe = {"model": {"name": "small_cnn", "width": 2}, "epochs": 1, "batch_size": 8}
    (project.directory / "mine.yaml").write_text(yaml.safe_dump(recipe))
    dataset = yaml.safe_load((ROOT / "workflow/datasets/cifar10.yaml").read_text())
    dataset["submission"] = {"name": "probabilities"}
    dataset["sample_submission"] = None
    (project.directory / "yes-no.yaml").write_text(yaml.safe_dump(dataset))
    config = ("dataset=yes-no.yaml", "recipe=./mine.yaml", "raw_dir=files", "members=2")
    result = project.run("submission.csv", config=config)
    assert result.code == 0, result.output
    rows = rows_of(project)
    assert list(rows[0]) == ["id", "no", "yes"]
    assert all(abs(float(row["no"]) + float(row["yes"]) - 1) < 1e-6 for row in rows)
    # The mean of two members is neither of them.
    (results,) = (project.directory / "results/yes-no").glob("mine-*")
    assert (results / "seed1/final/test_logits.npz").is_file()
    check_snakemakes_report(project, config=config)


def test_several_processes_train_for_the_whole_way(project: Project) -> None:
    processes = ("--set-resources", "train:processes=2", "retrain:processes=2")
    targets = trained(f"results/sample/{run_of(QUICK)}")
    result = project.run(*targets, *processes, config=(QUICK, "layout=packed"))
    assert result.code == 0, result.output
    assert len(rows_of(project, targets[0])) == 500
    for name in ("train", "retrain"):
        log = project.read(f"logs/sample/{run_of(QUICK)}/seed0/{name}.log").decode()
        assert "1 threads in each of 2 processes" in log
        assert "epoch 1/1: train loss" in log
    assert project.stale(*targets, config=(QUICK, "layout=packed")) == set()

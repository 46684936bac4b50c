"""What reruns when something changes: nothing more, and nothing less, than what it concerns."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagepipe.config.options import Options, sections
from imagepipe.config.schemas import SCHEMAS
from project import QUICK, Project, check_snakemakes_report, run_of, trained
from recipe_keys import OTHER_RECIPE_KEYS, RECIPE_TABLE, changed_recipe
from snapshots import snapshot

# For each rule, those that read what it writes.
READERS = {
    "fetch": ["extract", "tables", "true_labels", "report", "model_card"],
    "extract": ["labels", "form", "reorganise", "pack"],
    "tables": ["labels", "form"],
    "true_labels": ["score"],
    "labels": [
        *("form", "split", "reorganise", "pack", "check_data", "train", "retrain", "submission"),
        "augmentation",
    ],
    "form": ["train", "submission", "score", "evaluate"],
    "split": ["reorganise", "check_data", "train", "augmentation"],
    "reorganise": ["publish"],
    "pack": [
        *("compare", "check_data", "train", "retrain", "predict"),
        *("augmentation", "evaluate", "saliency", "test_predictions"),
    ],
    "compare": ["check_data", "train", "retrain"],
    "check_data": ["report", "model_card"],
    "train": ["runs", "curves", "augmentation", "evaluate", "saliency", "report", "model_card"],
    "runs": ["report"],
    "retrain": ["predict", "curves", "report", "model_card"],
    "predict": ["submission", "test_predictions"],
    "submission": ["score", "report", "publish"],
    "score": ["report", "model_card"],
    "curves": ["report", "model_card"],
    "augmentation": ["report", "model_card"],
    "evaluate": ["saliency", "report", "model_card"],
    "saliency": ["report", "model_card"],
    "test_predictions": ["report", "model_card"],
    "report": ["publish"],
    "model_card": ["publish"],
    "publish": [],
}
EVERY_RULE = set(READERS)


def onward(*rules: str) -> set[str]:
    """Return the rules and all that comes after them."""
    found = set(rules)
    for rule in rules:
        found |= onward(*READERS[rule])
    return found


NOTHING: set[str] = set()
TRAINING = onward("train", "retrain")
DESCRIPTION = onward("report", "model_card")
IMAGES_AND_TABLES = onward("extract", "tables", "true_labels")
ANOTHER_MEMBER = onward("retrain")

# key of config.yaml: (another value, what reruns)
CONFIG_TABLE: dict[str, tuple[str, set[str]]] = {
    "dataset": ("dataset=sample", EVERY_RULE),
    "raw_dir": ("raw_dir=./kaggle/../kaggle", onward("fetch")),
    "recipe": ("recipe=d2l-plain", TRAINING),
    "override": (QUICK.replace("epochs: 1", "epochs: 2"), TRAINING),
    "valid_ratio": ("valid_ratio=0.5", onward("split")),
    "split_seed": ("split_seed=1", onward("split")),
    "seed": ("seed=7", TRAINING),
    "members": ("members=2", ANOTHER_MEMBER),
    "device": ("device=cpu", NOTHING),
    "checkpoint_minutes": ("checkpoint_minutes=1", NOTHING),
    "tensorboard": ("tensorboard=true", NOTHING),
    "prediction_batch_size": ("prediction_batch_size=7", onward("predict")),
    "allow_test_images_in_training": ("allow_test_images_in_training=true", NOTHING),
    "layout": ("layout=packed", onward("extract") - {"reorganise"}),
    "on_bad_image": ("on_bad_image=drop", onward("labels")),
    "link_mode": ("link_mode=copy", onward("reorganise")),
}

WITH_THRESHOLDS = onward("labels") | {"thresholds"}
GROUPS = {"name": "groups", "file": "trainLabels.csv", "group_column": "label"}
FIXED = {"name": "fixed", "file": "trainLabels.csv"}

# key of a dataset file: (change of the file's content, what reruns)
Change = Callable[[dict[str, Any]], Any]
DATASET_TABLE: dict[str, tuple[Change, set[str]]] = {
    "title": (lambda d: d.update(title="another"), DESCRIPTION),
    "homepage": (lambda d: d.update(homepage="another"), DESCRIPTION),
    "source": (lambda d: d.update(source="url"), onward("fetch")),
    "competition": (lambda d: d.update(competition="cifar-10"), onward("fetch")),
    "files.name": (lambda d: d["files"].append({"name": "more.csv"}), onward("fetch")),
    "files.url": (lambda d: d["files"][0].update(url="http://127.0.0.1/"), onward("fetch")),
    "files.checksum": (lambda d: d["files"][0].update(checksum="md5:" + 32 * "0"), onward("fetch")),
    "files.bytes": (lambda d: d["files"][0].update(bytes=7), onward("fetch")),
    "bundle": (lambda d: d.update(bundle="all.zip"), onward("fetch")),
    "archive_format": (
        lambda d: d.update(archive_format="cifar_python"),
        IMAGES_AND_TABLES,
    ),
    **dict.fromkeys(
        [f"pixels.{key}" for key in ("train", "test", "column", "id_column", "test_id_column")]
        + [f"pixels.{key}" for key in ("train_where", "test_where")],
        (
            lambda d: d.update(archive_format="pixels", pixels={"train": "a.csv", "test": "b.csv"}),
            IMAGES_AND_TABLES,
        ),
    ),
    "encoding": (lambda d: d.update(encoding="latin-1"), onward("labels")),
    "image_size": (lambda d: d.update(image_size=[32, 64]), onward("pack")),
    "train_folder": (lambda d: d.update(train_folder="training"), onward("extract")),
    "test_folder": (lambda d: d.update(test_folder="testing"), onward("extract")),
    "labels.name": (lambda d: d.update(labels={"name": "folders"}), onward("extract", "tables")),
    "labels.file": (lambda d: d["labels"].update(file="other.csv"), onward("tables")),
    "labels.id_column": (lambda d: d["labels"].update(id_column="name"), onward("labels")),
    "labels.label_column": (lambda d: d["labels"].update(label_column="c"), onward("labels")),
    "labels.separator": (lambda d: d["labels"].update(separator=" "), WITH_THRESHOLDS),
    "labels.where": (lambda d: d["labels"].update(where={"label": "cat"}), onward("labels")),
    "labels.columns": (
        lambda d: d.update(labels={"name": "columns", "file": "trainLabels.csv"}),
        onward("labels"),
    ),
    "labels.several": (
        lambda d: d.update(labels={"name": "columns", "file": "trainLabels.csv", "several": True}),
        WITH_THRESHOLDS,
    ),
    "labels.pattern": (
        lambda d: d.update(labels={"name": "file_names", "pattern": "(?P<label>.)"}),
        onward("tables"),
    ),
    "test_ids.file": (lambda d: d.update(test_ids={"file": "more.csv"}), onward("tables")),
    "test_ids.id_column": (
        lambda d: d.update(test_ids={"file": "sampleSubmission.csv", "id_column": "name"}),
        onward("labels"),
    ),
    "test_ids.where": (
        lambda d: d.update(test_ids={"file": "sampleSubmission.csv", "where": {"id": "1"}}),
        onward("labels"),
    ),
    "sample_submission": (lambda d: d.update(sample_submission=None), onward("tables")),
    "true_labels": (
        lambda d: d.update(true_labels="trainLabels.csv"),
        onward("true_labels"),
    ),
    "submission.name": (
        lambda d: d.update(submission={"name": "probabilities"}),
        onward("form"),
    ),
    "submission.id_column": (
        lambda d: d.update(submission={"name": "label", "id_column": "name"}),
        onward("form"),
    ),
    "submission.label_column": (
        lambda d: d.update(submission={"name": "label", "label_column": "class"}),
        onward("form"),
    ),
    **dict.fromkeys(
        ["submission.positive", "submission.probability_column"],
        (
            lambda d: d.update(submission={"name": "probability", "positive": "cat"}),
            onward("form"),
        ),
    ),
    "submission.k": (
        lambda d: d.update(submission={"name": "top_k", "k": 3}),
        onward("form"),
    ),
    "submission.separator": (
        lambda d: d.update(submission={"name": "several_labels", "separator": ","}),
        onward("form"),
    ),
    "metric": (lambda d: d.update(metric="top_2_error"), onward("form")),
    "split.name": (lambda d: d.update(split={"name": "stratified"}), onward("split")),
    "split.file": (lambda d: d.update(split=GROUPS | {"file": "more.csv"}), onward("tables")),
    "split.id_column": (lambda d: d.update(split=GROUPS | {"id_column": "c"}), onward("labels")),
    "split.group_column": (lambda d: d.update(split=GROUPS), onward("labels")),
    "split.split_column": (lambda d: d.update(split=FIXED), onward("labels")),
    "split.valid": (lambda d: d.update(split=FIXED | {"valid": "1"}), onward("labels")),
    "mean": (
        lambda d: d.update(mean=[0.4, 0.5, 0.6]),
        TRAINING | {"check_data"},
    ),
    "std": (
        lambda d: d.update(std=[0.2, 0.2, 0.3]),
        TRAINING | {"check_data"},
    ),
}

# Options with another value of which stages run again that read files as they were: which do, is
# measured. A stage that runs because of its own option may write the same again, so that the last
# ones, which take seconds, run for nothing.
REALLY_CHANGED = (
    *("valid_ratio", "split_seed", "members", "prediction_batch_size", "link_mode"),
    "mean",
)
LAST_ONES = {"score", "test_predictions", "report", "model_card", "publish"}

Finished = tuple[Project, tuple[str, ...]]


def with_key(config: tuple[str, ...], change: str) -> tuple[str, ...]:
    """Return the configuration with one key changed."""
    key = change.partition("=")[0]
    return (*(item for item in config if not item.startswith(f"{key}=")), change)


def leaf_keys(model: type[Options], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all keys that hold a value of their own, and of all kinds."""
    for key, field in model.model_fields.items():
        inner = sections(field.annotation)
        if key == "name" and isinstance(field.default, str):
            yield f"{prefix}{key}"
        elif inner:
            for one in inner:
                yield from leaf_keys(one, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@contextmanager
def changed(path: Path, content: str) -> Iterator[None]:
    """Give a file another content for a while."""
    before = path.read_text()
    path.write_text(content)
    try:
        yield
    finally:
        path.write_text(before)


@pytest.mark.parametrize(
    ("schema", "keys"),
    [
        ("config", set(CONFIG_TABLE)),
        ("recipe", set(RECIPE_TABLE) | OTHER_RECIPE_KEYS),
        ("dataset", set(DATASET_TABLE)),
    ],
)
def test_the_tables_have_every_key_of_the_schemas(schema: str, keys: set[str]) -> None:
    assert keys == set(leaf_keys(SCHEMAS[schema]))


def test_a_second_run_has_nothing_to_do_with_any_number_of_cores(finished: Finished) -> None:
    project, config = finished
    for cores in ("1", "2"):
        result = project.run(config=config, cores=cores)
        assert result.code == 0
        assert "Nothing to be done" in result.output


@pytest.mark.parametrize("key", CONFIG_TABLE)
def test_a_config_key_reruns_what_it_concerns(finished: Finished, key: str) -> None:
    project, config = finished
    change, rules = CONFIG_TABLE[key]
    assert project.stale(config=with_key(config, change)) == rules


def test_what_a_machine_has_reruns_nothing(finished: Finished) -> None:
    project, config = finished
    asked = (
        "--set-threads",
        "train=1",
        "pack=1",
        "--set-resources",
        "train:gpu=2",
        "pack:mem_mb=9",
    )
    assert project.stale("submission.csv", *asked, config=config) == NOTHING


def test_a_recipe_of_another_image_size_stores_the_images_again(finished: Finished) -> None:
    project, config = finished
    for change in ("image_size: 24", "image_size: [24, 32]"):
        override = QUICK.replace("epochs: 1", f"epochs: 1, {change}")
        assert project.stale(config=with_key(config, override)) == onward("pack")


@pytest.mark.parametrize("key", ["optimizer.lr", "precision"])
def test_a_recipe_key_is_another_run(finished: Finished, key: str) -> None:
    """All keys make another name of the run (see tests/unit/config/test_runs.py)."""
    project, config = finished
    override = yaml.safe_load(QUICK.partition("=")[2]) | changed_recipe(key)
    change = "override=" + yaml.safe_dump(override, default_flow_style=True, width=10_000).strip()
    assert project.stale(config=with_key(config, change)) == TRAINING


def test_results_of_another_setting_are_kept(finished: Finished, tmp_path: Path) -> None:
    original, config = finished
    project = original.copy(tmp_path / "work")
    results = project.directory / "results/own"
    (mine,) = results.glob("*/seed0")
    before = snapshot(mine)
    other = with_key(config, QUICK.replace("epochs: 1", "epochs: 2"))
    assert project.run(config=other).code == 0
    assert snapshot(mine) == before
    with (results / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["epochs"] for row in rows} == {"1", "2"}
    assert all(row["valid_images"] == "10" for row in rows)
    assert all((results / row["run"] / "seed0/train/run.yaml").is_file() for row in rows)
    check_snakemakes_report(project, config=other)
    # Back to the first one: nothing is trained.
    assert project.stale(config=config).isdisjoint({"train", "retrain", "predict"})
    assert project.run(*trained(f"results/own/{run_of(QUICK)}"), config=config).code == 0
    assert snapshot(mine) == before


def test_a_recipe_says_how_many_members_there_are_unless_the_config_does(
    finished: Finished,
) -> None:
    project, config = finished
    two = with_key(config, QUICK.replace("{", "{members: 2, ", 1))
    assert project.stale(config=two) == ANOTHER_MEMBER
    assert project.stale(config=with_key(two, "members=1")) == NOTHING


def test_swapping_two_values_is_seen(finished: Finished) -> None:
    """Params are compared as a set, without their names: so the options are one param."""
    project, config = finished
    path = project.directory / "own.yaml"
    dataset = yaml.safe_load(path.read_text())
    dataset["mean"], dataset["std"] = dataset["std"], dataset["mean"]
    with changed(path, yaml.safe_dump(dataset)):
        assert project.stale(config=config) == TRAINING | {"check_data"}


@pytest.mark.parametrize("key", DATASET_TABLE)
def test_a_dataset_key_reruns_what_it_concerns(finished: Finished, key: str) -> None:
    project, config = finished
    path = project.directory / "own.yaml"
    dataset = yaml.safe_load(path.read_text())
    change, rules = DATASET_TABLE[key]
    change(dataset)
    with changed(path, yaml.safe_dump(dataset)):
        assert project.stale(config=config) == rules


@pytest.mark.parametrize(
    ("module", "rules"),
    [("dataset/decoding", {"pack"}), ("prediction/predict", {"train", "retrain", "predict"})],
)
def test_a_change_of_a_module_reruns_the_rules_that_use_it(
    finished: Finished, module: str, rules: set[str]
) -> None:
    """Which rules use which module is tested without Snakemake, in test_source_hash.py."""
    project, config = finished
    path = project.folder / "workflow" / "scripts" / "imagepipe" / f"{module}.py"
    with changed(path, path.read_text() + "\n# changed\n"):
        assert project.stale(config=config) == onward(*rules)


def content(path: Path) -> object:
    """Return what a file, or what a folder holds, is to those who read it."""
    if path.is_dir():
        return {str(file.relative_to(path)): content(file) for file in sorted(path.rglob("*"))}
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


@dataclass(frozen=True)
class Record:
    """What Snakemake has noted of an output: its rule, when it was made, by what and from what."""

    rule: str
    time: float
    params: tuple[str, ...]
    inputs: tuple[tuple[str, object], ...]


def records(project: Project) -> dict[str, Record]:
    """Return the records of all outputs, by a name for each."""
    found = {}
    for file in (project.directory / ".snakemake/metadata").iterdir():
        record = json.loads(file.read_text())
        inputs = tuple((name, content(project.directory / name)) for name in record["input"])
        params = tuple(sorted(record["params"]))
        found[file.name] = Record(record["rule"], record["endtime"], params, inputs)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("key", REALLY_CHANGED)
def test_what_reruns_has_another_option_or_an_input_of_other_content(
    finished: Finished, tmp_path: Path, key: str
) -> None:
    """Each option in turn, with the jobs really run: nothing is made for nothing."""
    original, config = finished
    project = original.copy(tmp_path / "work")
    before = records(project)
    if key in CONFIG_TABLE:
        config = with_key(config, CONFIG_TABLE[key][0])
    else:
        path = project.directory / "own.yaml"
        dataset = yaml.safe_load(path.read_text())
        DATASET_TABLE[key][0](dataset)
        path.write_text(yaml.safe_dump(dataset))
    result = project.run(config=config)
    assert result.code == 0, result.output
    after = records(project)
    anew = [name for name, record in before.items() if after[name].time != record.time]
    needless = {after[n].rule for n in anew if after[n] == replace(before[n], time=after[n].time)}
    assert anew
    assert needless <= LAST_ONES


def test_a_comment_in_the_config_and_a_touched_script_rerun_nothing(finished: Finished) -> None:
    project, config = finished
    path = project.folder / "config.yaml"
    for script in (project.folder / "workflow" / "scripts").rglob("*.py"):
        script.touch()
    with changed(path, "# a comment\n" + path.read_text()):
        assert project.stale(config=config) == NOTHING


def test_a_changed_archive_reruns_everything(finished: Finished) -> None:
    project, config = finished
    archive = project.directory / "kaggle" / "train.7z"
    before = archive.read_bytes()
    archive.write_bytes(before + b"more")
    try:
        assert project.stale(config=config) == EVERY_RULE
    finally:
        archive.write_bytes(before)

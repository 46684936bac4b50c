"""What reruns when something changes: nothing more, and nothing less, than what it concerns."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from project import QUICK, ROOT, Project

# For each rule, those that read what it writes.
READERS = {
    "fetch": ["extract"],
    "extract": ["labels", "reorganise", "submission", "score"],
    "labels": ["split", "check_data", "train", "retrain"],
    "split": ["reorganise"],
    "reorganise": ["pack"],
    "pack": ["compare", "check_data", "train", "retrain", "predict"],
    "compare": ["check_data", "train", "retrain"],
    "check_data": ["publish"],
    "train": ["select", "plots"],
    "select": ["retrain"],
    "retrain": ["predict", "plots"],
    "predict": ["submission"],
    "submission": ["score", "publish"],
    "score": ["publish"],
    "plots": ["publish"],
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
TRAINING = onward("train")
ANOTHER_MEMBER = {"retrain", "predict", "submission", "score", "publish"}

# key of config.yaml: (another value, what reruns)
CONFIG_TABLE: dict[str, tuple[str, set[str]]] = {
    "dataset": ("dataset=sample", EVERY_RULE),
    "raw_dir": ("raw_dir=./kaggle/../kaggle", onward("fetch")),
    "recipe": ("recipe=d2l-plain", TRAINING),
    "override": (QUICK.replace("epochs: 1", "epochs: 2"), TRAINING),
    "valid_ratio": ("valid_ratio=0.3", onward("split")),
    "split_seed": ("split_seed=1", onward("split")),
    "seed": ("seed=7", TRAINING),
    "members": ("members=2", ANOTHER_MEMBER),
    "device": ("device=cpu", NOTHING),
    "gpus_per_run": ("gpus_per_run=2", NOTHING),
    "nodes_per_run": ("nodes_per_run=2", NOTHING),
    "data_threads": ("data_threads=1", NOTHING),
    "data_mem_mb": ("data_mem_mb=100", NOTHING),
    "data_runtime": ("data_runtime=1", NOTHING),
    "training_threads": ("training_threads=1", NOTHING),
    "training_mem_mb": ("training_mem_mb=100", NOTHING),
    "training_runtime": ("training_runtime=1", NOTHING),
    "checkpoint_minutes": ("checkpoint_minutes=1", NOTHING),
    "prediction_batch_size": ("prediction_batch_size=7", onward("predict")),
    "allow_test_images_in_training": ("allow_test_images_in_training=true", NOTHING),
    "layout": ("layout=packed", onward("extract") - {"reorganise"}),
    "on_bad_image": ("on_bad_image=drop", onward("labels")),
    "link_mode": ("link_mode=copy", onward("reorganise")),
}

# key of a recipe: another value than that of `fast` with QUICK. All of them concern the training.
RECIPE_TABLE: dict[str, str] = {
    "model.name": "d2l_resnet18",
    "model.architecture": "resnet34",
    "model.width": "3",
    "model.widths": "[2, 2, 2]",
    "model.convolutions": "3",
    "model.activation": "gelu",
    "model.pooling": "max",
    "model.whitening_epsilon": "0.02",
    "model.depth": "16",
    "model.widening_factor": "2",
    "augmentation.random_resized_crop.resize": "36",
    "augmentation.random_resized_crop.min_area": "0.5",
    "augmentation.random_resized_crop.max_area": "0.9",
    "augmentation.random_crop_padding": "1",
    "augmentation.horizontal_flip": "false",
    "augmentation.alternating_flip": "false",
    "augmentation.color_jitter.brightness": "0.1",
    "augmentation.color_jitter.contrast": "0.1",
    "augmentation.color_jitter.saturation": "0.1",
    "augmentation.color_jitter.hue": "0.1",
    "augmentation.cutout": "4",
    "augmentation.mixup": "0.2",
    "augmentation.cutmix": "1",
    "progressive_resizing.until": "[{until: 0.3, scale: 0.625}]",
    "progressive_resizing.scale": "[{until: 0.375, scale: 0.5}]",
    "batch_size": "5",
    "micro_batch_size": "3",
    "least_steps_per_epoch": "2",
    "drop_last": "false",
    "epochs": "3",
    "optimizer.name": "sgd",
    "optimizer.lr": "0.011",
    "optimizer.momentum": "0.8",
    "optimizer.nesterov": "true",
    "optimizer.weight_decay": "0.003",
    "optimizer.iterations": "5",
    "optimizer.rest.lr": "0.04",
    "optimizer.rest.head_lr": "0.5",
    "optimizer.rest.momentum": "0.8",
    "schedule.name": "step",
    "schedule.period": "2",
    "schedule.decay": "0.7",
    "schedule.warmup": "0.1",
    "freeze.parameters": "[{parameters: features.0, after: 0.5}]",
    "freeze.after": "[{parameters: features, after: 0.6}]",
    "averaging.name": "ema",
    "averaging.decay": "0.5",
    "averaging.every": "3",
    "loss.reduction": "mean",
    "loss.label_smoothing": "0.3",
    "precision": "fp32",
    "tf32": "true",
    "deterministic": "false",
    "compile": "true",
    "test_time_augmentation": "none",
}
OTHER_RECIPE_KEYS = {"title", "members"}
# A list is given whole: the table has another one for each key of its items.
RECIPE_LISTS = ("progressive_resizing", "freeze")

# key of a dataset file: (change of the file's content, what reruns)
Change = Callable[[dict[str, Any]], Any]
DATASET_TABLE: dict[str, tuple[Change, set[str]]] = {
    "title": (lambda d: d.update(title="another"), NOTHING),
    "homepage": (lambda d: d.update(homepage="another"), NOTHING),
    "source": (lambda d: d.update(source="url"), onward("fetch")),
    "competition": (lambda d: d.update(competition="cifar-10"), onward("fetch")),
    "files.name": (lambda d: d["files"].append({"name": "more.csv"}), onward("fetch")),
    "files.url": (lambda d: d["files"][0].update(url="http://127.0.0.1/"), onward("fetch")),
    "files.checksum": (lambda d: d["files"][0].update(checksum="md5:" + 32 * "0"), onward("fetch")),
    "files.bytes": (lambda d: d["files"][0].update(bytes=7), onward("fetch")),
    "bundle": (lambda d: d.update(bundle="all.zip"), onward("fetch")),
    "archive_format": (lambda d: d.update(archive_format="cifar_python"), onward("extract")),
    "image_extension": (lambda d: d.update(image_extension="jpg"), onward("extract")),
    "image_size": (lambda d: d.update(image_size=64), onward("pack")),
    "train_folder": (lambda d: d.update(train_folder="training"), onward("fetch")),
    "test_folder": (lambda d: d.update(test_folder="testing"), onward("fetch")),
    "labels.file": (lambda d: d["labels"].update(file="other.csv"), onward("extract")),
    "labels.id_column": (lambda d: d["labels"].update(id_column="name"), onward("labels", "score")),
    "labels.label_column": (lambda d: d["labels"].update(label_column="c"), onward("labels")),
    "sample_submission": (lambda d: d.update(sample_submission=None), onward("extract")),
    "true_labels": (lambda d: d.update(true_labels=None), onward("extract") - {"score"}),
    "submission.format": (
        lambda d: d.update(submission={"format": "probability"}),
        onward("submission"),
    ),
    "submission.id_column": (
        lambda d: d.update(submission={"id_column": "name"}),
        onward("submission"),
    ),
    "submission.label_column": (
        lambda d: d.update(submission={"label_column": "class"}),
        onward("submission"),
    ),
    "channel_means": (
        lambda d: d.update(channel_means=[0.4, 0.5, 0.6]),
        TRAINING | {"check_data"},
    ),
    "channel_deviations": (
        lambda d: d.update(channel_deviations=[0.2, 0.2, 0.3]),
        TRAINING | {"check_data"},
    ),
}

# module of the library: the rules whose scripts use it; what comes after them reruns as well
MODULE_TABLE: dict[str, set[str]] = {
    "archive_parts": {"fetch", "extract"},
    "archives": {"fetch", "extract"},
    "array_writing": {"pack"},
    "augmentation": {"train", "retrain"},
    "averaging": {"train", "retrain"},
    "channels": {"check_data"},
    "checkpoint": {"train", "retrain"},
    "colour": {"train", "retrain"},
    "configuration": NOTHING,
    "data_check": {"check_data"},
    "data_report": {"check_data"},
    "dataset_files": {"fetch", "extract"},
    "decoding": {"pack"},
    "device": {"train", "retrain", "predict"},
    "documents": {"check_data"},
    "downloading": {"fetch"},
    "duplicates": {"compare", "check_data", "train", "retrain"},
    "errors": NOTHING,
    "extraction": {"extract"},
    "fetching": {"fetch"},
    "files": EVERY_RULE,
    "first_use": {"fetch"},
    "gpu_claims": {"train", "retrain", "predict"},
    "graphed_steps": {"train", "retrain"},
    "history": {"train", "retrain"},
    "image_sources": {"extract"},
    "interruption": {"fetch", "train", "retrain"},
    "kaggle_command": {"fetch"},
    "labels": {"labels", "split", "score"},
    "last_words": NOTHING,
    "launcher_process": NOTHING,
    "launching": {"train", "retrain"},
    "leakage": NOTHING,
    "named_models": {"train", "retrain", "predict"},
    "logits": {"train", "retrain", "predict", "submission"},
    "memory": {"train", "retrain", "predict"},
    "manifests": {"extract", "labels", "reorganise", "pack"},
    "model_files": {"train", "retrain", "predict"},
    "mixing": {"train", "retrain"},
    "models": {"train", "retrain", "predict"},
    "muon": {"train", "retrain"},
    "optimisation": {"train", "retrain"},
    "packed_chunks": {"compare", "check_data", "train", "retrain", "predict"},
    "packed_images": {"check_data", "train", "retrain", "predict"},
    "packing": {"pack"},
    "parallel": {"extract", "reorganise", "pack"},
    "plots": {"plots"},
    "prediction": {"predict", "train", "retrain"},
    "processes": {"train", "retrain"},
    "progress": NOTHING,
    "published": {"publish"},
    "randomness": {"train", "retrain"},
    "reorganising": {"reorganise"},
    "sample_images": {"fetch"},
    "saving": {"train", "retrain"},
    "scoring": {"score"},
    "selection": {"select"},
    "seven_zip": {"fetch", "extract"},
    "seven_zip_table": {"fetch", "extract"},
    "sorted_lines": {"extract"},
    "source_hash": NOTHING,
    "splitting": {"split"},
    "standardisation": {"train", "retrain", "predict"},
    "submission": {"submission"},
    "submission_form": {"labels", "submission", "score"},
    "summary": NOTHING,
    "synchronised_norm": {"train", "retrain"},
    "texts": {"fetch", "extract", "labels", "submission"},
    "toronto": {"extract"},
    "training": {"train", "retrain"},
    "training_process": NOTHING,
    "training_runs": {"train", "retrain"},
    "training_state": {"train", "retrain"},
    "whitening": {"train", "retrain"},
    "wide_resnet": {"train", "retrain", "predict"},
}

Finished = tuple[Project, tuple[str, ...]]


def with_key(config: tuple[str, ...], change: str) -> tuple[str, ...]:
    """Return the configuration with one key changed."""
    key = change.partition("=")[0]
    return (*(item for item in config if not item.startswith(f"{key}=")), change)


def leaf_keys(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all keys of a schema that hold a value of their own."""
    for key, subschema in schema["properties"].items():
        inner = subschema.get("items", subschema)
        if "properties" in inner:
            yield from leaf_keys(inner, f"{prefix}{key}.")
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
    path = ROOT / "workflow" / "schemas" / f"{schema}.schema.yaml"
    assert keys == set(leaf_keys(yaml.safe_load(path.read_text())))


def test_the_table_has_every_module_of_the_library() -> None:
    modules = {path.stem for path in (ROOT / "workflow/scripts/imagepipe").glob("*.py")}
    assert set(MODULE_TABLE) == modules - {"__init__"}


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


@pytest.mark.parametrize("key", RECIPE_TABLE)
def test_a_recipe_key_reruns_the_training(finished: Finished, key: str) -> None:
    project, config = finished
    override = yaml.safe_load(QUICK.partition("=")[2])
    names = key.split(".")
    *parents, last = names[:1] if names[0] in RECIPE_LISTS else names
    section = override
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = yaml.safe_load(RECIPE_TABLE[key])
    change = "override=" + yaml.safe_dump(override, default_flow_style=True, width=10_000).strip()
    assert project.stale(config=with_key(config, change)) == TRAINING


def test_a_recipe_says_how_many_members_there_are_unless_the_config_does(
    finished: Finished,
) -> None:
    project, config = finished
    two = with_key(config, QUICK.replace("{", "{members: 2, ", 1))
    assert project.stale(config=two) == ANOTHER_MEMBER
    assert project.stale(config=with_key(two, "members=1")) == NOTHING


def test_swapping_two_values_reruns_the_training(finished: Finished) -> None:
    project, config = finished
    quick = QUICK.removeprefix("override={").removesuffix("}")
    before, after = (
        f"override={{{quick}, optimizer: {{lr: {lr}, weight_decay: {weight_decay}}}}}"
        for lr, weight_decay in ((0.01, 0.02), (0.02, 0.01))
    )
    assert project.run(config=with_key(config, before)).code == 0
    try:
        assert project.stale(config=with_key(config, before)) == NOTHING
        assert project.stale(config=with_key(config, after)) == TRAINING
    finally:
        assert project.run(config=config).code == 0


@pytest.mark.parametrize("key", DATASET_TABLE)
def test_a_dataset_key_reruns_what_it_concerns(finished: Finished, key: str) -> None:
    project, config = finished
    path = project.directory / "own.yaml"
    dataset = yaml.safe_load(path.read_text())
    change, rules = DATASET_TABLE[key]
    change(dataset)
    with changed(path, yaml.safe_dump(dataset)):
        assert project.stale(config=config) == rules


@pytest.mark.parametrize("module", MODULE_TABLE)
def test_a_change_of_a_module_reruns_the_rules_that_use_it(finished: Finished, module: str) -> None:
    project, config = finished
    path = project.folder / "workflow" / "scripts" / "imagepipe" / f"{module}.py"
    with changed(path, path.read_text() + "\n# changed\n"):
        assert project.stale(config=config) == onward(*MODULE_TABLE[module])


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

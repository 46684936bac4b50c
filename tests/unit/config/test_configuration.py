"""What a user may write in config.yaml, in files of their own and on the command line."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import REPOSITORY, WORKFLOW, refused
from imagepipe.config.configuration import (
    Configuration,
    canonical_json,
    find_file,
    load_configuration,
    merge,
    read_yaml,
)
from imagepipe.config.dataset import Dataset
from imagepipe.config.recipe import Recipe
from imagepipe.config.settings import Settings
from imagepipe.errors import UserError


def load(**config: Any) -> Configuration:
    return load_configuration(config, WORKFLOW)


def test_config_yaml_has_every_key_with_its_default() -> None:
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    assert config == Settings().model_dump()
    assert load(**config) == load()


@pytest.mark.parametrize("path", sorted((WORKFLOW / "datasets").glob("*.yaml")), ids=str)
def test_shipped_dataset_is_accepted(path: Path) -> None:
    loaded = load(dataset=path.stem, raw_dir="somewhere")
    assert loaded.dataset_name == path.stem
    assert isinstance(loaded.dataset, Dataset)


@pytest.mark.parametrize("path", sorted((WORKFLOW / "recipes").glob("*.yaml")), ids=str)
def test_shipped_recipe_is_accepted(path: Path) -> None:
    loaded = load(recipe=path.stem)
    assert loaded.run_name == path.stem
    assert isinstance(loaded.recipe, Recipe)


CHAPTER = {
    "model": {"name": "d2l_resnet18"},
    "augmentation": {
        "random_resized_crop": {"resize": 40, "min_area": 0.64, "max_area": 1.0},
        "random_crop_padding": 0,
        "horizontal_flip": True,
    },
    "batch_size": 32,
    "drop_last": True,
    "epochs": 20,
    "optimizer": {"lr": 2e-4, "momentum": 0.9, "nesterov": False, "weight_decay": 5e-4},
    "schedule": {"name": "step", "period": 4, "decay": 0.9},
    "loss": {"reduction": "sum", "label_smoothing": 0.0},
    "test_time_augmentation": "none",
}


@pytest.mark.parametrize(
    ("recipe", "differences"),
    [
        ("d2l", {}),
        (
            "d2l-full",
            {
                "batch_size": 128,
                "epochs": 100,
                "optimizer": {"lr": 0.1},
                "schedule": {"period": 50, "decay": 0.1},
                "loss": {"reduction": "mean"},
            },
        ),
        ("d2l-plain", {"augmentation": {"random_resized_crop": None, "horizontal_flip": False}}),
    ],
)
def test_recipe_has_the_chapters_numbers(recipe: str, differences: dict[str, Any]) -> None:
    loaded = load(recipe=recipe).recipe.model_dump()
    expected = merge(CHAPTER, differences)
    assert merge(loaded, expected) == loaded


@pytest.mark.parametrize(
    ("config", "key", "expected"),
    [
        ({"valid_ratio": "2e-1"}, "valid_ratio", 0.2),
        ({"valid_ratio": "0.25"}, "valid_ratio", 0.25),
        ({"seed": "7"}, "seed", 7),
        ({"members": " 3 "}, "members", 3),
        ({"members": 5.0}, "members", 5),
        ({"members": None}, "members", None),
        ({"members": "null"}, "members", None),
        ({"raw_dir": "null"}, "raw_dir", None),
        ({"raw_dir": "None"}, "raw_dir", None),
        ({"raw_dir": ""}, "raw_dir", None),
        ({"raw_dir": 2024}, "raw_dir", "2024"),
        ({"raw_dir": "/data/kaggle"}, "raw_dir", "/data/kaggle"),
        ({"override": "{epochs: 2}"}, "override", {"epochs": 2}),
    ],
)
def test_text_is_read_by_the_type_of_its_key(
    config: dict[str, Any], key: str, expected: object
) -> None:
    value = getattr(load(**config).settings, key)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("override", "section", "key", "expected"),
    [
        ("{optimizer: {lr: 2e-4}}", "optimizer", "lr", 2e-4),
        ({"optimizer": {"lr": "2e-4"}}, "optimizer", "lr", 2e-4),
        ({"optimizer": "{lr: 2e-4}"}, "optimizer", "lr", 2e-4),
        ({"optimizer": {"lr": 1}}, "optimizer", "lr", 1.0),
        ({"schedule": {"period": "5"}}, "schedule", "period", 5),
        ({"augmentation": {"horizontal_flip": "false"}}, "augmentation", "horizontal_flip", False),
        (
            {"augmentation": {"random_resized_crop": "null"}},
            "augmentation",
            "random_resized_crop",
            None,
        ),
        (
            {"augmentation": {"random_resized_crop": {"resize": 48}}},
            "augmentation",
            "random_resized_crop",
            {"resize": 48, "min_area": 0.64, "max_area": 1.0, "max_ratio": 1.0},
        ),
    ],
)
def test_override_changes_one_key_and_no_other(
    override: object, section: str, key: str, expected: object
) -> None:
    before = load(recipe="d2l").recipe.model_dump()
    after = load(recipe="d2l", override=override).recipe.model_dump()
    value = after[section].pop(key)
    before[section].pop(key)
    assert value == expected
    assert type(value) is type(expected)
    assert after == before


def test_section_of_another_kind_starts_from_its_defaults() -> None:
    recipe = load(recipe="fast", override="{optimizer: {name: adamw}}").recipe
    assert recipe.optimizer.model_dump() == {
        "name": "adamw",
        "lr": 1e-3,
        "weight_decay": 1e-2,
        "decay_norms_and_biases": True,
    }
    same_kind = load(recipe="fast", override="{optimizer: {name: muon, lr: 1}}").recipe.optimizer
    assert same_kind == load(recipe="fast", override="{optimizer: {lr: 1}}").recipe.optimizer


@pytest.mark.parametrize(
    ("kind", "content", "hint"),
    [
        ("recipe", "least_steps_per_epoch: 2\n", "min_steps_per_epoch"),
        ("recipe", "optimizer: {name: muon, iterations: 2}\n", "ns_steps"),
        ("dataset", "channel_means: [0, 0, 0]\n", "mean"),
        ("dataset", "channel_deviations: [1, 1, 1]\n", "std"),
    ],
)
def test_key_of_an_earlier_version_is_answered_with_the_new_one(
    tmp_path: Path, kind: str, content: str, hint: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with refused(str(path), "has gone", f"it is called {hint} now"):
        load(**{kind: str(path)})


def test_missing_sections_are_filled_with_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("augmentation: {random_resized_crop: {}}\n")
    recipe = load(recipe=str(path)).recipe.model_dump()
    assert recipe["augmentation"]["random_resized_crop"] == {
        "resize": 40,
        "min_area": 0.64,
        "max_area": 1.0,
        "max_ratio": 1.0,
    }
    assert recipe["loss"] == {
        "reduction": "mean",
        "label_smoothing": 0.0,
        "focal_gamma": 0.0,
        "class_weights": "none",
    }


def test_users_own_files_are_found_by_path_and_named_by_their_stems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "birds.yaml").write_text((WORKFLOW / "datasets/sample.yaml").read_text())
    (tmp_path / "slow.yml").write_text("epochs: 3\n")
    monkeypatch.chdir(tmp_path)
    loaded = load(dataset=str(tmp_path / "birds.yaml"), recipe="slow.yml")
    assert loaded.dataset_name == "birds"
    assert loaded.run_name.startswith("slow-")
    assert loaded.recipe.epochs == 3


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"recepi": "d2l"}, ["config", "'recepi'", "'recipe'"]),
        ({"seeds": 1}, ["config", "'seeds'", "'seed'"]),
        ({"dataset": "cifar_10"}, ["dataset", "'cifar_10'", "did you mean 'cifar10'"]),
        ({"recipe": "d2l_full"}, ["recipe", "'d2l_full'", "did you mean 'd2l-full'"]),
        ({"dataset": "my/own.yaml"}, ["dataset", "'my/own.yaml'"]),
        ({"device": "gpu"}, ["config: device", '"gpu"', "auto, cpu, cuda, mps", "'cuda'?"]),
        ({"link_mode": "hard_link"}, ["config: link_mode", "did you mean 'hardlink'"]),
        ({"members": 0}, ["config: members", "0", "at least 1"]),
        ({"members": 1.5}, ["config: members", "1.5", "whole number or null"]),
        ({"members": "two"}, ["config: members", '"two"', "whole number"]),
        ({"members": True}, ["config: members", "true", "whole number"]),
        ({"seed": None}, ["config: seed", "null", "whole number"]),
        ({"seed": -1}, ["config: seed", "-1", "at least 0"]),
        ({"seed": "--1"}, ["config: seed", '"--1"', "whole number"]),
        ({"valid_ratio": 0}, ["config: valid_ratio", "more than 0"]),
        ({"valid_ratio": "1"}, ["config: valid_ratio", "less than 1"]),
        ({"valid_ratio": 10}, ["config: valid_ratio", "less than 1 (10% is 0.1)"]),
        ({"valid_ratio": "nan"}, ["config: valid_ratio", '"nan"', "a number"]),
        ({"valid_ratio": float("nan")}, ["config: valid_ratio", "NaN", "a finite number"]),
        ({"valid_ratio": float("inf")}, ["config: valid_ratio", "Infinity", "a finite number"]),
        ({"gpus_per_run": 2}, ["config", "'gpus_per_run'", "--set-resources train:gpu=N"]),
        ({"training_threads": 2}, ["config", "'training_threads'", "--set-threads", "train=N"]),
        ({"raw_dir": "/data/{x}"}, ["config: raw_dir", "'/data/{x}'", "brace"]),
        ({"override": {"least_steps_per_epoch": 2}}, ["override", "min_steps_per_epoch"]),
        (
            {"override": {"optimizer": {"name": "adamw", "nesterov": True}}},
            ["override: optimizer", "'nesterov' does not apply to adamw; only sgd has it"],
        ),
        (
            {"override": {"model": {"depth": 16}}},
            ["override: model", "'depth' does not apply to airbench", "wide_resnet"],
        ),
        (
            {"override": {"model": {"name": "resnet"}}},
            ["override: model.name", '"resnet"', "wide_resnet"],
        ),
        ({"override": "{epochs: "}, ["config: override", "a mapping"]),
        ({"override": ["epochs"]}, ["config: override", "a mapping"]),
        ({"override": "epochs=2"}, ["config: override", "a mapping {key: value}"]),
        ({"epochs": 2}, ["config", "'epochs'", "write override='{epochs: 2}'"]),
        ({"lr": 0.1}, ["config", "'lr'", "write override='{optimizer: {lr: 0.1}}'"]),
        ({"override": {"epoch": 5}}, ["override", "'epoch'", "did you mean 'epochs'"]),
        ({"override": {"optimizer": {"lrr": 5}}}, ["override: optimizer", "'lrr'", "'lr'"]),
        ({"override": {"optimizer": {"lr": "nan"}}}, ["override: optimizer.lr", '"nan"']),
        ({"override": {"optimizer": {"lr": 0}}}, ["override: optimizer.lr", "more than 0"]),
        ({"override": {"optimizer": 5}}, ["override: optimizer", "5", "a mapping"]),
        ({"override": {"loss": {"reduction": "men"}}}, ["override: loss.reduction", "'mean'"]),
    ],
)
def test_bad_value_is_refused_with_its_key(config: dict[str, Any], words: list[str]) -> None:
    with refused(*words):
        load(**config)


@pytest.mark.parametrize(
    ("override", "place", "key", "hint"),
    [
        ("{lr: 0.1}", "", "lr", "(did you mean optimizer.lr?); write {optimizer: {lr: 0.1}}"),
        ("{optimizer.lr: 0.1}", "", "optimizer.lr", "write {optimizer: {lr: 0.1}}"),
        (
            "{optimizer: {head_lr: 1}}",
            " optimizer:",
            "head_lr",
            "(did you mean optimizer.rest.head_lr?); write {optimizer: {rest: {head_lr: 1}}}",
        ),
        ("{optimizer: {epochs: 3}}", " optimizer:", "epochs", "write {epochs: 3}"),
        ("{schedule: {lr: 0.1}}", " schedule:", "lr", "write {optimizer: {lr: 0.1}}"),
        # Four other sections have one.
        ("{loss: {name: x}}", " loss:", "name", "known: reduction, label_smoothing"),
        ("{horizontal_flip: true}", "", "horizontal_flip", "{horizontal_flip: true}}"),
        ("{rest: {lr: 1}}", "", "rest", "write {optimizer: {rest: {lr: 1}}}"),
        ("{widths: [2, 4, 6]}", "", "widths", "write {model: {widths: [2, 4, 6]}}"),
        ("{architecture: x}", "", "architecture", "write {model: {architecture: x}}"),
        ("{epochs:2}", "", "epochs:2", "a space is missing after the colon: write {epochs: 2}"),
        (
            "{epochs:2, batch_size: 3}",
            "",
            "epochs:2",
            "a space is missing after the colon: write {epochs: 2}",
        ),
        (
            "{optimizer: {lr:0.1}}",
            " optimizer:",
            "lr:0.1",
            "a space is missing after the colon: write {optimizer: {lr: 0.1}}",
        ),
        ("{lr:0.1}", "", "lr:0.1", "write {optimizer: {lr: 0.1}}"),
        (
            "{optimizer: {rest: {momentum:0.5}}}",
            " optimizer.rest:",
            "momentum:0.5",
            "write {optimizer: {rest: {momentum: 0.5}}}",
        ),
        ("{epochs=2}", "", "epochs=2", "in place of '=': write {epochs: 2}"),
    ],
)
def test_key_in_the_wrong_place_or_form_is_answered_with_the_right_one(
    override: str, place: str, key: str, hint: str
) -> None:
    with refused(f"override:{place} unknown key {key!r}", hint):
        load(override=override)
    # As Snakemake gives it: every value as a text, and none as an empty one.
    with refused(f"override:{place} unknown key {key!r}", hint):
        load(override=yaml.load(override, yaml.BaseLoader))


@pytest.mark.parametrize(
    ("name", "library"),
    [("resnet50", "torchvision"), ("efficientnet_b0", "torchvision"), ("convit_tiny", "timm")],
)
def test_network_in_place_of_a_recipe_is_answered_with_how_it_is_taken(
    name: str, library: str
) -> None:
    pytest.importorskip(library)
    override = f"{{model: {{name: {library}, architecture: {name}}}}}"
    with refused(
        f"config: recipe: {name!r} is not a recipe but a network of {library}",
        f"--config recipe=d2l override='{override}'",
    ):
        load(recipe=name)
    recipe = load(recipe="d2l", override=override).recipe
    assert recipe.model.model_dump()["architecture"] == name


@pytest.mark.parametrize("name", ["/kaggle", "kaggle", "./kaggle", "my kaggle"])
def test_folder_in_place_of_a_dataset_is_answered_with_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name = name.replace("/kaggle", f"{tmp_path}/kaggle") if name.startswith("/") else name
    Path(name).mkdir()
    with pytest.raises(UserError, match="is a folder; name the dataset") as raised:
        load(dataset=name)
    suggested = dict(pair.split("=") for pair in shlex.split(str(raised.value))[-2:])
    assert suggested == {"dataset": "cifar10", "raw_dir": name}
    load(**suggested)


def test_folder_does_not_hide_a_shipped_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sample").mkdir()
    assert load(dataset="sample").dataset_name == "sample"


def test_file_in_place_of_its_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kaggle").mkdir()
    Path("kaggle/train.7z").touch()
    with refused("config: raw_dir: 'kaggle/train.7z' is a file", "raw_dir=kaggle"):
        load(dataset="cifar10", raw_dir="kaggle/train.7z")


def test_dataset_that_is_not_downloaded_says_where_to_get_it(tmp_path: Path) -> None:
    dataset = yaml.safe_load((WORKFLOW / "datasets" / "cifar10.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(dataset | {"source": "raw_dir"}))
    with refused("raw_dir", "mine", "cifar-10.zip", "kaggle.com/competitions/cifar-10"):
        load(dataset=str(path))


@pytest.mark.parametrize("slug", ["-f", "--help", "https://x/cifar-10", "cifar 10", "a/../b"])
def test_what_is_no_name_of_a_competition_is_refused(tmp_path: Path, slug: str) -> None:
    dataset = yaml.safe_load((WORKFLOW / "datasets" / "cifar10.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(dataset | {"competition": slug}))
    with pytest.raises(UserError, match=r"competition: .* must be text that matches"):
        load(dataset=str(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("files: [", ["not valid YAML"]),
        ("- a\n- b\n", ["mapping"]),
        ("", ["mapping"]),
        ("titel: x\n", ["'titel'", "'title'"]),
        ("on: true\n", ["unknown key 'on'"]),
        ("{5: {6: 7}}\n", ["unknown key '5'"]),
    ],
)
def test_bad_file_is_refused_by_name(tmp_path: Path, content: str, words: list[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    for kind in ("dataset", "recipe"):
        with refused(str(path), *words):
            load(**{kind: str(path)})


def test_value_that_yaml_reads_as_a_date_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: 2024-01-31\n")
    with refused(str(path), "title", "2024-01-31", "text"):
        load(recipe=str(path))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"name": "../train.7z"}, ["files", "name"]),
        ({"name": "train.7z", "checksum": "md5:abc"}, ["checksum", "md5:abc"]),
        ({"name": "train.7z", "bytes": -1}, ["bytes", "at least 0"]),
        ({"name": "train.7z", "sha256": "abc"}, ["'sha256'"]),
    ],
)
def test_bad_file_of_a_dataset_is_refused(
    tmp_path: Path, file: dict[str, Any], words: list[str]
) -> None:
    content = read_yaml(WORKFLOW / "datasets" / "sample.yaml", {}) | {"files": [file]}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=r"mine\.yaml") as raised:
        load(dataset=str(path))
    for word in words:
        assert word in str(raised.value)


def test_dataset_without_a_required_key_is_refused(tmp_path: Path) -> None:
    content = read_yaml(WORKFLOW / "datasets" / "sample.yaml", {})
    del content["labels"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=r"mine\.yaml: 'labels' is missing"):
        load(dataset=str(path))


def test_same_options_give_the_same_text() -> None:
    texts = {
        canonical_json({"recipe": Recipe.checked(options, "test"), "seed": 1})
        for options in ({"epochs": 2, "tf32": True}, {"tf32": "true", "epochs": 2.0})
    }
    assert len(texts) == 1
    assert json.loads(texts.pop())["recipe"]["epochs"] == 2


def test_different_options_give_different_text() -> None:
    assert canonical_json({"a": 1, "b": 2}) != canonical_json({"a": 2, "b": 1})


def test_checking_a_configuration_leaves_the_users_own_alone() -> None:
    config = {"override": {"optimizer": {"lr": "0.1"}}}
    load_configuration(config, WORKFLOW)
    assert config == {"override": {"optimizer": {"lr": "0.1"}}}


def test_file_of_a_dataset_in_the_working_directory_does_not_hide_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sample").write_text("not a dataset")
    monkeypatch.chdir(tmp_path)
    folder = WORKFLOW / "datasets"
    assert find_file("dataset", "sample", folder) == folder / "sample.yaml"


@pytest.mark.parametrize(("value", "shown"), [(True, "true"), (None, "null"), ([1], "[1]")])
def test_value_of_a_column_that_is_no_text_is_named(value: object, shown: str) -> None:
    labels = {"file": "labels.csv", "where": {"is_train": value}}
    with refused(f"labels.where.is_train: is {shown}, but must be text"):
        Dataset.checked({"labels": labels, "source": "folder", "title": "x"}, "mine.yaml")

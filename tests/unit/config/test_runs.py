"""Names of runs: one for each setting."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from imagepipe.config.configuration import load_configuration
from imagepipe.config.runs import LONGEST_CHANGES, own_recipe_name, standard_error, validated_runs
from project import ROOT
from recipe_keys import RECIPE_TABLE, changed_recipe


def name_of(recipe: str = "fast", **override: Any) -> str:
    settings = {"recipe": recipe, "override": override}
    return load_configuration(settings, ROOT / "workflow").run_name


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ({}, "fast"),
        ({"optimizer": {"lr": 0.1}}, "fast@optimizer.lr=0.1"),
        ({"optimizer": {"lr": "1e-5"}}, "fast@optimizer.lr=1e-05"),
        ({"optimizer": {"lr": 1}, "epochs": 5}, "fast@epochs=5@optimizer.lr=1"),
        ({"model": {"widths": [8, 16, 32]}}, "fast@model.widths=8x16x32"),
        ({"micro_batch_size": None}, "fast@micro_batch_size=null"),
        (
            {"schedule": {"name": "cosine"}, "compile": True},
            "fast@schedule.name=cosine@compile=true",
        ),
        # Of another kind, what is not its default.
        ({"optimizer": {"name": "sgd"}}, "fast@optimizer.name=sgd"),
        ({"optimizer": {"name": "sgd", "lr": 0.3}}, "fast@optimizer.name=sgd@optimizer.lr=0.3"),
        ({"optimizer": {"name": "sgd", "lr": 0.1}}, "fast@optimizer.name=sgd"),
        # What the recipe says anyway, and what is not of a run.
        ({"optimizer": {"lr": 0.2}}, "fast"),
        ({"members": 3, "title": "another"}, "fast"),
    ],
)
def test_name_says_what_differs_from_the_recipe(override: dict[str, Any], name: str) -> None:
    assert name_of(**override) == name


def test_order_of_the_changes_makes_no_other_run() -> None:
    assert name_of(epochs=5, batch_size=7) == name_of(batch_size=7, epochs=5)


def test_long_changes_end_in_a_hash_that_tells_them_apart() -> None:
    model = {"name": "small_cnn", "width": 2}
    changes = {"epochs": 1, "batch_size": 10, "min_steps_per_epoch": 1, "drop_last": False}
    names = {name_of(model=model, **changes, loss={"label_smoothing": s}) for s in (0.1, 0.3)}
    assert len(names) == 2
    for name in names:
        assert name.startswith("fast@model.name=small_cnn@")
        assert len(name) < len("fast@") + LONGEST_CHANGES + 20


def test_every_key_of_a_recipe_makes_a_run_of_its_own() -> None:
    names = [name_of(**changed_recipe(key)) for key in RECIPE_TABLE]
    assert len(set(names)) == len(names)
    assert name_of() not in names
    assert all(set(name).isdisjoint("/{}[]*?$'\\ \",:") for name in names)


def test_a_users_own_recipe_has_a_run_for_each_content(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    names = []
    for recipe in ({"epochs": 3}, {"epochs": 4}, {"epochs": 3, "title": "x", "members": 2}):
        path.write_text(yaml.safe_dump(recipe))
        names.append(name_of(str(path)))
    assert names[0] == names[2] != names[1]
    assert all(name.startswith("mine-") for name in names)
    assert name_of(str(path), epochs=9) == f"{names[0]}@epochs=9"
    odd = tmp_path / "my {best}, recipe.yaml"
    odd.write_text(path.read_text())
    assert name_of(str(odd)).startswith("my-best-recipe-")
    # One that is called as the workflow's own is not that.
    (tmp_path / "fast.yaml").write_text(path.read_text())
    assert name_of(str(tmp_path / "fast.yaml")).startswith("fast-")


def test_name_of_an_own_recipe_does_not_hang_on_the_order_of_keys() -> None:
    recipe = {"epochs": 3, "batch_size": 4}
    assert own_recipe_name("a", recipe) == own_recipe_name("a", dict(reversed(recipe.items())))


def test_runs_that_are_there_are_those_with_results(tmp_path: Path) -> None:
    for place in ("fast/seed0/train", "fast/seed12/train", "old/seed0/train", "x/seed0/final"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "metrics.json").touch()
        if not place.startswith("old"):
            (tmp_path / place / "run.yaml").touch()
    (tmp_path / "fast/seedling/train").mkdir(parents=True)
    (tmp_path / "fast/seedling/train/run.yaml").touch()
    assert validated_runs(tmp_path) == [("fast", 0), ("fast", 12)]
    assert validated_runs(tmp_path / "none") == []


def test_standard_error_is_that_of_the_mean_of_draws() -> None:
    assert standard_error(0.5, 25) == pytest.approx(0.1)
    assert standard_error(0.9, 10_000) == pytest.approx(0.003)
    assert standard_error(1.0, 50) == 0

"""The schemas and tables of options are those that the models say, and say all there is."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from builders import REPOSITORY, WORKFLOW
from imagepipe.cli import main
from imagepipe.config.options import Options, sections
from imagepipe.config.recipe import Recipe
from imagepipe.config.schemas import SCHEMAS, descriptions, json_schema, options_page


def keys(model: type[Options], prefix: str) -> Iterator[tuple[str, type[Options]]]:
    """Yield the dotted name and the section of every key but the names of kinds."""
    for key, field in model.model_fields.items():
        if key == "name" and isinstance(field.default, str):
            continue
        yield f"{prefix}.{key}", model
        for inner in sections(field.annotation):
            yield from keys(inner, f"{prefix}.{key}")


KEYS = [item for name, model in SCHEMAS.items() for item in keys(model, name)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_valid_and_as_written(name: str) -> None:
    text = json_schema(name)
    Draft202012Validator.check_schema(json.loads(text))
    path = WORKFLOW / f"schemas/{name}.schema.json"
    assert path.read_text(encoding="utf-8") == text, "run `imagepipe schema --write`"


def test_page_of_options_is_as_written() -> None:
    path = REPOSITORY / "docs/options.md"
    assert path.read_text(encoding="utf-8") == options_page(), "run `imagepipe schema --write`"


@pytest.mark.parametrize(("name", "model"), KEYS, ids=[name for name, _ in KEYS])
def test_key_is_described(name: str, model: type[Options]) -> None:
    key = name.rpartition(".")[2]
    assert descriptions(model).get(key, "").endswith(".")
    assert f"{key}` |" in options_page()


def test_schema_takes_what_the_models_take_and_refuses_what_they_refuse() -> None:
    validator = Draft202012Validator(json.loads(json_schema("recipe")))
    assert validator.is_valid(Recipe().model_dump())
    adamw = {"name": "adamw", "lr": 0.1}
    assert validator.is_valid({"optimizer": adamw})
    assert not validator.is_valid({"optimizer": adamw | {"nesterov": True}})
    assert not validator.is_valid({"epochs": 0})


def test_command_prints_and_says_its_version() -> None:
    run = CliRunner().invoke
    assert run(main, ["schema", "recipe"]).output == json_schema("recipe")
    assert run(main, ["schema"]).output == options_page()
    assert run(main, ["schema", "receipt"]).exit_code == 2

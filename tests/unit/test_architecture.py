"""ARCHITECTURE.md tells the truth about where things are."""

import re
import tomllib

import pytest

from builders import REPOSITORY, SCRIPTS

TEXT = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
ANSWERS = re.findall(r"^\| [^|]+\? \| `([\w/]+\.py)`: `(\w+)` \|$", TEXT, flags=re.MULTILINE)
ROOMS = re.findall(r"^\| `(\w+)` \| ", TEXT.split("### The rooms")[1].split("###")[0], re.MULTILINE)


@pytest.mark.parametrize(("file", "name"), ANSWERS)
def test_answer_is_where_it_is_said_to_be(file: str, name: str) -> None:
    source = (SCRIPTS / "imagepipe" / file).read_text(encoding="utf-8")
    assert re.search(rf"^ *(?:def|class) {name}\b", source, flags=re.MULTILINE)


def test_there_are_ten_answers() -> None:
    assert len(ANSWERS) == 10


def test_every_room_is_listed() -> None:
    folders = {path.parent.name for path in (SCRIPTS / "imagepipe").glob("*/__init__.py")}
    assert set(ROOMS) == folders


def test_every_room_is_a_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["setuptools"]["packages"]
    assert set(packages) == {"imagepipe", *(f"imagepipe.{room}" for room in ROOMS)}

"""A rule's code param changes when, and only when, code changes that its script uses."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders import SCRIPTS
from imagepipe.config.source_hash import WITHOUT_EFFECT_ON_RESULTS, code_hash, modules_of

# Each module would fail if it were imported.
LIBRARY = {
    "direct": "from imagepipe.indirect import x\nraise RuntimeError",
    "indirect": "import imagepipe.deep\nimport imagepipe.circle\nraise RuntimeError",
    "deep": "raise RuntimeError",
    "circle": "def f():\n    from imagepipe import direct\nraise RuntimeError",
    "in_function": "raise RuntimeError",
    "unused": "raise RuntimeError",
    "errors": "raise RuntimeError",
    "progress": "import imagepipe.errors\nraise RuntimeError",
    "__init__": "",
    "room/__init__": "raise RuntimeError",
    "room/module": "import imagepipe.room.other\nraise RuntimeError",
    "room/other": "raise RuntimeError",
    "room/unused": "raise RuntimeError",
    "empty_room/__init__": "raise RuntimeError",
    "room/module.html.j2": "a template",
    "room/module_of_another.html.j2": "a template",
}
SCRIPT = """
import json
from imagepipe.direct import x
from imagepipe.room import module
from imagepipe.errors import UserError
from imagepipe.progress import progress
from elsewhere.unused import y

def main():
    from imagepipe import in_function

raise RuntimeError
"""


def write_tree(folder: Path) -> Path:
    """Write a script and a library into a fresh folder."""
    (folder / "imagepipe").mkdir(parents=True)
    (folder / "script.py").write_text(SCRIPT)
    for name, source in LIBRARY.items():
        path = folder / "imagepipe" / (name if name.endswith(".j2") else f"{name}.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    return folder


def hash_of(folder: Path, script: str = "script.py") -> str:
    return code_hash(folder / script, folder / "imagepipe")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("script.py", True),
        ("imagepipe/direct.py", True),
        ("imagepipe/indirect.py", True),
        ("imagepipe/deep.py", True),
        ("imagepipe/circle.py", True),
        ("imagepipe/in_function.py", True),
        ("imagepipe/unused.py", False),
        ("imagepipe/__init__.py", True),
        ("imagepipe/room/__init__.py", True),
        ("imagepipe/room/module.py", True),
        ("imagepipe/room/other.py", True),
        ("imagepipe/room/unused.py", False),
        ("imagepipe/empty_room/__init__.py", False),
        ("imagepipe/room/module.html.j2", True),
        ("imagepipe/room/module_of_another.html.j2", False),
        ("imagepipe/errors.py", False),
        ("imagepipe/progress.py", False),
    ],
)
def test_hash_follows_the_modules_that_are_imported(
    tmp_path: Path, changed: str, expected: bool
) -> None:
    before, after = write_tree(tmp_path / "before"), write_tree(tmp_path / "after")
    with (after / changed).open("a") as file:
        file.write("\n# a change\n")
    assert (hash_of(after) != hash_of(before)) is expected


def test_same_code_in_another_folder_has_the_same_hash(tmp_path: Path) -> None:
    assert hash_of(write_tree(tmp_path / "a")) == hash_of(write_tree(tmp_path / "b" / "c"))


def test_new_import_changes_the_hash_and_is_followed(tmp_path: Path) -> None:
    trees = [write_tree(tmp_path / name) for name in ("a", "b", "c")]
    for tree in trees[1:]:
        (tree / "imagepipe/deep.py").write_text("import imagepipe.unused")
    (trees[2] / "imagepipe/unused.py").write_text("changed = True")
    assert len({hash_of(tree) for tree in trees}) == 3


@pytest.mark.parametrize(
    ("script", "module", "expected"),
    [
        ("fetch.py", "archives/zip", True),
        ("extract.py", "archives/toronto", True),
        ("form.py", "dataset/submission_form", True),
        ("split.py", "dataset/splitting", True),
        ("split.py", "training/loop", False),
        ("pack.py", "dataset/reorganising", False),
        ("pack.py", "models/create", False),
        ("train.py", "dataset/packed", True),
        ("train.py", "dataset/packing", False),
        ("train.py", "submission/submission", False),
        ("submission.py", "prediction/logits", True),
        ("submission.py", "archives/zip", False),
        ("score.py", "errors", False),
        ("train.py", "progress", False),
        ("train.py", "config/recipe", False),
        ("predict.py", "models/airbench", True),
        ("fetch.py", "sources/downloading", True),
    ],
)
def test_change_to_a_module_reruns_the_scripts_that_use_it(
    tmp_path: Path, script: str, module: str, expected: bool
) -> None:
    trees = [tmp_path / "before", tmp_path / "after"]
    for tree in trees:
        shutil.copytree(SCRIPTS, tree, ignore=shutil.ignore_patterns("__pycache__"))
    with (trees[1] / f"imagepipe/{module}.py").open("a") as file:
        file.write("\n# a change\n")
    before, after = (hash_of(tree, script) for tree in trees)
    assert (before != after) is expected


def test_no_module_that_a_script_really_imports_is_missed() -> None:
    program = """
import json, runpy, sys
from pathlib import Path
import job
# What shows a job's messages changes no result.
of_job = {n for n in sys.modules if n.split(".")[0] == "imagepipe"}
found = {}
for script in sorted(Path(sys.argv[1]).glob("*.py")):
    runpy.run_path(str(script), run_name="not main")
    found[script.name] = [
        n for n in sys.modules if n.split(".")[0] == "imagepipe" and n not in of_job
    ]
    for name in [n for n in sys.modules if n.split(".")[0] == "imagepipe"]:
        del sys.modules[name]
print(json.dumps(found))
"""
    output = subprocess.run(
        [sys.executable, "-c", program, str(SCRIPTS)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(SCRIPTS), "PYTHONDONTWRITEBYTECODE": "1"},
    ).stdout
    imported = json.loads(output)
    assert {"fetch.py", "train.py", "submission.py"} <= imported.keys()
    for script, names in imported.items():
        followed = modules_of(SCRIPTS / script, SCRIPTS / "imagepipe")
        assert set(names) - WITHOUT_EFFECT_ON_RESULTS <= followed, script

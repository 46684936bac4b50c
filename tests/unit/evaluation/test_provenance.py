"""How a result came about."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from imagepipe.config.settings import Settings
from imagepipe.evaluation.provenance import (
    StageCost,
    code_commit,
    command,
    installed_versions,
    read_costs,
    without_paths,
)

HEADER = "s\th:m:s\tmax_rss\tmax_vms"


def write_benchmark(path: Path, row: str, ended: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}\n{row}\n" if row else "")
    os.utime(path, (ended, ended))


def test_costs_are_those_of_the_run_in_the_order_of_their_ends(tmp_path: Path) -> None:
    for name, row, ended in (
        ("pack", "3.5\t0:00:03\t61.01\t2", 10),
        ("fast/seed0/train", "21.39\t0:00:21\t882.11\t2", 30),
        ("fast/evaluate", "1.0\t0:00:01\t-\t-", 40),
        ("extract", "0.1\t0:00:00\t0.00\t0.00", 20),
        ("damaged", "", 50),
        ("small/seed0/train", "9\t0:00:09\t1\t2", 60),
        ("fast/seed1/train", "9\t0:00:09\t1\t2", 70),
    ):
        write_benchmark(tmp_path / f"{name}.benchmark.tsv", row, ended)
    assert read_costs(tmp_path, "fast", [0]) == [
        StageCost("pack", 3.5, 61.01),
        StageCost("extract", 0.1, None),
        StageCost("train", 21.39, 882.11),
        StageCost("evaluate", 1.0, None),
    ]
    # Only the first seed is validated: the other file is an earlier call's.
    stages = [one.stage for one in read_costs(tmp_path, "fast", [0, 1])]
    assert stages == ["pack", "extract", "train, seed 0", "evaluate"]
    assert [one.stage for one in read_costs(tmp_path, "fast", [1])][-1] == "train"
    assert read_costs(tmp_path / "none", "fast", [0]) == []


def test_versions_are_those_of_the_installed_packages() -> None:
    versions = installed_versions()
    assert versions["python"] == platform.python_version()
    assert versions["torch"] == importlib.metadata.version("torch")
    assert all(versions.values())


def git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
    command = ["git", *settings, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_the_commit_is_that_of_the_code(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text("1")
    assert code_commit(file) is None
    git(tmp_path, "init", "-q")
    # The code lies in a repository that does not track it, such as a user's own.
    assert code_commit(file) is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert code_commit(file) == commit
    file.write_text("2")
    assert code_commit(file) == f"{commit}, with changes"


def test_without_git_the_commit_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert code_commit(Path(__file__)) is None


def test_the_command_repeats_the_settings() -> None:
    settings = Settings(
        dataset="my dogs.yaml",
        raw_dir="/home/me/secret folder",
        recipe="small",
        override={
            "epochs": 5,
            "optimizer": {"lr": 0.1},
            "model": {"name": "timm", "weights": "/home/me/secret.pth"},
        },
        members=3,
        device="cuda",
        on_bad_image="drop",
    ).model_dump()
    shown = command(settings)
    assert "secret" not in shown
    first, *rest = shlex.split(shown)
    assert first == "snakemake"
    values = dict(part.split("=", 1) for part in rest[rest.index("--config") + 1 :])
    assert {key: yaml.safe_load(value) for key, value in values.items()} == {
        "dataset": "my dogs.yaml",
        "raw_dir": "FOLDER",
        "recipe": "small",
        "override": {
            "epochs": 5,
            "optimizer": {"lr": 0.1},
            "model": {"name": "timm", "weights": "FILE"},
        },
        "members": 3,
        "on_bad_image": "drop",
    }


@pytest.mark.parametrize(
    ("weights", "shown"),
    [
        ("/home/me/secret.pth", "FILE"),
        ("pretrained", "pretrained"),
        (None, None),
        (
            {"url": "http://me:secret@a.example/b?key=secret", "sha256": "c"},
            {"url": "http://a.example/b", "sha256": "c"},
        ),
    ],
)
def test_only_paths_and_secrets_of_weights_are_left_out(weights: object, shown: object) -> None:
    recipe = {"epochs": 3, "model": {"name": "linear", "on": {"weights": weights}}}
    on = {"weights": shown}
    assert without_paths(recipe) == {"epochs": 3, "model": {"name": "linear", "on": on}}


def test_a_path_in_a_section_that_is_text_is_left_out() -> None:
    model = "{name: timm, weights: /home/me/secret.pth}"
    assert without_paths({"model": model}) == {"model": {"name": "timm", "weights": "FILE"}}
    for text in ("my-weights.yaml", "weights: [", "a: b: weights"):
        assert without_paths({"recipe": text, "title": "x"}) == {"recipe": text, "title": "x"}

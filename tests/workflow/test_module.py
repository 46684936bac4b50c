"""The workflow within another one, as a module of Snakemake: from a folder, and from git."""

import subprocess
from pathlib import Path

import pytest
import yaml

from project import QUICK, Project, run_of
from snapshots import snapshot

CALLER = """\
configfile: "caller.yaml"


module here:
    snakefile: "{folder}/Snakefile"
    config: config["settings"]
    prefix: "below"


use rule * from here


module there:
    snakefile: gitfile("{folder}", path="workflow/Snakefile", ref="main")
    config: config["settings"]


use rule * from there as there_*


onstart:
    here.onstart()


onsuccess:
    here.onsuccess()
"""
RUN = run_of(QUICK)
OF_A_SEED = (f"results/sample/{RUN}/seed0/{part}/model.safetensors" for part in ("train", "final"))
OUTPUTS = ("submission.csv", "results/sample/score.json", *OF_A_SEED)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Another workflow, in whose folder nothing of this one lies, that has both modules."""
    project = Project.copy_to(tmp_path_factory.mktemp("caller"))
    git(project.folder, "init", "--initial-branch", "main")
    git(project.folder, "add", "--all")
    git(project.folder, "commit", "--message", "all")
    folder = project.directory
    (folder / "Snakefile").write_text(CALLER.format(folder=project.folder))
    settings = {"override": yaml.safe_load(QUICK.partition("=")[2])}
    (folder / "caller.yaml").write_text(yaml.safe_dump({"settings": settings}))
    return Project(folder, folder)


def test_a_module_from_a_folder_and_one_from_git_make_the_submission(caller: Project) -> None:
    targets = ("below/submission.csv", "submission.csv")
    result = caller.run(*targets)
    assert result.code == 0, result.output
    for output in OUTPUTS:
        assert caller.read(f"below/{output}") == caller.read(output), output
    # Nothing of the first is anywhere else, and the hooks speak of it.
    assert {path.name for path in (caller.directory / "below").iterdir()} == {
        *("data", "logs", "results", "submission.csv")
    }
    assert "submission      below/submission.csv" in result.output
    again = caller.run(*targets)
    assert "Nothing to be done" in again.output, again.output


def test_a_forced_training_of_a_module_starts_anew(caller: Project) -> None:
    model = f"below/results/sample/{RUN}/seed0/train/model.safetensors"
    folder = caller.directory / model
    checkpoint = folder.parents[1] / ".checkpoint/train/checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"of an earlier call")
    before = snapshot(folder.parent)
    result = caller.run(model, "--forcerun", "train")
    assert result.code == 0, result.output
    assert "is set aside" not in result.output
    assert not checkpoint.parent.exists()
    assert snapshot(folder.parent).keys() == before.keys()

"""Folders with names that people do give, and that a shell or Snakemake would read otherwise."""

from dataclasses import replace

import pytest
import yaml

from builders import make_competition
from project import Project

# What is left out: line breaks.
ODD = 'it\'s a "dïr" $HOME [a]*? & 日本'
# Snakemake strips the quotes off what follows --config, and reads the rest as YAML. There, this is
# a mapping and a comment, whatever one does: such a name can only be given in a file.
ODD_IN_YAML = "'dir: #1'"


@pytest.fixture
def odd(project: Project) -> Project:
    """A project whose working directory has an odd name."""
    directory = project.directory / ODD / f"{ODD_IN_YAML} {{dataset}}"
    directory.mkdir(parents=True)
    return replace(project, directory=directory)


def test_odd_names_of_both_folders(odd: Project) -> None:
    raw = odd.directory.parent / f"kaggle {ODD}"
    make_competition(raw, train=20, test=10)
    config = ("dataset=cifar10", f"raw_dir={raw}")
    result = odd.run("pack", config=config)
    assert result.code == 0, result.output
    assert (odd.directory / "data/cifar10/packed/32x32/test.npy").is_file()
    assert odd.stale("pack", config=config) == set()


def test_a_brace_in_the_path_of_the_files_is_refused(project: Project) -> None:
    """Snakemake would take it for a wildcard."""
    raw = project.directory / "my {files}"
    make_competition(raw, train=2, test=2)
    result = project.run("fetch", config=("dataset=cifar10", "raw_dir=my {files}"))
    assert result.code == 1
    assert len(result.errors) == 1, result.output
    assert "config: raw_dir: 'my {files}' has a brace" in result.errors[0]
    assert "rename the folder" in result.errors[0]


def test_odd_names_in_a_config_file(odd: Project) -> None:
    raw = odd.directory / ODD_IN_YAML
    make_competition(raw, train=2, test=2)
    settings = odd.directory / f"{ODD}.yaml"
    settings.write_text(yaml.safe_dump({"dataset": "cifar10", "raw_dir": ODD_IN_YAML}))
    call = ("fetch", "--configfile", str(settings))
    result = odd.run(*call)
    assert result.code == 0, result.output
    (raw / "test.7z").unlink()
    result = odd.run(*call)
    assert result.code == 1
    assert len(result.errors) == 1, result.output
    assert f"{ODD_IN_YAML}/test.7z: the file does not exist" in result.errors[0]


def test_a_folder_that_snakemake_removes_is_refused(project: Project) -> None:
    raw = project.directory / "results" / "mine"
    make_competition(raw, train=2, test=2)
    before = {path: path.read_bytes() for path in raw.iterdir()}
    (project.directory / "link").symlink_to(raw)
    for raw_dir in ("results/mine", str(raw), "link", "data/cifar10", "logs", ".snakemake/mine"):
        result = project.run("fetch", "--dry-run", config=("dataset=cifar10", f"raw_dir={raw_dir}"))
        assert result.code == 1
        assert len(result.errors) == 1, result.output
        assert "move yours to another folder" in result.errors[0]
    assert {path: path.read_bytes() for path in raw.iterdir()} == before

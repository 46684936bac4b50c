"""The conda environments, the locks and the ranges say the same versions."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
import yaml

from imagepipe.config.source_hash import file_of, modules_of
from project import ROOT


def locked(name: str) -> dict[str, str]:
    """Return {package: version} of a requirements file."""
    lines = (ROOT / name).read_text().splitlines()
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", "\n".join(lines), flags=re.MULTILINE)
    assert len(pins) == len([line for line in lines if line and not line.startswith("#")])
    return dict(pins)


@pytest.mark.parametrize("name", ["data", "train"])
def test_a_conda_environment_has_the_versions_of_the_lock(name: str) -> None:
    environment = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())
    (packages,) = (part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    lock = locked("requirements-dev.txt")  # which has the extras as well
    assert packages
    assert dict(package.split("==") for package in packages).items() <= lock.items()


def imported_packages(path: Path) -> Iterator[str]:
    """Yield the first names of all that a Python file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_a_conda_environment_has_what_its_scripts_import() -> None:
    """Every package that a rule's script imports, through the library as well."""
    scripts = ROOT / "workflow" / "scripts"
    installed_as = {
        "PIL": "pillow",
        "backports": "backports-zstd",
        "huggingface_hub": "huggingface-hub",
        "sklearn": "scikit-learn",
        "yaml": "pyyaml",
    }
    environment_of = {
        script: environment
        for rules in (ROOT / "workflow" / "rules").glob("*.smk")
        for environment, script in re.findall(
            r'envs/(\w+)\.yaml".*?"../scripts/(\w+\.py)"', rules.read_text(), flags=re.DOTALL
        )
    }
    no_rules = {"job.py", "rerun_reasons.py", "terminal_screen.py", "workflow_terminal.py"}
    assert environment_of.keys() == {path.name for path in scripts.glob("*.py")} - no_rules
    for script, environment in environment_of.items():
        files = [scripts / script, scripts / "job.py"]
        modules = modules_of(scripts / script, scripts / "imagepipe")
        shown = {"imagepipe.errors", "imagepipe.config.closing_lines"}
        files += [file_of(module, scripts / "imagepipe") for module in modules | shown]
        names = {name for path in files for name in imported_packages(path)}
        packages = names - set(sys.stdlib_module_names) - {"imagepipe", "job"}
        packages -= {"compression"}  # of Python 3.14's own library
        text = (ROOT / "envs" / f"{environment}.yaml").read_text()
        for package in packages:
            assert f" {installed_as.get(package, package)}==" in text, (script, package)


def test_both_locks_have_the_same_versions() -> None:
    assert locked("requirements.txt").items() <= locked("requirements-dev.txt").items()


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_the_lock_has_every_dependency_of_the_project(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    if "dev" in lock:
        wanted += project["optional-dependencies"]["dev"]
    names = {re.split(r"[<>=!~ \[]", requirement)[0] for requirement in wanted}
    assert names <= set(locked(lock))


def test_torch_and_torchvision_work_together_as_they_are_locked() -> None:
    # A torchvision that was built for another torch fails in its compiled operators.
    lock = locked("requirements.txt")
    assert torch.__version__.split("+")[0] == lock["torch"]
    assert torchvision.__version__.split("+")[0] == lock["torchvision"]
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0]


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_the_lock_does_not_ask_for_cuda_itself(lock: str) -> None:
    """PyTorch does, but for its builds for CPUs, which the same lock is to serve."""
    assert not [name for name in locked(lock) if name.startswith(("cuda", "nvidia", "triton"))]

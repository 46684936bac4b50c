"""The names of networks, found in the libraries' source text."""

import subprocess
import sys
from pathlib import Path

import pytest

from imagepipe.config.architectures import known_architectures


def test_torchvisions_names_are_those_that_it_registers() -> None:
    """Fails where a new torchvision registers its networks in another way."""
    models = pytest.importorskip("torchvision").models
    assert known_architectures("torchvision") == set(models.list_models(module=models))


def test_timms_names_are_those_that_it_registers() -> None:
    """Fails where a new timm registers its networks in another way."""
    assert known_architectures("timm") == set(pytest.importorskip("timm").list_models())


def test_the_names_are_found_fast_and_without_importing_a_library() -> None:
    """In a process of its own, as this one has imported them."""
    code = (
        "import sys, time\n"
        "from imagepipe.config.architectures import LIBRARIES, known_architectures\n"
        "start = time.perf_counter()\n"
        "for library in LIBRARIES: known_architectures(library)\n"
        "print(time.perf_counter() - start)\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    seconds, imported = done.stdout.splitlines()
    assert imported == "[]"
    # 0.04 on an idle machine; to import the two takes some 5.
    assert float(seconds) < 1


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a library's networks, which can be found as `networks`."""
    folder = tmp_path / "networks" / "models"
    folder.mkdir(parents=True)
    (tmp_path / "networks" / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    known_architectures.cache_clear()
    return folder


def test_every_form_of_the_decorator_is_found(library: Path) -> None:
    (library / "some.py").write_text(
        "from .registry import register_model\n\n"
        "@register_model\ndef one(): ...\n"
        "@register_model()\n@other(of='it')\ndef two(): ...\n"
        "@register_model(name='three')\ndef builder(): ...\n"
        '@register_model("four")  # a comment\ndef builder(): ...\n'
        "@register_model_deprecations\ndef deprecated(): ...\n"
        "def helper(): ...\n"
    )
    assert known_architectures("networks") == {"one", "two", "three", "four"}


def test_a_library_that_is_missing_or_laid_out_in_another_way_has_no_names(library: Path) -> None:
    assert known_architectures("networks") == set()
    assert known_architectures("not_there") == set()

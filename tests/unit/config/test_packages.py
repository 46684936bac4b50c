"""Whether a package is missing is known before any job runs."""

import pytest

from builders import dataset_options
from imagepipe.config import packages
from imagepipe.config.dataset import Source
from imagepipe.config.packages import is_installed, missing_download_tool


@pytest.mark.parametrize(
    ("dataset", "raw_dir", "missing"),
    [
        ("cifar10", None, True),
        ("cifar10", "/data/kaggle", False),
        ("cifar10_tiny", None, False),
        ("sample", None, False),
    ],
)
def test_a_missing_kagglehub_is_named_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, dataset: str, raw_dir: str | None, missing: bool
) -> None:
    source = dataset_options(dataset).part(Source)
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    message = missing_download_tool(source, raw_dir)
    assert (message is not None) == missing
    if message is not None:
        assert message.startswith("kagglehub is not installed; run `pip install kagglehub`")
        assert "cifar-10.zip" in message
    monkeypatch.setattr(packages, "find_spec", lambda name: name)
    assert missing_download_tool(source, raw_dir) is None


def test_a_package_that_is_not_there_is_not_installed() -> None:
    assert is_installed("pytest")
    assert not is_installed("not_there")

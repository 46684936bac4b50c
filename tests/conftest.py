"""Which tests are skipped where, and why."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from browser_pages import CHROMIUM
from local_slurm import reason_for_none


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {
        "slow": None if config.getoption("--slow") else "slow: give --slow to run it",
        "slurm": reason_for_none(),
        "browser": None if any(map(shutil.which, CHROMIUM)) else "needs Chromium",
        "gpu": None if torch.cuda.is_available() else "needs a CUDA GPU",
        "realdata": None
        if os.environ.get("IMAGEPIPE_REAL_DATA")
        else "set IMAGEPIPE_REAL_DATA to a folder with real CIFAR-10 images to run it",
    }
    for item in items:
        for marker, reason in reasons.items():
            if reason is not None and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images: docs/development.md says what it holds."""
    return Path(os.environ["IMAGEPIPE_REAL_DATA"])

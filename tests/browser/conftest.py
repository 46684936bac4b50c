"""The browser of the tests in this folder."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from browser_pages import chromium


# Of this folder, not of the session: other tests cannot run an event loop beside Playwright's.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A running Chromium."""
    with chromium() as started:
        yield started

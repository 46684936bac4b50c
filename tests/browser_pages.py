"""Pages in Chromium, for the tests marked `browser`.

Playwright drives the Chromium that is installed.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

# Names of the program, the first that is there.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# Nothing but the page: no sandbox, which a container has no room for, and no requests of its own.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
HEIGHT = 900
Scheme = Literal["light", "dark"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium for a while. Skip the test if Playwright cannot start here."""
    program = next(filter(None, map(shutil.which, CHROMIUM)))
    playwright = sync_playwright()
    try:
        driver = playwright.start()
    except (OSError, RuntimeError) as error:
        pytest.skip(f"Playwright cannot start: {error}")
    try:
        browser = driver.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()
    finally:
        driver.stop()


@contextmanager
def opened(
    browser: Browser,
    place: Path | str,
    width: int = 1280,
    scheme: Scheme = "light",
    *,
    javascript: bool = True,
) -> Iterator[Page]:
    """Open a file, or a server's page by its address, in a window of a width in CSS pixels.

    At the end of the block, fail for each error in the page, and for each request that was not for
    the file itself, or not to the page's own server.
    """
    url = place if isinstance(place, str) else place.absolute().as_uri()
    own = urlsplit(url)
    wrong: list[str] = []

    def check_message(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            wrong.append(f"console: {message.text}")

    def check_request(address: str) -> None:
        parts = urlsplit(address)
        is_own = parts.path == own.path if own.scheme == "file" else parts.netloc == own.netloc
        if parts.scheme != own.scheme or not is_own:
            wrong.append(f"request: {address}")

    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        color_scheme=scheme,
        java_script_enabled=javascript,
        reduced_motion="reduce",
        # As on a phone: a viewport by the page's own word, and touch.
        is_mobile=width < 600,
        has_touch=width < 600,
    )
    try:
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", check_message)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("request", lambda request: check_request(request.url))
        page.goto(url)
        yield page
    finally:
        context.close()
    assert not wrong, wrong


def axe_violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong with a page, a line for each rule that is broken.

    Skips the test without axe-core, whose axe.min.js the variable IMAGEPIPE_AXE names.
    """
    script = os.environ.get("IMAGEPIPE_AXE")
    if not script:
        pytest.skip("set IMAGEPIPE_AXE to the file axe.min.js of axe-core to run it")
    page.evaluate(Path(script).read_text(encoding="utf-8"))
    results: dict[str, Any] = page.evaluate(
        "() => axe.run(document, {resultTypes: ['violations']})"
    )
    return [
        f"{found['impact']}: {found['id']}: {found['help']}: "
        + json.dumps([node["target"] for node in found["nodes"][:3]])
        for found in results["violations"]
    ]


def scrolls_sideways(page: Page) -> bool:
    """Return whether the page is wider than its window."""
    assert page.viewport_size is not None
    # Not `window.innerWidth`: a phone makes room for a page that is too wide.
    width: int = page.evaluate("document.documentElement.scrollWidth")
    return width > page.viewport_size["width"]

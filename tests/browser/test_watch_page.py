"""The page of `imagepipe watch --web` in Chromium."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

import watch_builders
from browser_pages import Scheme, axe_violations, opened, scrolls_sideways
from imagepipe.training.history import write_history, write_metrics
from imagepipe.watch.server import PageServer
from watch_builders import FAILURE, WorkingDirectory, all_states, epochs_of, progress_line

pytestmark = pytest.mark.browser
WIDE, PHONE = 1280, 390


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the made files be of this moment."""
    monkeypatch.setattr(watch_builders, "NOW", time.time())


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the page of a folder; yield its address."""
    with PageServer(folder, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("width", [WIDE, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_shows_all_trainings_and_the_curves_of_the_running_one(
    browser: Browser, tmp_path: Path, width: int, scheme: Scheme
) -> None:
    all_states(tmp_path)
    with served(tmp_path) as address, opened(browser, address, width, scheme) as page:
        expect(page.get_by_role("status")).to_contain_text("1 running, 1 starting, 1 failed")
        rows = page.locator("tbody tr")
        expect(rows).to_have_count(7)
        expect(rows.first).to_contain_text("▶ running")
        expect(page.get_by_text(FAILURE)).to_be_visible()
        expect(page.locator("h3")).to_have_text(["sample, fast, seed 0, train"])
        expect(page.get_by_text("epoch 6 of 8, 40 % done")).to_be_visible()
        expect(page.get_by_role("progressbar")).to_have_attribute("value", "0.675")
        expect(page.get_by_role("img", name="loss: train 0.630")).to_be_visible()
        accuracy = page.get_by_role("img", name="accuracy: train 0.849, valid 0.741")
        expect(accuracy).to_be_visible()
        # Both curves go from the left to 4/7 of the width, and up.
        for curve in accuracy.locator("polyline").all():
            points = [
                tuple(map(float, point.split(",")))
                for point in (curve.get_attribute("points") or "").split()
            ]
            x, y = zip(*points, strict=True)
            assert len(points) == 5
            assert list(x) == sorted(x)
            assert list(y) == sorted(y, reverse=True)
        assert not scrolls_sideways(page)


def test_it_follows_a_training_without_being_loaded_again(browser: Browser, tmp_path: Path) -> None:
    made = WorkingDirectory(tmp_path)
    with served(tmp_path) as address, opened(browser, address) as page:
        expect(page.get_by_role("status")).to_contain_text("no trainings yet")
        page.evaluate("window.isTheSame = true")
        line = progress_line(500, 8000, "epoch 1 of 8, loss 2.1, acc 0.2, lr 0.1")
        results = made.add(log=[line])
        expect(page.get_by_text("Its curves begin after the first epoch.")).to_be_visible()
        write_history(results / "history.csv", epochs_of(1))
        expect(page.get_by_role("img", name="accuracy: train 0.427, valid 0.347")).to_be_visible()
        write_history(results / "history.csv", epochs_of(8))
        write_metrics(results / "metrics.json", epochs_of(8), 100)
        expect(page.get_by_role("status")).to_have_text("1 finished")
        expect(page.locator("tbody tr")).to_contain_text("✓ finished")
        expect(page.get_by_role("progressbar")).to_have_count(0)
        assert page.evaluate("window.isTheSame")


def test_a_reader_who_has_scrolled_the_table_stays_there(browser: Browser, tmp_path: Path) -> None:
    made = all_states(tmp_path)
    with served(tmp_path) as address, opened(browser, address, PHONE) as page:
        expect(page.locator("tbody tr")).to_have_count(7)
        table = page.get_by_role("region", name="Table of all trainings")
        table.evaluate("one => { one.scrollLeft = 200; one.focus(); }")
        made.add("new", epochs=epochs_of(2), log=[])
        expect(page.locator("tbody tr")).to_have_count(8)
        assert table.evaluate("one => one.scrollLeft") == 200
        expect(table).to_be_focused()


def test_names_from_outside_are_text(browser: Browser, tmp_path: Path) -> None:
    made = WorkingDirectory(tmp_path)
    bad = "<img src=x onerror=alert(1)>"
    made.add(bad, epochs=epochs_of(2), log=[f"error: {bad}"])
    with served(tmp_path) as address, opened(browser, address, PHONE) as page:
        expect(page.locator("#notes li")).to_have_text(
            f"sample, {bad}, seed 0, train: error: {bad}"
        )
        assert page.locator("img").count() == 0
        assert not scrolls_sideways(page)


def test_a_lost_connection_is_told_and_found_again(browser: Browser, tmp_path: Path) -> None:
    all_states(tmp_path)
    # Not `opened`, which takes refused requests for errors.
    page = browser.new_page()
    try:
        with served(tmp_path) as address:
            page.goto(address)
            expect(page.locator("tbody tr")).to_have_count(7)
            lost = page.get_by_role("alert")
            expect(lost).to_have_text("")
        expect(lost).to_contain_text("The connection is lost", timeout=10_000)
        # What was seen last is still there, with its time.
        expect(page.locator("tbody tr")).to_have_count(7)
        assert re.match(r"At \d\d:\d\d:\d\d in", page.locator("#seen").inner_text())
        port = int(address.rstrip("/").rpartition(":")[2])
        with PageServer(tmp_path, "127.0.0.1", port) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                expect(lost).to_have_text("", timeout=10_000)
            finally:
                server.shutdown()
                thread.join()
    finally:
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(browser: Browser, tmp_path: Path, scheme: Scheme) -> None:
    all_states(tmp_path)
    with served(tmp_path) as address, opened(browser, address, PHONE, scheme) as page:
        expect(page.locator("tbody tr")).to_have_count(7)
        assert axe_violations(page) == []


def test_without_javascript_it_says_what_to_do(browser: Browser, tmp_path: Path) -> None:
    with served(tmp_path) as address, opened(browser, address, javascript=False) as page:
        expect(page.get_by_text("imagepipe watch --once")).to_be_visible()

"""The report's page in Chromium, for datasets of many kinds."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser_pages import axe_violations, opened, scrolls_sideways
from report_builders import Case, build_report, write_workspace

pytestmark = pytest.mark.browser

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror="alert(2)">',
    "x" * 300,
    "many words " * 26 + "many words",
    "חתול",
    "قطة سوداء",
    "🐈‍⬛ cat",
    "=1+1",
    "$\\alpha$ & {{ 7 * 7 }}",
    "]]></style>",
)
# Each shows several things that may go wrong.
CASES = {
    "ten classes": Case(TEN),
    "two classes of photos": Case(
        ("no cactus", "cactus"),
        train=20,
        valid=40,
        test=30,
        height=375,
        width=500,
        metric="roc_auc",
        certainty=2.5,
    ),
    "many classes and runs": Case(
        tuple(f"breed number {number}" for number in range(120)),
        valid=480,
        metric="log_loss",
        members=3,
        runs=100,
    ),
    "several labels, grey": Case(
        ("scab", "rust", "frog eye leaf spot", "mildew", "complex"),
        several_labels=True,
        grey=True,
        metric="f1_samples",
    ),
    "classes without validation images, many test images": Case(
        TEN, without_valid=4, test=300_000, has_score=False
    ),
    "hostile names": Case(HOSTILE, title="<script>alert(3)</script> & more", certainty=2),
    "one validation image, no test image": Case(TEN[:2], train=10, valid=1, test=0, certainty=50),
}
MOST_SECONDS, MOST_BYTES = 60, 10 << 20
# What no reader should see.
UNKNOWN = re.compile(r"undefined|\bNaN\b|\bnan\b|\bNone\b")
WIDTHS = (1280, 390)


@dataclass(frozen=True)
class Report:
    page: Path
    data_page: Path
    seconds: float


ReportOf = Callable[[str], Report]
OpenReport = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def report_of(tmp_path_factory: pytest.TempPathFactory) -> ReportOf:
    """Return a function that builds the report of a case, once."""
    built: dict[str, Report] = {}

    def build(name: str) -> Report:
        if name not in built:
            space = write_workspace(tmp_path_factory.mktemp("report"), CASES[name])
            seconds = sum(build_report(space).values())
            # Nothing else is needed to look at them.
            pages = [space.folder / file for file in ("report.html", "data.html")]
            for folder, page in zip((space.results, space.data), pages, strict=True):
                (folder / "report.html").rename(page)
            built[name] = Report(*pages, seconds)
        return built[name]

    return build


@pytest.fixture
def open_report(browser: Browser, report_of: ReportOf) -> OpenReport:
    """Open the report of the case with ten classes; the arguments are those of `opened`."""
    return partial(opened, browser, report_of("ten classes").page)


@pytest.fixture
def page(open_report: OpenReport) -> Iterator[Page]:
    """The report of the case with ten classes."""
    with open_report() as page:
        yield page


@pytest.mark.parametrize("case", CASES)
def test_any_dataset_has_a_report_that_fits_everywhere(
    case: str, browser: Browser, report_of: ReportOf
) -> None:
    report = report_of(case)
    assert report.page.stat().st_size < MOST_BYTES
    assert report.seconds < MOST_SECONDS
    with opened(browser, report.page, 1280) as page:
        assert not scrolls_sideways(page)
        assert not page.locator("main").get_by_text(UNKNOWN).all_inner_texts()
    with opened(browser, report.page, 390, "dark") as page:
        assert not scrolls_sideways(page)
        assert not axe_violations(page)


def test_the_page_of_the_data_check_fits_everywhere(browser: Browser, report_of: ReportOf) -> None:
    for width in WIDTHS:
        with opened(browser, report_of("hostile names").data_page, width) as page:
            assert not scrolls_sideways(page)
            assert not axe_violations(page)
            assert "<script>alert(1)</script>" in page.locator("main").inner_text()


def test_the_wide_page_in_light_colors_is_accessible(page: Page) -> None:
    assert not axe_violations(page)


def test_every_picture_has_a_name_and_every_head_a_scope(page: Page) -> None:
    pictures = page.locator("main img, main svg")
    assert pictures.count() >= 14
    for picture in pictures.all():
        name = picture.get_attribute("alt") or picture.get_attribute("aria-label") or ""
        assert len(name) > 5 or picture.get_attribute("aria-hidden") == "true"
    heads = page.locator("th")
    assert heads.count() > 20
    assert all(head.get_attribute("scope") in ("col", "row") for head in heads.all())


def column(table: Locator, number: int) -> list[str]:
    """Return the texts of a column, the first of which has the number 0."""
    cells = table.locator(f"tbody tr > *:nth-child({number + 1})")
    return [text.strip() for text in cells.all_inner_texts()]


def values(texts: list[str]) -> list[float]:
    """Return the number that each cell begins with."""
    return [float(text.split()[0].replace(",", "")) for text in texts]


def test_tables_are_sorted_by_a_click_and_by_a_key(page: Page) -> None:
    table = page.get_by_role("region", name="Results for every class").locator("table")
    heads = table.locator("thead th")
    recall = next(n for n, text in enumerate(heads.all_inner_texts()) if "recall" in text)
    before = values(column(table, recall))
    assert before not in (sorted(before), sorted(before, reverse=True))
    button = heads.nth(recall).locator("button")
    button.click()
    assert heads.nth(recall).get_attribute("aria-sort") == "descending"
    assert values(column(table, recall)) == sorted(before, reverse=True)
    button.focus()
    page.keyboard.press("Enter")
    assert heads.nth(recall).get_attribute("aria-sort") == "ascending"
    assert values(column(table, recall)) == sorted(before)
    heads.nth(0).locator("button").focus()
    page.keyboard.press("Space")
    assert heads.nth(recall).get_attribute("aria-sort") is None
    assert column(table, 0) == sorted(TEN)


def test_numbers_are_sorted_by_their_size(browser: Browser, report_of: ReportOf) -> None:
    with opened(browser, report_of("many classes and runs").page) as page:
        table = page.get_by_role("region", name="All validated runs").locator("table")
        names = table.locator("thead th").all_inner_texts()
        head = table.locator("thead th", has_text="optimizer.lr")
        head.get_by_role("button").click()
        rates = [text for text in column(table, names.index(head.inner_text())) if text]
        # By their letters, 0.01 would come before 0.002.
        assert len(rates) > 90
        assert values(rates) == sorted(values(rates), reverse=True)


def test_a_table_is_filtered_as_one_types(browser: Browser, report_of: ReportOf) -> None:
    with opened(browser, report_of("many classes and runs").page) as page:
        holder = page.locator("[data-filter]").filter(has_text="optimizer.lr=0.017")
        rows = holder.locator("tbody tr")
        assert rows.count() == 100
        holder.get_by_role("searchbox").press_sequentially("LR=0.017")
        expect(rows.filter(visible=True)).to_have_count(1)
        expect(holder.get_by_role("status")).to_contain_text("1 of 100")
        holder.get_by_role("searchbox").fill("no run has this")
        expect(holder.get_by_role("status")).to_contain_text("0 of 100")
        holder.get_by_role("searchbox").fill("")
        expect(rows.filter(visible=True)).to_have_count(100)


@pytest.mark.parametrize("width", WIDTHS)
def test_links_lead_to_their_sections(width: int, open_report: OpenReport) -> None:
    with open_report(width) as page:
        links = page.locator("nav a")
        assert links.count() >= 5
        for link in links.all():
            target = link.get_attribute("href") or ""
            link.click()
            assert page.evaluate("location.hash") == target
            expect(page.locator(target)).to_be_in_viewport()
            expect(link).to_have_attribute("aria-current", "true")
        page.reload()
        expect(page.locator(target)).to_be_in_viewport()


def background(page: Page) -> list[int]:
    """Return red, green and blue of the page's background."""
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return [int(number) for number in re.findall("[0-9]+", color)[:3]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_are_exchanged_by_a_button(scheme: str, open_report: OpenReport) -> None:
    with open_report(scheme=scheme) as page:
        is_dark = {"light": False, "dark": True}[scheme]
        for expected in (is_dark, not is_dark, is_dark):
            assert (max(background(page)) < 80) == expected
            assert (min(background(page)) > 180) != expected
            page.get_by_role("button", name=re.compile("dark", re.IGNORECASE)).click()
        page.reload()
        assert (max(background(page)) < 80) != is_dark, "the choice is forgotten"


def test_figures_follow_the_color_scheme(open_report: OpenReport) -> None:
    colors = set()
    for scheme in ("light", "dark"):
        with open_report(scheme=scheme) as page:
            text = page.locator("figure svg text").first
            colors.add(text.evaluate("text => getComputedStyle(text).fill"))
    assert len(colors) == 2


def test_the_keyboard_can_skip_the_links(page: Page) -> None:
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    expect(skip).to_be_in_viewport()
    assert "skip" in skip.inner_text().lower()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "MAIN"


def test_on_paper_everything_is_there_in_black_on_white(open_report: OpenReport) -> None:
    with open_report(scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        expect(page.locator("nav")).to_be_hidden()
        assert page.locator("details").count()
        assert not page.locator("details:not([open])").count()
        assert min(background(page)) == 255
        assert page.pdf().startswith(b"%PDF")


def test_without_scripts_everything_is_there(open_report: OpenReport) -> None:
    texts = []
    for javascript in (True, False):
        with open_report(javascript=javascript) as page:
            texts.append(page.locator("main").text_content())
            assert page.locator("main table tbody tr").count() > 20
            assert not page.locator("main button:visible, main input:visible").count() or javascript
    with_scripts, without = ("".join((text or "").split()) for text in texts)
    assert len(without) > 0.98 * len(with_scripts)


def test_names_from_outside_are_only_text(browser: Browser, report_of: ReportOf) -> None:
    with opened(browser, report_of("hostile names").page) as page:
        assert not page.locator("main script, main img[onerror]").count()
        shown = page.locator("body").inner_text()
        assert "<script>alert(1)</script>" in shown
        assert "<script>alert(3)</script> & more" in page.title()
        assert "{{ 7 * 7 }}" in shown

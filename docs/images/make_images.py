"""Takes the pictures of the report for README.md and docs/report.md.

    python docs/images/make_images.py results/sample

Needs Chromium and the packages of requirements-dev.txt. Pages have the system's font; for these
pictures it was Inter.
"""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from browser_pages import chromium, opened

HERE = Path(__file__).parent
# So that the three cards of the first screen are complete.
HEIGHT = 1120
# Enough where there are no pictures.
COLORS = 256
MOST_BYTES = 150_000


def save(name: str, page: Page, colors: int | None = None) -> None:
    """Write a PNG file of what the window shows, with all its colors or only `colors` of them."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if colors is not None:
        image = image.quantize(colors, dither=Image.Dither.NONE)
    target = HERE / f"{name}.png"
    image.save(target, optimize=True)
    size = target.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{target}: has {size:,} bytes; take a smaller part of the page")
    print(f"{target}: {image.width}×{image.height}, {size:,} bytes")


def main() -> None:
    report = Path(sys.argv[1]) / "report.html"
    with chromium() as browser:
        for scheme in ("light", "dark"):
            with opened(browser, report, scheme=scheme) as page:
                page.set_viewport_size({"width": 1280, "height": HEIGHT})
                save(f"report-{scheme}", page, COLORS)
                page.locator("nav a", has_text="Mistakes").click()
                page.set_viewport_size({"width": 1280, "height": 960})
                save(f"mistakes-{scheme}", page)
        with opened(browser, report, width=390) as page:
            save("phone", page, COLORS)


if __name__ == "__main__":
    main()

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
HEIGHT = 1030
COLORS = 128
MOST_BYTES = 150_000


def save(name: str, page: Page) -> None:
    """Write a PNG file of what the window shows, in a palette of `COLORS`."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    target = HERE / f"{name}.png"
    image.quantize(COLORS, dither=Image.Dither.NONE).save(target, optimize=True)
    size = target.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{target}: has {size:,} bytes; take fewer colors, or a smaller part of the page")
    print(f"{target}: {image.width}×{image.height}, {size:,} bytes")


def main() -> None:
    report = Path(sys.argv[1]) / "report.html"
    with chromium() as browser:
        for scheme in ("light", "dark"):
            with opened(browser, report, scheme=scheme) as page:
                page.set_viewport_size({"width": 1280, "height": HEIGHT})
                save(f"report-{scheme}", page)
                page.locator("nav a", has_text="Mistakes").click()
                save(f"mistakes-{scheme}", page)
        with opened(browser, report, width=390) as page:
            save("phone", page)


if __name__ == "__main__":
    main()

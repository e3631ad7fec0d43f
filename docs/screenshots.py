"""Take the documentation's pictures of reports: `python docs/screenshots.py REPORT.html OUT.png [WIDTH HEIGHT]`.

Needs Chromium on the PATH (Debian: `apt-get install chromium`).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def main(report: str, out: str, width: str = "1200", height: str = "1500") -> None:
    """Write the top of a report as a PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        page = browser.new_page(viewport={"width": int(width), "height": int(height)})
        page.goto(Path(report).resolve().as_uri())
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

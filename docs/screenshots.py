"""Take the documentation's pictures of reports and of the service's pages.

``python docs/screenshots.py REPORT.html OUT.png [WIDTH HEIGHT]``, or with the address of a page of `tune-app serve` in
place of the report; its token is in the file that the variable TOKEN_FILE names. Needs Chromium on the PATH (Debian:
`apt-get install chromium`).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from urllib.parse import urljoin

from playwright.sync_api import Page, sync_playwright

QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def main(place: str, out: str, width: str = "1200", height: str = "1500") -> None:
    """Write the top of a report or page as a PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        page = browser.new_page(viewport={"width": int(width), "height": int(height)})
        if place.startswith(("http://", "https://")):
            sign_in(page, place)
            page.goto(place, wait_until="networkidle")
            if page.locator("[data-curves]").count():
                page.wait_for_selector(".chart canvas")
        else:
            page.goto(Path(place).resolve().as_uri())
        page.screenshot(path=out)
        browser.close()


def sign_in(page: Page, address: str) -> None:
    """Exchange the token for a session."""
    page.goto(urljoin(address, "/login"))
    page.get_by_label("Token").fill(Path(os.environ["TOKEN_FILE"]).read_text().strip())
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(urljoin(address, "/"))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A headless Chromium for tests of pages: `chromium` starts it, `needs_chromium` marks and skips, `axe` checks a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]


@contextmanager
def chromium() -> Iterator[Any]:
    """Start Chromium; skip the test where playwright is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def axe(page: Any) -> Any:
    """Return what axe finds on a page, which must have been opened with ``bypass_csp=True``."""
    checker = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    return checker.Axe().run(page)


def logged(page: Any) -> list[str]:
    """Return a list that collects what a page writes to the console, and its errors, from now on."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text))
    page.on("pageerror", lambda error: found.append(str(error)))
    return found

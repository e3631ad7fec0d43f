"""The report in a real Chromium: no errors, no requests, controls that work, dark mode, paper, small screens, axe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from analysis.report.study import write_comparison, write_report
from analysis.store.load import load_study
from bench.make_store import Truth, write_store
from tests.support.browser import axe, logged, needs_chromium

pytestmark = needs_chromium


@dataclass
class Live:
    """A trial that has not ended."""

    digest: str
    epochs: dict[int, dict[str, Any]]
    arm: str = "norm=none"
    seed: int = 7
    planned: int = 6
    source: str = "checkpoint"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    truth = Truth({"model.norm=none": -0.05}, statuses={("norm=none", 1): "failed"})
    claims = [{"text": "Worse.", "arm": "norm=none", "against": "norm=batch", "expect": "worse"}]
    reference = {"source": "B", "figures": [{"arm": "norm=none", "value": 0.8677}], "claims": claims}
    factors = {"model.norm": ["batch", "group", "none"]}
    ablation = load_study(
        write_store(folder / "a", truth=truth, factors=factors, seeds=3, epochs=6, extras=False, reference=reference)
    )
    space = {"optimizer.lr": {"loguniform": [0.001, 1.0]}, "model.norm": ["batch", "group"]}
    search = load_study(write_store(folder / "s", space=space, trials=40, epochs=9, extras=False))
    seconds = [2.0, 60.0, 8 * 3600.0]  # of each of 9 trials: 18.0 s, 9.0 min and 72 h in all
    times = [replace(ablation, trials=ablation.trials.assign(seconds=each)) for each in seconds]
    earlier = ablation.trials.assign(
        arm=[f"batch_size={size}" for size in (128, 16, 8) for _ in range(3)],
        test_accuracy=[0.095, 0.85, None, 1.0, 0.2, 0.3, 0.4, 0.5, 0.6],
        why="not in the study",
    )
    partial = [Live(f"t{place}", {1: {"val_accuracy": value}}) for place, value in enumerate((0.095, 0.85, 1.0))]
    return {
        "times": write_comparison([times[1], times[2], times[0]], folder / "times.html"),
        "earlier": write_report(
            replace(ablation, other=earlier), folder / "earlier.html", partial=[*partial, Live("t3", {})]
        ),
        "report": write_report(ablation, folder),
        "search": write_report(search, folder / "search.html"),
        "comparison": write_comparison([ablation, search], folder),
    }


class Visit:
    """A page opened, with what it logged and what it asked the network for."""

    def __init__(self, browser: Any, path: Path, width: int = 1200, scheme: str = "light", **options: Any) -> None:
        viewport = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
        self.page = self.context.new_page()
        self.logged = logged(self.page)
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())


@pytest.fixture
def report(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    visit = Visit(browser, pages["report"])
    yield visit.page
    assert visit.logged == []
    visit.context.close()


@pytest.mark.parametrize("width", [320, 1300])
@pytest.mark.parametrize("name", ["report", "search", "comparison"])
def test_no_errors_no_requests_and_nothing_sticks_out(
    name: str, width: int, browser: Any, pages: dict[str, Path]
) -> None:
    visit = Visit(browser, pages[name], width)
    assert visit.logged == []
    assert [url for url in visit.requests if not url.startswith("data:")] == [pages[name].as_uri()]
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "search", "comparison"])
def test_axe_finds_no_violation(name: str, scheme: str, browser: Any, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages[name], scheme=scheme, bypass_csp=True)
    found = axe(visit.page)
    assert len(found.response["passes"]) > 20
    assert found.violations_count == 0, found.generate_report()
    visit.context.close()


def column(page: Any, number: int, table: str = "#trials-table") -> list[str]:
    cells: list[str] = page.locator(f"{table} tbody tr:visible td:nth-child({number})").all_inner_texts()
    return cells


def test_a_head_sorts_numbers_both_ways_with_empty_cells_last(report: Any) -> None:
    head = report.locator("#trials-table th", has_text="Test accuracy")
    number = report.locator("#trials-table th").all_inner_texts().index("Test accuracy (%)") + 1
    head.get_by_role("button").click()
    rising = column(report, number)
    assert head.get_attribute("aria-sort") == "ascending"
    assert rising[-1] == "–"
    assert [float(cell) for cell in rising[:-1]] == sorted(float(cell) for cell in rising[:-1])
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert column(report, number) == [*reversed(rising[:-1]), "–"]


def sorted_by(page: Any, caption: str, head: str) -> list[str]:
    """Return a column of the table with this caption, sorted by it, the least first."""
    table = f"table:has(#{caption})"
    page.locator(f"{table} th", has_text=head).get_by_role("button").click()
    heads = page.locator(f"{table} th").all_inner_texts()
    return column(page, heads.index(head) + 1, table)


def test_figures_with_units_and_words_with_numbers_are_sorted_by_number(browser: Any, pages: dict[str, Path]) -> None:
    times = Visit(browser, pages["times"])
    assert sorted_by(times.page, "studies-caption", "Training time") == ["18.0 s", "9.0 min", "72.00 h"]
    times.context.close()
    earlier = Visit(browser, pages["earlier"])
    figures = ["9.50%", "20.00%", "30.00%", "40.00%", "50.00%", "60.00%", "85.00%", "100.00%", "–"]
    assert sorted_by(earlier.page, "other-caption", "Test accuracy") == figures
    arms = [f"batch_size={size}" for size in (8, 16, 128) for _ in range(3)]
    assert sorted_by(earlier.page, "other-caption", "Arm") == arms
    for head in ("Last", "Best so far"):
        assert sorted_by(earlier.page, "partial-caption", head) == ["9.50%", "85.00%", "100.00%", "–"]
    earlier.context.close()


def test_the_filter_takes_words_and_a_status_and_says_how_many_are_left(report: Any) -> None:
    report.get_by_label("Filter").fill("norm=none")
    assert set(column(report, 1)) == {"norm=none"}
    assert report.locator("#filter-count").inner_text() == "3 of 9 rows shown"
    report.get_by_label("Status").select_option("failed")
    assert column(report, 3) == ["failed"]
    report.get_by_label("Filter").fill("")
    report.get_by_label("Status").select_option("")
    assert len(column(report, 1)) == 9


def test_a_box_hides_its_arm_in_every_picture_and_all_brings_it_back(report: Any) -> None:
    box = report.get_by_role("checkbox", name="norm=none")
    parts = report.locator(f'svg [data-arm="{box.get_attribute("value")}"]')
    others = report.locator("svg [data-arm]")
    assert parts.count() > 5
    box.uncheck()
    assert parts.evaluate_all("all => all.every(part => getComputedStyle(part).display === 'none')")
    assert not others.evaluate_all("all => all.every(part => getComputedStyle(part).display === 'none')")
    report.get_by_role("button", name="all / none").click()
    assert parts.evaluate_all("all => all.every(part => getComputedStyle(part).display !== 'none')")


def test_values_are_read_by_pointer_and_by_arrow_keys(report: Any) -> None:
    canvas = report.locator("[data-hover]")
    canvas.scroll_into_view_if_needed()
    frame = canvas.locator("svg").bounding_box()
    report.mouse.move(frame["x"] + frame["width"] * 0.3, frame["y"] + frame["height"] * 0.25)
    tip = canvas.locator(".tip")
    assert "training loss (nats)" in tip.inner_text()
    assert "norm=group" in tip.inner_text()
    report.mouse.move(0, 0)
    assert tip.is_hidden()
    canvas.focus()
    canvas.press("ArrowDown")
    canvas.press("ArrowLeft")
    shown = tip.inner_text()
    canvas.press("ArrowRight")
    assert tip.inner_text() != shown
    canvas.press("Escape")
    assert tip.is_hidden()


@pytest.mark.parametrize(("scheme", "surface"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 26)")])
def test_page_and_pictures_follow_the_color_scheme(
    scheme: str, surface: str, browser: Any, pages: dict[str, Path]
) -> None:
    visit = Visit(browser, pages["report"], scheme=scheme)
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == surface
    background = visit.page.locator("svg path").first
    assert background.evaluate("path => getComputedStyle(path).fill") == surface
    visit.context.close()


def test_paper_is_light_without_controls_and_with_every_detail_open(browser: Any, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages["report"], scheme="dark")
    visit.page.emulate_media(media="print")
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for control in ("nav", "#filter-words", "fieldset.arms"):
        assert visit.page.locator(control).first.is_hidden()
    assert visit.page.locator("details:not([open])").count() == 0
    assert len(visit.page.pdf()) > 10_000
    visit.context.close()


def test_the_keyboard_reaches_the_results_first(report: Any) -> None:
    report.keyboard.press("Tab")
    assert report.evaluate("document.activeElement.textContent") == "Skip to the results"
    landmarks = report.locator("main, nav, header, footer")
    assert landmarks.count() == 4
    assert report.locator("h1").count() == 1

"""The pages in a real Chromium: no errors, nothing sticks out, axe, keyboard, and the flow from sign-in to report."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from served import Served, sign_in

from bench.make_store import Truth, write_store
from tests.support.browser import axe, needs_chromium
from tune_app.storage import Folder
from tune_app.tuning.store.live import LiveWriter, RunningTrial
from tune_app.web import runs

pytestmark = needs_chromium
PAGES = {
    "studies": "/",
    "complete study": "/studies/norms",
    "running study": "/studies/running",
    "search": "/studies/lr-search",
    "trials": "/studies/norms/trials",
    "editor": "/new",
    "queue": "/queue",
    "tokens": "/tokens",
    "compare": "/compare?study=norms&study=running",
    "api": "/api",
}
# Stands in for `tune-app run`: writes a finished store, bit by bit, when it is allowed to.
FAKE_RUN = """
import pathlib, shutil, signal, sys, time
file, source, results = map(pathlib.Path, sys.argv[1:4])
stopped = []
signal.signal(signal.SIGINT, lambda *_: stopped.append(1))
store = results / "norms-two"
for name in ("trials", "epochs"):
    (store / name).mkdir(parents=True, exist_ok=True)
text = (source / "study.yaml").read_text().replace("name: norms", "name: norms-two")
(store / "study.yaml").write_text(text)
print("training", flush=True)
for path in sorted((source / "trials").iterdir()):
    if (store / "trials" / path.name).exists():
        continue
    while not (results / "go").exists() and len(list((store / "trials").iterdir())) >= 4:
        if stopped:
            print("interrupted", flush=True)
            sys.exit(130)
        time.sleep(0.02)
    shutil.copy(source / "epochs" / path.name, store / "epochs" / path.name)
    shutil.copy(path, store / "trials" / path.name)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    results = tmp_path_factory.mktemp("served")
    truth = Truth({"model.norm=none": -0.05, "batch_size=32": 0.02}, statuses={("norm=none", 1): "failed"})
    write_store(results / "norms", truth=truth, name="norms", question="Does the norm matter?", extras=False)
    store = write_store(results / "running", truth=truth, name="running", extras=False)
    trials = []
    for path in sorted((store / "trials").iterdir())[:4]:
        digest, fingerprint = path.stem.split("-")
        path.unlink()
        points = {"val_accuracy": [(1, 0.3), (2, 0.5)]}
        trials.append(RunningTrial(digest, fingerprint, "", 0, 2, 10, "host", 0.25, points=points))
    live = LiveWriter(Folder(str(store)), "running", clock=lambda: 4e9)  # never out of date
    live.update(trials[:2], {"completed": 3}, 7, 13, seconds_left=75)
    space = {"optimizer.lr": {"loguniform": [0.001, 1.0]}}
    write_store(results / "lr-search", space=space, name="lr-search", trials=30, epochs=9, extras=False)
    server = Served(results)
    yield server
    server.stop()
    server.app.state.service.close()


@pytest.fixture(scope="module", params=[(1300, "light"), (390, "dark")], ids=["wide", "narrow"])
def signed_in(request: pytest.FixtureRequest, browser: Any, served: Served) -> Iterator[Any]:
    width, scheme = request.param
    page = sign_in(browser, served, width, scheme, bypass_csp=False)
    yield page
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_no_errors_and_nothing_sticks_out(name: str, signed_in: Any, served: Served) -> None:
    requests: list[str] = []
    signed_in.on("request", lambda request: requests.append(request.url))
    signed_in.logged.clear()
    signed_in.goto(served.url(PAGES[name]), wait_until="networkidle")
    assert signed_in.logged == []
    assert signed_in.evaluate("document.documentElement.scrollWidth") <= signed_in.viewport_size["width"]
    assert all(url.startswith(served.url("/")) for url in requests)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_on_any_page(scheme: str, browser: Any, served: Served) -> None:
    page = sign_in(browser, served, scheme=scheme, bypass_csp=True)
    failed = page.request.get(served.url("/api/v1/studies/norms/trials?status=failed")).json()["trials"][0]["key"]
    for path in [*PAGES.values(), f"/studies/norms/trials/{failed}", "/login", "/studies/nothing"]:
        page.goto(served.url(path), wait_until="networkidle")
        found = axe(page)
        assert found.violations_count == 0, (path, found.generate_report())
    page.context.close()


def test_curves_are_drawn_and_arms_can_be_hidden(browser: Any, served: Served) -> None:
    page = sign_in(browser, served)
    page.goto(served.url("/studies/norms"))
    page.wait_for_selector(".chart canvas")
    assert page.get_by_label("Smoothing").input_value() == "0"
    for label in page.locator("#curve-legend label").all():
        label.locator("input").uncheck()
    assert page.locator(".chart .empty").inner_text() == "No arm is chosen."
    page.get_by_label("norm=none").check()
    page.wait_for_selector(".chart canvas")
    page.get_by_label("Show").select_option("trial")
    page.get_by_label("logarithmic scale").check()
    page.wait_for_selector(".chart canvas")
    assert page.logged == []
    page.context.close()


def test_the_editor_completes_keys_and_values_from_the_schema(browser: Any, served: Served) -> None:
    page = sign_in(browser, served)
    with page.expect_response("**/api/v1/schema"):
        page.goto(served.url("/new"))
    editor, offered = page.get_by_label("Study (YAML)"), page.locator("#completions button")
    editor.fill("name: x\nbaseline:\n  model:\n    ")
    editor.press("End")
    editor.press_sequentially("nor")
    offered.first.wait_for()
    assert offered.all_inner_texts() == ["norm", "norm_groups", "norm_placement"]
    editor.press("Control+Space")
    assert editor.input_value().endswith("    norm: ")
    editor.press_sequentially("torch_b")
    page.get_by_role("button", name="torch_batch", exact=True).click()
    assert editor.input_value().endswith("norm: torch_batch")
    editor.fill("search: {sear")
    editor.press("End")
    assert offered.all_inner_texts() == ["searcher"]
    assert page.logged == []
    page.context.close()


def test_the_keyboard_reaches_the_content_and_paper_has_no_controls(browser: Any, served: Served) -> None:
    page = sign_in(browser, served)
    page.goto(served.url("/studies/norms"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.emulate_media(media="print")
    for control in ("nav", ".chart-controls", ".actions"):
        assert page.locator(control).first.is_hidden()
    page.context.close()


def test_what_was_opened_scrolled_and_focused_stays_when_the_page_is_brought_up_to_date(
    browser: Any, served: Served
) -> None:
    page, numbers = sign_in(browser, served, width=320), count()

    def changed(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=f"{answer.text()}<!-- {next(numbers)} -->")

    page.route(re.compile("part=live"), changed)
    page.goto(served.url("/studies/running"))
    cells = page.get_by_role("region", name="Cells, table")
    page.get_by_text("Cost of each arm").click()
    cells.focus()
    cells.evaluate("part => { part.scrollLeft = 40; part.dataset.before = 'yes'; }")
    page.wait_for_selector("[data-before]", state="detached")
    assert cells.evaluate("part => [part.scrollLeft, part === document.activeElement]") == [40, True]
    assert page.get_by_role("region", name="Cost of each arm, table").is_visible()
    assert page.logged == []
    page.context.close()


def test_a_lost_connection_is_shown_and_recovered_from(browser: Any, served: Served) -> None:
    page = sign_in(browser, served)
    page.goto(served.url("/"), wait_until="networkidle")
    assert page.locator("#connection").is_hidden()
    served.stop()
    page.wait_for_selector("#connection:not([hidden])")
    assert "Connection lost" in page.locator("#connection").inner_text()
    served.start()
    page.wait_for_selector("#connection", state="hidden")
    page.context.close()


def test_the_notice_goes_away_on_pages_without_polled_parts_too(browser: Any, served: Served) -> None:
    page = sign_in(browser, served)
    key = page.request.get(served.url("/api/v1/studies/norms/trials")).json()["trials"][0]["key"]
    for path, shown in ((f"/studies/norms/trials/{key}", ".chart canvas"), ("/new", "#check .lead")):
        page.goto(served.url(path))
        page.wait_for_selector(shown)
        served.stop()
        if path == "/new":
            page.get_by_label("Size").fill("none")
        page.get_by_text("Connection lost").wait_for()
        served.start()
        page.wait_for_selector("#connection", state="hidden")
    page.wait_for_selector(".mistakes .error")  # checked again without a change
    page.context.close()


def end_sessions(served: Served) -> None:
    served.app.state.service.database.execute("DELETE FROM sessions")


def test_a_session_that_ends_leads_to_sign_in_and_back_to_the_page(browser: Any, served: Served) -> None:
    page = sign_in(browser, served)
    page.goto(served.url("/compare?study=norms"))
    key = page.request.get(served.url("/api/v1/studies/norms/trials")).json()["trials"][0]["key"]
    for path in ("/?q=norm&state=complete", f"/studies/norms/trials/{key}"):
        page.goto(served.url(path))
        end_sessions(served)
        page.wait_for_url("**/login?target=*")
        page.get_by_label("Token").fill("mistyped")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("This token is not valid").wait_for()
        page.get_by_label("Token").fill(served.token)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(served.url(path))
    page.context.close()


def test_what_is_written_in_the_editor_is_kept_when_the_session_ends(browser: Any, served: Served) -> None:
    page = sign_in(browser, served)
    page.goto(served.url("/new"))
    page.wait_for_selector("#check .lead")
    editor, written = page.get_by_label("Study (YAML)"), "name: mine\nfactors: {model.norm: [batch, none]}\n"
    end_sessions(served)
    editor.fill(written)
    page.get_by_text("Not checked: the session has ended").wait_for()
    page.get_by_role("button", name="Start").click()
    page.get_by_text("so nothing was done").wait_for()
    other = page.context.new_page()
    other.goto(served.url("/login"))
    other.get_by_label("Token").fill(served.token)
    other.get_by_role("button", name="Sign in").click()
    other.wait_for_url(served.url("/"))
    page.go_back()
    assert editor.input_value() == written
    page.get_by_text("2 arms").wait_for()
    page.evaluate("window.before = true")
    end_sessions(served)
    page.get_by_label("Overrides").fill("seeds=3")
    page.get_by_text("Not checked: the session has ended").wait_for()
    other.goto(served.url("/login"))
    other.get_by_label("Token").fill(served.token)
    other.get_by_role("button", name="Sign in").click()
    page.get_by_text("2 arms × 3 seeds").wait_for()  # checked again without a change
    assert page.evaluate("window.before")
    page.context.close()


def test_a_study_that_is_no_longer_there_has_a_notice(browser: Any, served: Served) -> None:
    store = write_store(served.results / "gone", name="gone", extras=False)
    page = sign_in(browser, served)
    page.goto(served.url("/studies/gone"))
    page.wait_for_selector(".chart canvas")
    store.rename(served.results / ".gone")
    served.app.state.service.index.forget_listing()
    page.get_by_role("link", name="Studies").evaluate("link => fetch(link.href)")  # the server lists the folder again
    page.get_by_text("the server answers 404. Load the page again").wait_for()
    page.context.close()


def test_a_logarithmic_scale_shows_bands_that_reach_zero_and_says_why_it_is_not_there(
    browser: Any, served: Served
) -> None:
    page = sign_in(browser, served)
    change: dict[str, float] = {}

    def changed(route: Any) -> None:
        found = route.fetch().json()
        for curve in found["curves"]:
            curve.update({name: [value, *curve[name][1:]] for name, value in change.items()})
        route.fulfill(json=found)

    page.route(re.compile("/curves"), changed)
    note = page.locator("#curve-note")
    for name, value, words in (
        ("low", -1.0, "the band ends at the foot of the logarithmic scale"),
        ("values", 0.0, "The scale is linear"),
    ):
        change[name] = value
        page.goto(served.url("/studies/norms"))
        page.wait_for_selector(".chart canvas")
        assert words not in note.inner_text()
        page.get_by_label("logarithmic scale").check()
        page.wait_for_selector(".chart canvas")
        assert words in note.inner_text()
    assert page.logged == []
    page.context.close()


def test_curves_without_a_value_say_so(browser: Any, served: Served) -> None:
    page = sign_in(browser, served)

    def emptied(route: Any) -> None:
        found = route.fetch().json()
        for curve in found["curves"]:
            curve.update(values=[None] * len(curve["epochs"]), low=None, high=None)
        route.fulfill(json=found)

    page.route(re.compile("/curves"), emptied)
    page.goto(served.url("/studies/norms"))
    page.get_by_text("No trial has values of this metric yet.").wait_for()
    page.context.close()


def test_a_hidden_tab_asks_for_nothing(browser: Any, served: Served) -> None:
    page = sign_in(browser, served, bypass_csp=True)
    page.add_init_script(
        "Object.defineProperty(document, 'visibilityState', {get: () => window.shownState || 'visible'})"
    )
    page.goto(served.url("/"), wait_until="networkidle")
    polls = []
    page.evaluate("document.body.addEventListener('poll', () => { window.polls = (window.polls || 0) + 1; })")
    page.wait_for_function("window.polls >= 1")
    page.evaluate("window.shownState = 'hidden'; window.polls = 0")
    page.wait_for_timeout(2500)
    polls.append(page.evaluate("window.polls"))
    page.evaluate("window.shownState = 'visible'; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_function("window.polls >= 1")
    assert polls == [0]
    page.context.close()


def test_from_the_editor_to_the_report(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results"
    source = write_store(tmp_path / "norms", name="norms", truth=Truth({"model.norm=none": -0.05}), extras=False)

    def command(file: str, settings: Any, *options: Any) -> list[str]:
        return [sys.executable, "-c", FAKE_RUN, file, str(source), settings.results]

    monkeypatch.setattr(runs, "command_of", command)
    results.mkdir()
    served = Served(results)
    service = served.app.state.service
    service.start()
    try:
        page = sign_in(browser, served)
        page.goto(served.url("/new"))
        editor = page.get_by_label("Study (YAML)")
        editor.fill("name: norms-two\nbaseline: {model: {depth: 9}}\nfactors: {model.norm: [batch, none]}\n")
        page.wait_for_selector(".mistakes .error")
        assert "6n+2" in page.locator(".mistakes .error").inner_text()
        text = (source / "study.yaml").read_text().replace("name: norms", "name: norms-two")
        editor.fill("\n".join(line for line in text.splitlines() if not line.startswith("reference_arm")))
        page.wait_for_selector("#check .lead")
        assert "20 to train" in page.locator("#check .lead").inner_text()
        page.get_by_role("button", name="Start").click()
        page.wait_for_url("**/queue*")
        page.get_by_role("link", name="norms-two").click(timeout=60_000)
        page.locator("td.cell.completed").nth(3).wait_for(timeout=60_000)
        assert "not yet decided: 16 of 20 cells are missing" in page.locator("main").inner_text()
        page.wait_for_selector(".chart canvas")
        page.get_by_role("button", name="Stop").click()
        page.wait_for_selector(".state.incomplete", timeout=60_000)
        (results / "go").touch()
        page.get_by_role("button", name="Resume").click()
        page.wait_for_selector(".state.complete", timeout=60_000)
        page.wait_for_selector(".verdict.worse", timeout=60_000)
        page.get_by_role("link", name="Full report").click(no_wait_after=True)
        page.wait_for_url("**/report", timeout=120_000)
        assert "norms-two" in page.content()
        page.go_back()
        page.get_by_role("link", name="Extend").click()
        page.wait_for_selector("#check .lead")
        assert "20 done, 0 to train" in page.locator("#check .lead").inner_text()
        page.context.close()
    finally:
        served.stop()
        service.close()

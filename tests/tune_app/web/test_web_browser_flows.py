"""Whole flows in Chromium over real and large stores: a real second study, 10,000 trials, two browsers at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, sign_in

from bench.make_store import write_store
from search_spaces.study_files import read_study
from tests.support.browser import needs_chromium
from tune_app.tuning.runner import run_study
from tune_app.web.pages import GRID_ARMS

pytestmark = needs_chromium
SMALL = [
    "data.train_size=40", "data.validation_size=40", "data.test_size=40", "model.width=4", "batch_size=20",
    "epochs=1", "precision=float32", "seeds=2", "factors.model.norm=[torch_batch, none]", "checkpoint_seconds=0",
]  # fmt: skip
SECOND = """
name: second
question: Does the rate matter?
task: {run: "gated.train:train"}
code: {root: FOLDER}
baseline: {epochs: 300}
factors: {args.rate: [0.9, 0.8]}
metrics: {val_loss: {better: lower}, test_loss: {better: lower}}
metric: test_loss
rope: 0.0
seeds: 2
checkpoint_seconds: 0
"""
# An epoch ends when the file `gate` allows it, so the test decides how far training is.
TRAIN = """
import time
from pathlib import Path

import torch
from tune_app.web.pages import GRID_ARMS

GATE = Path(__file__).parent.with_name("gate")


def train(context, rate: float = 0.9):
    net = torch.nn.Linear(1, 1)
    for epoch in range(context.register(net=net), context.epochs + 1):
        while int(GATE.read_text() or 0) < epoch:
            time.sleep(0.01)
        yield {"val_loss": rate**epoch + 0.001 * context.seed}
    yield context.final({"test_loss": rate + 0.001 * context.seed})
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that trains inline, over the quickstart's store in a small size."""
    results = tmp_path_factory.mktemp("demo")
    run_study(read_study("quickstart", None, SMALL), str(results), executor="inline")
    served = Served(results, inline=True)
    served.app.state.service.start()
    yield served
    served.stop()
    served.app.state.service.close()


class Gate:
    """Lets the training go on, one epoch at a time or to its end."""

    def __init__(self, folder: Path) -> None:
        (folder / "gated").mkdir(parents=True)
        (folder / "gated" / "train.py").write_text(TRAIN)
        self.folder, self.file, self.epoch = folder, folder / "gate", 0
        self.allow(1)

    def allow(self, epochs: int) -> None:
        self.epoch += epochs
        self.file.with_suffix(".new").write_text(str(self.epoch))
        self.file.with_suffix(".new").replace(self.file)

    def until(self, page: Any, condition: Callable[[], bool]) -> None:
        while not condition():
            self.allow(1)
            page.wait_for_timeout(200)


@pytest.mark.timeout(600)
def test_a_second_study_is_started_watched_stopped_resumed_and_reported(
    browser: Any, demo: Served, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    page = sign_in(browser, demo)
    page.goto(demo.url("/"))
    page.get_by_role("link", name="quickstart").click()
    page.wait_for_selector(".verdict", timeout=60_000)
    page.get_by_role("link", name="New study").click()
    page.get_by_label("Study (YAML)").fill(SECOND.replace("FOLDER", str(tmp_path)))
    page.get_by_text("0 done, 4 to train").wait_for(timeout=60_000)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/queue*")
    page.get_by_role("link", name="second").click(timeout=120_000)
    gate.until(page, lambda: page.locator("td.cell.running").count() > 0 and page.locator(".chart canvas").count() > 0)
    assert page.locator("#curve-metric").input_value() == "val_loss"
    shown = page.locator("td.cell.running").inner_text()
    gate.until(page, lambda: page.locator("td.cell.running").inner_text() != shown)
    page.get_by_role("button", name="Stop").click()
    gate.until(page, lambda: page.locator(".status-line .state.incomplete").count() > 0)
    assert "not yet decided: 4 of 4 cells are missing" in page.locator("main").inner_text()
    page.get_by_role("button", name="Resume").click()
    gate.allow(1000)
    page.locator(".status-line .state.complete").wait_for(timeout=300_000)
    page.wait_for_selector(".verdict", timeout=60_000)
    runs = page.request.get(demo.url("/api/v1/runs?study=second")).json()["runs"]
    assert [run["state"] for run in runs] == ["finished", "stopped"]
    page.get_by_role("link", name="Full report").click(no_wait_after=True)
    page.wait_for_url("**/report", timeout=120_000)
    assert "Does the rate matter?" in page.content()
    assert page.logged == []
    page.context.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over a study of 10,000 trials, compacted."""
    results = tmp_path_factory.mktemp("large")
    factors = {"optimizer.lr": [round(0.01 * step, 2) for step in range(1, 101)]}
    write_store(results / "many", factors=factors, seeds=100, epochs=2, extras=False, compact=True, name="many")
    served = Served(results)
    yield served
    served.stop()
    served.app.state.service.close()


@pytest.mark.timeout(600)
def test_ten_thousand_trials_stay_usable(browser: Any, large: Served) -> None:
    page = sign_in(browser, large)
    page.set_default_timeout(120_000)
    page.goto(large.url("/studies/many"))
    page.wait_for_selector(".chart canvas")
    assert "10000 of 10000 cells finished" in page.locator("main").inner_text()
    assert page.locator("table.grid tbody tr").count() == GRID_ARMS
    assert page.evaluate("document.getElementsByTagName('*').length") < 30_000
    page.get_by_role("link", name="All trials").last.click()
    assert "100 of 10000 matching trials" in page.locator("main").inner_text()
    page.get_by_role("link", name="Next page").click()
    page.get_by_label("Search").fill("lr=0.37")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("100 of 100 matching trials").wait_for()
    page.get_by_role("link", name="lr=0.37").first.click()
    page.get_by_role("heading", name="lr=0.37").wait_for()
    assert page.logged == []
    page.context.close()


def test_what_one_browser_does_the_other_sees(browser: Any, tmp_path: Path) -> None:
    write_store(tmp_path / "results" / "norms", name="norms", extras=False)
    served = Served(tmp_path / "results", state=tmp_path / "state")  # its queue is not worked on
    try:
        anna, ben = sign_in(browser, served), sign_in(browser, served, width=390)
        ben.goto(served.url("/queue"))
        anna.goto(served.url("/new?study=norms"))
        anna.get_by_role("button", name="Start").click()
        ben.locator(".state.queued").wait_for()
        label = "cell => getComputedStyle(cell, '::before').content"
        assert ben.locator("td", has_text=re.compile("^0$")).evaluate(label) == '"priority "'
        third = anna.context.new_page()
        third.goto(anna.url)
        third.get_by_role("link", name="Log of run").click()
        third.locator(".state.queued").wait_for()
        anna.goto(served.url("/studies/norms"))
        anna.locator(".plain-list .state.queued").wait_for()
        ben.get_by_role("button", name="Stop norms").click()
        anna.get_by_role("link", name="Extend").wait_for()
        anna.locator(".plain-list .state.stopped").wait_for()
        third.get_by_text("taken out of the queue").wait_for()
        assert third.locator(".state.stopped").count() == 1
        assert anna.get_by_role("button", name="Stop").count() == 0
        anna.context.close()
        ben.context.close()
    finally:
        served.stop()
        served.app.state.service.close()

"""The page of `make bench`: figures beside what is wanted of them."""

from __future__ import annotations

import pytest

from bench.page import Goal, goal, page

ABOUT = {"training": "Images per second.", "start": "Seconds.", "ray": "What a trial costs."}


def result(**figures):
    return {"at": "2026-01-02T03:04:05+00:00", "load": 0.25, "machine": "2 cores", "figures": figures}


def test_a_figure_that_misses_what_is_wanted_is_marked():
    found = page({"start": result(**{"start.floor": 4.0, "start.help": 0.4, "start.typo": 0.6})}, ABOUT)
    lines = found.splitlines()
    assert "| start.floor | 4 |  |" in lines
    assert "| start.help | 0.4 | at most 0.5 |" in lines
    assert "| start.typo | 0.6 | at most 0.5: **not met** |" in lines
    assert "Measured on 2026-01-02: 2 cores; load average before 0.2." in lines


def test_sections_have_the_order_of_the_measurements_and_say_what_they_are():
    found = page({"ray": result(x=1.0), "training": result(y=12345.6)}, ABOUT)
    assert found.index("## Training") < found.index("## Ray")
    assert "\n\nWhat a trial costs.\n\n| figure" in found
    assert "| y | 12,346 |" in found
    assert "## Start" not in found


@pytest.mark.parametrize(("value", "met"), [(0.69, False), (0.7, True), (1.3, True), (1.31, False)])
def test_a_goal_may_have_two_bounds(value, met):
    both = goal("estimate.run_over_took")
    assert both is not None
    assert both.says() == "at least 0.7 and at most 1.3"
    assert both.is_met(value) is met


def test_of_most_figures_nothing_is_wanted():
    assert goal("start.floor") is None
    assert goal("norms.batch_over_torch.float32") == Goal(r"norms\..*", high=1.5)

"""What the pictures of searches, clusters and landscapes are drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import load_study
from analysis.plots._axis import field_axis
from analysis.plots.contour import contour_data
from analysis.plots.history import history_data
from analysis.plots.landscape import loss_levels
from analysis.plots.parallel import draw_parallel, search_data
from analysis.plots.power import power_data
from analysis.plots.rungs import rung_data
from analysis.plots.timeline import MOST_SHARE, draw_timeline, timeline_data
from analysis.stats.flatness import surface_data
from search_spaces.metrics import IMAGE_METRICS

HOUR = pd.Timedelta(hours=1)
START = pd.Timestamp("2026-01-01", tz="UTC")


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [("val_accuracy", [0.5, 0.4, 0.7], [0.5, 0.5, 0.7]), ("val_loss", [0.5, 0.4, 0.7], [0.5, 0.4, 0.4])],
)
def test_the_best_so_far_follows_the_order_of_start(metric: str, values: list[float], best: list[float]) -> None:
    table = pd.DataFrame({metric: values, "status": "completed", "started_at": [START + i * HOUR for i in range(3)]})
    history = history_data(table.iloc[::-1], IMAGE_METRICS[metric])
    assert history["value"].tolist() == values
    assert history["best"].tolist() == best


def test_rungs_count_who_got_there_and_who_ended_there() -> None:
    table = pd.DataFrame(
        {"epochs_trained": [1, 1, 3, 9, 9], "status": ["pruned", "failed", "pruned", "completed", "completed"]}
    )
    rungs = rung_data(table)
    assert rungs["epoch"].tolist() == [1, 3, 9]
    assert rungs["reached"].tolist() == [5, 3, 2]
    assert rungs["pruned"].tolist() == [1, 1, 0]
    assert rungs["completed"].tolist() == [0, 0, 2]


def test_trials_that_overlap_on_a_node_are_stacked_and_use_what_is_free() -> None:
    table = pd.DataFrame(
        {
            "node": "n",
            "gpus": 0.5,
            "cpus": 1.0,
            "status": "completed",
            "started_at": [START, START, START + HOUR],
            "finished_at": [START + HOUR, START + 2 * HOUR, START + 2 * HOUR],
        }
    )
    timeline = timeline_data(table)
    assert timeline["base"].tolist() == [0.0, 0.5, 0.0]
    assert timeline["end"].tolist() == [1.0, 2.0, 2.0]


def test_a_trial_without_a_gpu_is_as_high_as_its_cpus() -> None:
    table = pd.DataFrame(
        {
            "node": ["n"],
            "gpus": [0.0],
            "cpus": [2.0],
            "status": ["failed"],
            "started_at": [START],
            "finished_at": [START],
        }
    )
    assert timeline_data(table)[["share", "on_gpu"]].to_numpy().tolist() == [[2.0, False]]


def test_a_share_that_no_axis_can_show_is_drawn_with_the_most(ablation: Path) -> None:
    trials = load_study(ablation).trials.assign(cpus=[1e308, np.inf, -1.0, *[1.0] * 17], gpus=0.0)
    timeline = timeline_data(trials)
    assert sorted(timeline["share"])[-2:] == [MOST_SHARE] * 2
    assert timeline["share"].min() == 0.0
    draw_timeline(timeline).figure.canvas.draw()


def test_no_two_bars_of_a_node_overlap_in_time_and_height() -> None:
    rng = np.random.default_rng(0)
    begun = rng.uniform(0, 10, 60)
    table = pd.DataFrame(
        {
            "node": rng.choice(["a", "b"], 60),
            "gpus": rng.choice([0.25, 0.5, 1.0], 60),
            "cpus": 1.0,
            "status": "completed",
            "started_at": START + pd.to_timedelta(begun, "h"),
            "finished_at": START + pd.to_timedelta(begun + rng.uniform(0.1, 3, 60), "h"),
        }
    )
    for _, node in timeline_data(table).groupby("node"):
        bars = node[["start", "end", "base", "share"]].to_numpy(float)
        for i, (start, end, base, share) in enumerate(bars):
            for other_start, other_end, other_base, other_share in bars[:i]:
                in_time = min(end, other_end) - max(start, other_start) > 1e-6
                in_height = min(base + share, other_base + other_share) - max(base, other_base) > 1e-6
                assert not (in_time and in_height)


def test_fields_are_numeric_logarithmic_or_categorical() -> None:
    assert not field_axis(pd.Series([1, 2, 3]), "depth").is_log
    assert field_axis(pd.Series([1e-4, 1e-1]), "lr").is_log
    assert field_axis(pd.Series(["b", "a", "b"]), "norm").places.tolist() == [1, 0, 1]
    assert field_axis(pd.Series([True, False]), "flip").levels == ("False", "True")
    assert field_axis(pd.Series([1, "x"]), "mixed").levels == ("1", "x")


def test_a_missing_value_is_the_level_null() -> None:
    groups = field_axis(pd.Series([4, None, 16, 8]), "groups")
    assert (groups.levels, groups.places.tolist()) == (("4", "8", "16", "null"), [0, 3, 2, 1])
    norm = field_axis(pd.Series(["b", None, "a"]), "norm")
    assert (norm.levels, norm.places.tolist()) == (("a", "b", "null"), [1, 2, 0])


def test_places_are_scaled_by_the_logarithm_where_the_axis_is() -> None:
    assert field_axis(pd.Series([1e-4, 1e-2, 1.0]), "lr").unit_places.tolist() == pytest.approx([0, 0.5, 1])
    assert field_axis(pd.Series([7, 7]), "same").unit_places.tolist() == [0.5, 0.5]
    assert field_axis(pd.Series([1e-4, 1.0]), "lr").ends() == ("0.0001", "1")


def test_the_smooth_map_keeps_a_constant_and_is_silent_far_from_trials() -> None:
    near = field_axis(pd.Series([0.0, 0.1, 10.0]), "x")
    field = contour_data(near, near, np.array([2.0, 2.0, 2.0]))
    assert np.nanmin(field) == pytest.approx(2.0)
    assert np.nanmax(field) == pytest.approx(2.0)
    assert np.isnan(field[0, -1])


def test_search_rows_hold_values_by_name_and_leave_out_trials_without_a_figure() -> None:
    table = pd.DataFrame({"factor:lr": [0.1, 0.2], "val_accuracy": [0.5, np.nan], "status": "completed"})
    assert search_data(table, ["lr"], "val_accuracy").to_numpy().tolist() == [[0.1, 0.5, "completed"]]


def test_a_surface_is_read_row_by_row_with_gaps() -> None:
    table = pd.DataFrame({"digest": "d", "surface": "s", "x": [0, 1, 0.0], "y": [0, 0, 1.0], "loss": [1.0, 2.0, 3.0]})
    x, y, loss = surface_data(table, "d", "s")
    assert (x.tolist(), y.tolist()) == ([0, 1], [0, 1])
    assert loss[:, 0].tolist() == [1.0, 3.0]
    assert np.isnan(loss[1, 1])


def test_contour_levels_span_the_finite_losses() -> None:
    levels = loss_levels(np.array([0.1, 10.0, np.nan, np.inf]))
    assert (levels[0], levels[-1]) == (pytest.approx(0.1), pytest.approx(10.0))
    assert np.all(np.diff(levels) > 0)
    assert np.all(np.diff(loss_levels(np.full(3, 0.5))) > 0)


def test_power_rises_with_seeds_and_with_the_difference() -> None:
    powers = power_data(0.004, [0.002, 0.008], seeds=[3, 10])
    wide = powers.pivot(index="n", columns="difference", values="power")
    assert (wide.diff().iloc[1] > 0).all()
    assert (wide[0.008] > wide[0.002]).all()


@pytest.mark.parametrize(("metric", "far"), [("val_loss", 900.0), ("val_accuracy", -900.0)])
def test_one_trial_that_is_far_worse_does_not_press_the_others_to_one_end(metric: str, far: float) -> None:
    values = [*np.linspace(0.3, 0.9, 99), far]
    search = pd.DataFrame({"optimizer.lr": np.linspace(0.1, 1, 100), "value": values, "status": "completed"})
    picture = draw_parallel(search, metric=IMAGE_METRICS[metric])
    (lines,) = picture.figure.axes[0].collections
    ends = sorted(points[-1, 1] for points in lines.get_segments())
    assert ends[-2] - ends[1] > 0.9

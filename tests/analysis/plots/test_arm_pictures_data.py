"""What the pictures of arms are drawn from, held to figures worked out by hand or by SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from scipy import stats

from analysis.plots._words import replicate_count, sentence_case
from analysis.plots.confusion import confusion_data
from analysis.plots.cost import cost_data
from analysis.plots.curves import curve_caption, curve_data, draw_arms
from analysis.plots.heatmap import draw_heat_map
from analysis.plots.interaction import draw_interaction, levels_in_order, two_factor_data
from analysis.plots.quantiles import draw_quantiles, quantile_data
from analysis.plots.reported import draw_reported
from analysis.plots.studies import studies_data
from analysis.plots.style import arm_styles
from analysis.stats.means import mean_data, reported_data, seed_data
from search_spaces.metrics import IMAGE_METRICS, Metric
from search_spaces.published import Figure


def epochs(rows: list[tuple[str, str, str, int, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["arm", "digest", "status", "epoch", "val_loss"])


def test_a_mean_curve_is_over_completed_trials_with_the_t_interval() -> None:
    values = [0.5, 0.7, 0.9]
    table = epochs([("a", f"d{i}", "completed", 1, value) for i, value in enumerate(values)])
    row = curve_data(table, ["val_loss"]).iloc[0]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (row["kind"], row["n"], row["value"]) == ("mean", 3, pytest.approx(0.7))
    assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))


def test_a_stopped_trial_has_its_own_curve_and_does_not_bend_the_mean() -> None:
    table = epochs(
        [("a", "full", "completed", epoch, 1.0) for epoch in (1, 2, 3)]
        + [("a", "cut", "pruned", epoch, 9.0) for epoch in (1, 2)]
    )
    curves = curve_data(table, ["val_loss"])
    assert curves.loc[curves["kind"] == "mean", "value"].tolist() == [1.0, 1.0, 1.0]
    cut = curves[curves["kind"] == "pruned"]
    assert (cut["trial"].unique().tolist(), cut["epoch"].max()) == (["cut"], 2)
    assert "1 pruned" in curve_caption(curves, stopped=True)


def test_one_seed_has_a_mean_but_no_interval() -> None:
    row = curve_data(epochs([("a", "d", "completed", 1, 0.5)]), ["val_loss"]).iloc[0]
    assert row["value"] == 0.5
    assert np.isnan(row["low"])


def test_curves_of_no_epochs_are_an_empty_table_with_columns() -> None:
    assert list(curve_data(epochs([]), ["val_loss"]).columns)[:3] == ["metric", "arm", "kind"]


def test_an_arm_without_a_positive_value_stands_beside_one_with_a_logarithmic_axis() -> None:
    falling = [("a", "d0", "completed", epoch, 10.0**-epoch) for epoch in range(4)]
    zero = [("b", "d1", "completed", epoch, 0.0) for epoch in range(4)]
    curves = curve_data(epochs(falling + zero), ["val_loss"])
    figure = draw_arms(curves, arm_styles("ab"), {"val_loss": IMAGE_METRICS["val_loss"]}).figure
    first, second = figure.axes
    assert (first.get_yscale(), second.get_yscale()) == ("log", "linear")
    assert numbered(first, "y")
    assert numbered(second, "y")
    assert 0 < first.get_ylim()[0] < 1e-3 < 1 < first.get_ylim()[1]
    assert second.get_ylim()[0] <= 0 <= second.get_ylim()[1]


def numbered(ax: Axes, axis: str) -> bool:
    """Return whether an axis of the panel has numbers."""
    ticks = ax.xaxis.get_major_ticks() if axis == "x" else ax.yaxis.get_major_ticks()
    return any(tick.label1.get_visible() for tick in ticks)


def test_each_panel_can_be_read_from_the_numbers_beside_and_below_it() -> None:
    """Six arms in four columns: two columns end one row above the others."""
    arms = "abcdef"
    losses = epochs([(arm, f"d{arm}", "completed", epoch, 1 / epoch) for arm in arms for epoch in (1, 2)])
    curves = curve_data(losses.assign(val_accuracy=1 - losses["val_loss"]), ["val_loss", "val_accuracy"])
    records = {name: IMAGE_METRICS[name] for name in ("val_loss", "val_accuracy")}
    grid = draw_arms(curves, arm_styles(arms), records).figure.axes
    assert len(grid) == len(arms) * 2
    left, right, upper, lower = grid[0], grid[1], grid[0], grid[4]
    assert (numbered(left, "y"), numbered(right, "y")) == (True, False)
    assert (numbered(upper, "x"), numbered(lower, "x")) == (False, True)
    quantiles = pd.DataFrame([(arm, e, 20, 0.1, 1) for arm in arms for e in (1, 2)])
    quantiles.columns = pd.Index(["arm", "epoch", "percentile", "value", "n"])
    panels = draw_quantiles(quantiles, arm_styles(arms)).figure.axes
    assert [numbered(ax, "x") for ax in panels] == [False, False, True, True, True, True]
    assert [numbered(ax, "y") for ax in panels] == [True, False, False, False, True, False]


def trials(**columns: list[object]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    given = {"status": ["completed"] * n, "seed": list(range(n)), **columns}
    return pd.DataFrame(given)


def test_a_trial_that_was_not_completed_has_no_value_and_is_counted_missing() -> None:
    table = trials(arm=["a", "a", "a"], val_accuracy=[0.5, 0.6, 0.9], status=["completed", "completed", "pruned"])
    seeds = seed_data(table, "val_accuracy")
    assert seeds["value"].isna().tolist() == [False, False, True]
    row = mean_data(seeds).iloc[0]
    assert (row["n"], row["missing"], row["mean"]) == (2, 1, pytest.approx(0.55))
    half = stats.t.ppf(0.975, 1) * np.std([0.5, 0.6], ddof=1) / np.sqrt(2)
    assert row["high"] - row["mean"] == pytest.approx(half)


def test_a_figure_that_is_not_finite_is_none() -> None:
    seeds = seed_data(trials(arm=["a"] * 3, test_loss=[1.0, 3.0, np.inf]), "test_loss")
    assert mean_data(seeds).iloc[0][["n", "missing", "mean"]].tolist() == [2, 1, 2.0]


def test_two_factors_average_over_everything_else() -> None:
    table = pd.DataFrame(
        {
            "factor:norm": ["bn", "bn", "gn", "gn"],
            "factor:batch": [8, 8, 8, 128],
            "test_accuracy": [0.8, 0.9, 0.5, np.nan],
        }
    )
    pairs = two_factor_data(table, "norm", "batch", "test_accuracy")
    assert pairs[["first", "second", "n"]].to_numpy().tolist() == [["bn", 8, 2], ["gn", 8, 1]]
    assert pairs["mean"].tolist() == pytest.approx([0.85, 0.5])
    assert np.isnan(pairs.loc[1, "low"])


def test_levels_rise_where_they_are_numbers_even_as_text() -> None:
    assert levels_in_order(pd.Series(["128", "8", "32", "8"])) == ["8", "32", "128"]
    assert levels_in_order(pd.Series(["none", "batch"])) == ["none", "batch"]


def test_quantiles_are_means_over_completed_trials_of_one_layer() -> None:
    table = pd.DataFrame(
        {
            "arm": "a",
            "epoch": 1,
            "percentile": 99.0,
            "layer": ["features", "features", "features", "bn1"],
            "status": ["completed", "completed", "failed", "completed"],
            "value": [1.0, 3.0, 100.0, 50.0],
        }
    )
    found = quantile_data(table)
    assert found[["value", "n"]].to_numpy().tolist() == [[2.0, 2]]


def test_confusion_is_summed_over_seeds_by_true_and_predicted_class() -> None:
    table = trials(arm=["a", "a", "b"], test_confusion=[[3, 1, 0, 4], [2, 2, 1, 3], None], classes=[["x", "y"]] * 3)
    counts = confusion_data(table, "a")
    assert counts.to_numpy().tolist() == [[5, 3], [1, 7]]
    assert counts.loc["x", "y"] == 3
    assert counts.attrs["n"] == 2
    assert confusion_data(table, "b").empty


def test_a_damaged_confusion_matrix_is_left_out() -> None:
    matrices = [[3, 1, 0, 4], [2, 2], [1, 1, 1, 1]]
    table = trials(arm=["a"] * 3, test_confusion=matrices, classes=[["x", "y"], ["x", "y"], None])
    assert confusion_data(table, "a").to_numpy().tolist() == [[3, 1], [0, 4]]


@pytest.mark.parametrize(
    ("metric", "values", "front"),
    [("test_accuracy", [0.7, 0.9, 0.8, 0.7], ["a", "b"]), ("test_loss", [0.1, 0.1, 0.2, 0.05], ["a", "d"])],
)
def test_the_front_holds_arms_that_none_beats_in_both(metric: str, values: list[float], front: list[str]) -> None:
    table = trials(arm=list("abcd"), seconds=[1.0, 2.0, 3.0, 2.0], **{metric: values})
    costs = cost_data(table, IMAGE_METRICS[metric])
    assert costs.loc[costs["on_front"], "arm"].tolist() == front


def test_arms_of_equal_cost_and_value_are_both_on_the_front() -> None:
    costs = cost_data(
        trials(arm=["a", "b"], seconds=[1.0, 1.0], test_accuracy=[0.5, 0.5]), IMAGE_METRICS["test_accuracy"]
    )
    assert costs["on_front"].all()


def test_reported_figures_stand_beside_our_mean_interval_and_n() -> None:
    table = trials(arm=["a", "a"], test_accuracy=[0.8, 0.9])
    found = reported_data(
        table,
        [
            Figure(arm="a", value=0.95),
            Figure(arm="absent", value=0.5, note="theirs"),
            Figure(arm="a", metric="val_loss", value=0.5),  # was not recorded
        ],
    )
    assert len(found) == 2
    assert found.loc[0, ["reported", "n"]].tolist() == [0.95, 2]
    assert found.loc[0, "mean"] == pytest.approx(0.85)
    assert found.loc[1, "n"] == 0
    assert np.isnan(found.loc[1, "mean"])


@pytest.mark.parametrize(("sign", "left_of_zero"), [(1, False), (-1, True)])
def test_published_and_measured_bars_are_inside_the_axes_on_either_side_of_zero(sign: int, left_of_zero: bool) -> None:
    ours = trials(arm=["a", "a"], test_score=[1.5 * sign, 1.7 * sign])
    table = reported_data(ours, [Figure(arm="a", metric="test_score", value=2.0 * sign)])
    picture = draw_reported(table, arm_styles("a"), metric=Metric("test_score", "test score", True))
    low, high = picture.figure.axes[0].get_xlim()
    assert (low < 0) == left_of_zero
    for value in (0, 2.0 * sign):
        assert low <= value <= high


def test_studies_keep_their_arms_apart() -> None:
    found = studies_data({"one": trials(arm=["a"], m=[1.0]), "two": trials(arm=["a"], m=[3.0])}, "m")
    assert found[["study", "arm", "mean"]].to_numpy().tolist() == [["one", "a", 1.0], ["two", "a", 3.0]]


@pytest.mark.parametrize(("counts", "words"), [([1, 1], "1 seed"), ([5], "5 seeds"), ([4, 5, 4], "4 to 5 seeds")])
def test_seeds_are_counted_in_words(counts: list[int], words: str) -> None:
    assert replicate_count(counts) == words


def test_only_the_first_letter_is_made_a_capital() -> None:
    assert sentence_case("test macro F1 (%)") == "Test macro F1 (%)"


@pytest.mark.parametrize("draw", [draw_interaction, draw_heat_map])
def test_labels_of_many_levels_are_turned_and_those_of_few_do_not_overlap(draw):
    rotations = {}
    for number in (3, 6):
        levels = [f"batch_instance_{index}" for index in range(number)]
        rows = [
            {"first": a, "second": b, "n": 3, "mean": 0.8, "low": 0.79, "high": 0.81} for a in levels for b in levels
        ]
        figure = draw(pd.DataFrame(rows), "model.norm", "other", metric=IMAGE_METRICS["test_accuracy"]).figure
        figure.draw_without_rendering()
        labels = figure.axes[0].get_xticklabels()
        rotations[number] = {label.get_rotation() for label in labels}
        if number == 3:
            boxes = [label.get_window_extent() for label in labels]
            assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
    assert rotations == {3: {0.0}, 6: {45.0}}

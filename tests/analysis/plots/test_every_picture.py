"""Every picture is drawn in both themes, says n and the interval in its caption, and escapes what it is given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib._pylab_helpers import Gcf

from analysis.plots import (
    confusion,
    contour,
    cost,
    curves,
    heatmap,
    history,
    importance,
    interaction,
    landscape,
    looks,
    parallel,
    power,
    quantiles,
    ranking,
    reported,
    rungs,
    seeds,
    slices,
    studies,
    timeline,
    tuned,
)
from analysis.plots import effects as forest
from analysis.plots.picture import Picture, to_svg
from analysis.plots.style import COLUMN, DARK, LIGHT, Styles, Theme, arm_styles
from analysis.stats.effects import effects
from analysis.stats.means import reported_data, seed_data
from analysis.stats.pairs import metric_table
from analysis.stats.ranking import rank_arms
from analysis.store.load import StudyResults, load_study
from bench.make_store import Truth, write_store
from search_spaces.metrics import IMAGE_METRICS
from search_spaces.published import Figure

pytestmark = pytest.mark.slow

SPACE = {
    "optimizer.lr": {"loguniform": [0.001, 1.0]},
    "model.norm": ["batch", "group", "none"],
    "optimizer.weight_decay": {"loguniform": [1e-5, 1e-2]},
}
FIGURES = [
    Figure(arm="norm=group", value=0.87),
    Figure(arm="baseline", value=0.9),
    Figure(arm="absent", value=0.5),
]
TEST, VAL = IMAGE_METRICS["test_accuracy"], IMAGE_METRICS["val_accuracy"]
AXIS = np.linspace(-1, 1, 7)
LOSS = 0.1 + AXIS[:, None] ** 2 + AXIS**2


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    truth = Truth({"model.norm=none": -0.02}, statuses={("norm=none", 1): "diverged", ("norm=group", 2): "pruned"})
    folder = tmp_path_factory.mktemp("factorial")
    return load_study(write_store(folder, truth=truth, seeds=4, epochs=4, design="full_factorial"))


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return load_study(write_store(tmp_path_factory.mktemp("search"), space=SPACE, trials=30, epochs=9))


def factor_pairs(study: StudyResults) -> pd.DataFrame:
    return interaction.two_factor_data(study.trials, "model.norm", "batch_size", TEST.name)


def rows_of_search(search: StudyResults) -> pd.DataFrame:
    return parallel.search_data(search.trials, search.factors, VAL.name)


def curves_of(study: StudyResults, styles: Styles) -> tuple[pd.DataFrame, Styles, curves.Records]:
    records = curves.curve_metrics(study)
    return curves.curve_data(study.epochs, records), styles, records


IMPORTANCE = pd.DataFrame({"factor": ["lr", "norm"], "fanova": [0.7, 0.3], "ped_anova": [0.4, 0.6]})

TUNED = pd.DataFrame(
    {"arm": ["batch_size=32"], "reference": ["baseline"], "untuned_n": [5], "tuned_n": [5]}
    | {"untuned_verdict": ["undecided"], "tuned_verdict": ["equivalent"]}
    | {f"{kind}_{name}": [value] for kind in ("untuned", "tuned") for name, value in zip(
        ("difference", "low", "high", "low90", "high90"), (0.01, 0.0, 0.02, 0.002, 0.018), strict=True
    )}
)  # fmt: skip
BUDGET = pd.DataFrame(
    {
        "arm": "baseline",
        "trials": [1, 2, 3],
        "mean": [0.7, 0.8, 0.85],
        "low": [0.6, 0.7, 0.8],
        "high": 0.9,
        "repeats": 5,
    }
)
TRIED = pd.DataFrame(
    {"arm": "baseline", "field": "optimizer.lr", "value": [0.001, 0.1], "reached": [0.5, 0.7], "chosen": [False, True]}
)
PATHS = pd.DataFrame(
    {
        "arm": ["batch_size=32"] * 2 + ["model.norm=none"],
        "state": ["better", "better", "futile"],
        "look": [1, 2, 1],
        "seeds": [4, 6, 4],
        "t": [1.5, 40.0, float("nan")],
        "critical": [float("inf"), 4.1, float("inf")],
    }
)
Draw = Callable[[StudyResults, StudyResults, Styles, Theme], Picture]
PICTURES: dict[str, Draw] = {
    "overlay": lambda a, s, st, th: curves.draw_overlay(*curves_of(a, st), theme=th),
    "overlay, one column": lambda a, s, st, th: curves.draw_overlay(*curves_of(a, st), width=COLUMN, theme=th),
    "arm by arm": lambda a, s, st, th: curves.draw_arms(*curves_of(a, st), theme=th),
    "effects": lambda a, s, st, th: forest.draw_effects(effects(a), st, metric=TEST, rope=0.005, theme=th),
    "looks": lambda a, s, st, th: looks.draw_paths(
        PATHS.assign(arm=[list(st)[1], list(st)[1], list(st)[2]]), st, metric=TEST, theme=th
    ),
    "seeds": lambda a, s, st, th: seeds.draw_seeds(seed_data(a.trials, TEST.name), st, metric=TEST, theme=th),
    "interaction": lambda a, s, st, th: interaction.draw_interaction(
        factor_pairs(a), "model.norm", "batch_size", metric=TEST, theme=th
    ),
    "heat map": lambda a, s, st, th: heatmap.draw_heat_map(
        factor_pairs(a).iloc[1:], "model.norm", "batch_size", metric=TEST, theme=th
    ),
    "quantiles": lambda a, s, st, th: quantiles.draw_quantiles(quantiles.quantile_data(a.quantiles), st, theme=th),
    "confusion": lambda a, s, st, th: confusion.draw_confusion(
        confusion.confusion_data(a.trials, "baseline"), "b", theme=th
    ),
    "importance": lambda a, s, st, th: importance.draw_importance(IMPORTANCE, 30, notes=("few trials",), theme=th),
    "parallel": lambda a, s, st, th: parallel.draw_parallel(rows_of_search(s), metric=VAL, theme=th),
    "slices": lambda a, s, st, th: slices.draw_slices(rows_of_search(s), metric=VAL, theme=th),
    "contour": lambda a, s, st, th: contour.draw_contour(
        rows_of_search(s), "optimizer.lr", "optimizer.weight_decay", metric=VAL, theme=th
    ),
    "history": lambda a, s, st, th: history.draw_history(history.history_data(s.trials, VAL), metric=VAL, theme=th),
    "rungs": lambda a, s, st, th: rungs.draw_rungs(rungs.rung_data(s.trials), theme=th),
    "rung curves": lambda a, s, st, th: rungs.draw_rung_curves(s.epochs, metric=VAL, most=20, theme=th),
    "timeline": lambda a, s, st, th: timeline.draw_timeline(timeline.timeline_data(a.trials), theme=th),
    "cost": lambda a, s, st, th: cost.draw_cost(cost.cost_data(a.trials, TEST), st, metric=TEST, theme=th),
    "ranking": lambda a, s, st, th: ranking.draw_ranking(rank_arms(metric_table(a)), st, theme=th),
    "landscape": lambda a, s, st, th: landscape.draw_landscape_contour(AXIS, AXIS, LOSS, theme=th),
    "surface": lambda a, s, st, th: landscape.draw_landscape_surface(AXIS, AXIS, LOSS, theme=th),
    "landscapes": lambda a, s, st, th: landscape.draw_landscapes({"a$": (AXIS, AXIS, LOSS)}, theme=th),
    "reported": lambda a, s, st, th: reported.draw_reported(
        reported_data(a.trials, FIGURES), st, metric=TEST, theme=th
    ),
    "power": lambda a, s, st, th: power.draw_power(
        power.power_data(0.004, [0.002, 0.01]), 0.004, metric=TEST, theme=th
    ),
    "untuned and tuned": lambda a, s, st, th: tuned.draw_tuned(TUNED, st, metric=TEST, rope=0.005, theme=th),
    "budget": lambda a, s, st, th: tuned.draw_budget(BUDGET, st, metric=VAL, theme=th),
    "tried values": lambda a, s, st, th: tuned.draw_tried(TRIED, st, metric=VAL, theme=th),
    "studies": lambda a, s, st, th: studies.draw_studies(
        studies.studies_data({"x": a.trials, "y": a.trials}, TEST.name), metric=TEST, theme=th
    ),
}
WITHOUT_N = {"landscape", "surface", "landscapes", "power"}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_drawn_with_words_that_say_what_it_shows(
    name: str, study: StudyResults, search: StudyResults
) -> None:
    styles = arm_styles(study.arms, study.reference_arm)
    picture = PICTURES[name](study, search, styles, LIGHT)
    svg = to_svg(picture.figure)
    assert "<path" in svg
    assert picture.title
    assert len(picture.alt) > 20
    assert name in WITHOUT_N or "n = " in picture.caption
    assert "nan" not in picture.caption + picture.alt
    labels = [ax.get_xlabel() + ax.get_ylabel() for ax in picture.figure.axes if ax.axison]
    assert not labels or any(labels) or picture.figure.get_supxlabel()


@pytest.mark.parametrize("name", ["overlay, one column", "heat map", "surface"])
def test_the_dark_theme_draws_on_its_own_background(name: str, study: StudyResults, search: StudyResults) -> None:
    styles = arm_styles(study.arms, study.reference_arm)
    svg = to_svg(PICTURES[name](study, search, styles, DARK).figure)
    assert DARK.surface in svg
    assert LIGHT.ink not in svg


def test_the_parts_of_an_arm_are_marked_as_its_own(study: StudyResults) -> None:
    styles = arm_styles(study.arms, study.reference_arm)
    svg = to_svg(forest.draw_effects(effects(study), styles, metric=TEST).figure)
    others = [style.index for arm, style in styles.items() if arm != study.reference_arm]
    assert all(f'id="arm-{index}"' in svg for index in others)


def test_the_tuned_picture_draws_the_interval_that_an_equivalent_verdict_rests_on(study: StudyResults) -> None:
    styles = arm_styles(study.arms, study.reference_arm)
    picture = tuned.draw_tuned(TUNED, styles, metric=TEST)
    before, after = (
        line.get_xdata()
        for line in picture.figure.axes[0].lines
        if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.4
    )
    np.testing.assert_allclose([before, after], [[0.0, 2.0], [0.2, 1.8]])
    assert "(of “equivalent”: the 90 % interval that its test rests on)" in picture.caption
    plain = tuned.draw_tuned(TUNED.assign(tuned_verdict="better"), styles, metric=TEST)
    assert "90 %" not in plain.caption


def test_drawing_leaves_no_figure_in_pyplot(study: StudyResults) -> None:
    styles = arm_styles(study.arms, study.reference_arm)
    to_svg(forest.draw_effects(effects(study), styles, metric=TEST).figure)
    assert not Gcf.figs

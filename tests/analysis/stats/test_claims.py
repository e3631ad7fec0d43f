"""Claims with their verdicts, reported figures beside ours, the roughness of loss surfaces, the summary page."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.reproduction.compute import all_claims, all_figures, summary
from analysis.reproduction.page import write_reproduction
from analysis.stats.claims import claims, how_tested, reported
from analysis.stats.derived import with_metric
from analysis.stats.effects import compare_arms
from analysis.stats.flatness import landscape_measures, laplacian_variance
from analysis.stats.order import page_p
from analysis.stats.pairs import metric_table
from analysis.store.load import load_study
from bench.make_store import Truth, write_store
from search_spaces.errors import StudyError
from search_spaces.published import Reference
from search_spaces.study_parts import ProbeConfig

pytestmark = pytest.mark.slow

UNDECIDED = "undecided at this scale"
NORMS = ["batch", "group", "none", "layer"]


def claim(arm, expect, against="norm=batch", **more):
    return {"text": f"{arm} is {expect}.", "arm": arm, "against": against, "expect": expect} | more


CLAIMS = [
    claim("norm=none", "worse"),
    claim("norm=none", "better"),
    claim("norm=none", "equivalent"),
    claim("norm=group", "equivalent"),
    claim("norm=group", "better"),
    claim("norm=layer", "worse"),
    claim("norm=batch", "better", against="norm=none", metric="val_accuracy"),
]
REFERENCE = {
    "source": "B",
    "table": "Table 3",
    "figures": [{"arm": "norm=none", "value": 0.8677}, {"arm": "norm=none", "metric": "test_loss", "value": 0.5}],
    "claims": CLAIMS,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """No norm is far worse; group norm is as good; layer norm's difference is lost in noise by failed cells."""
    truth = Truth(
        {"model.norm=none": -0.05},
        noise_sd=0.001,
        seed_sd=0.01,
        statuses={("norm=layer", seed): "failed" for seed in range(7)},
    )
    folder = tmp_path_factory.mktemp("claims") / "norms"
    spec = {"factors": {"model.norm": NORMS}, "name": "norms", "reference": REFERENCE, "seeds": 8, "rope": 0.01}
    return load_study(write_store(folder, truth=truth, epochs=3, **spec))


def with_reference(study, stated):
    reference = Reference.model_validate(REFERENCE | {"claims": stated})
    return dataclasses.replace(study, spec=study.spec.model_copy(update={"reference": reference}))


def test_a_claim_held_did_not_hold_or_is_undecided(study):
    table = claims(study)
    verdicts = ["held", "did not hold", "did not hold", "held", "did not hold", UNDECIDED, "held"]
    assert table["verdict"].tolist() == verdicts
    assert table["n"].tolist() == [8, 8, 8, 8, 8, 1, 8]
    assert table["words"].iloc[0].startswith("worse by ")
    assert "one seed" in table["words"].iloc[5]


def test_the_difference_and_its_interval_are_those_of_a_paired_t_test(study):
    row = claims(study).iloc[0]
    values = metric_table(study, "test_accuracy")
    differences = (values.loc["norm=none"] - values.loc["norm=batch"]).to_numpy()
    found = stats.ttest_1samp(differences, 0).confidence_interval()
    assert (row.difference, row.low, row.high) == pytest.approx((differences.mean(), found.low, found.high))


def test_holms_family_is_the_claims_about_one_metric(study):
    table = claims(study)
    values = metric_table(study, "test_accuracy")
    by_arm = {
        arm: stats.ttest_rel(values.loc[arm], values.loc["norm=batch"]).pvalue for arm in ("norm=none", "norm=group")
    }
    tested = [by_arm[arm] for arm in table["arm"][:5]]
    from statsmodels.stats.multitest import multipletests

    np.testing.assert_allclose(table["p_holm"][:5], multipletests(tested, method="holm")[1], rtol=1e-9)
    alone = metric_table(study, "val_accuracy")
    assert table["p_holm"][6] == pytest.approx(stats.ttest_rel(alone.loc["norm=batch"], alone.loc["norm=none"]).pvalue)


def test_a_claim_about_an_arm_without_trials_is_undecided_and_says_so(study):
    row = claims(with_reference(study, [claim("norm=instance", "better")])).iloc[0]
    assert (row.verdict, row.n) == (UNDECIDED, 0)
    assert row.words == "cannot tell: there is no trial of norm=instance"


def test_a_study_without_reference_has_neither_claims_nor_figures(study):
    bare = dataclasses.replace(study, spec=study.spec.model_copy(update={"reference": None}))
    assert len(claims(bare)) == len(reported(bare)) == 0
    assert summary(all_claims([bare])) == "None of these studies tests a claim."


def test_figures_stand_beside_our_mean_with_its_interval(study):
    table = reported(study)
    ours = metric_table(study, "test_accuracy").loc["norm=none"].to_numpy()
    low, high = stats.t.interval(0.95, len(ours) - 1, ours.mean(), stats.sem(ours))
    row = table.iloc[0]
    assert (row.theirs, row.n) == (0.8677, 8)
    assert (row.ours, row.low, row.high) == pytest.approx((ours.mean(), low, high))
    assert table["metric"].tolist() == ["test_accuracy", "test_loss"]


def test_the_laplacian_of_a_quadratic_is_constant_and_of_a_quartic_known():
    x, y = np.linspace(-1, 1, 21), np.linspace(-2, 2, 31)
    grid_x, grid_y = np.meshgrid(x, y)
    assert laplacian_variance(x, y, 3 * grid_x**2 + grid_y**2 + grid_x) == pytest.approx(0, abs=1e-18)
    step = x[1] - x[0]
    expected = np.var(12 * x[1:-1] ** 2 + 2 * step**2)  # second difference of x^4, divided by the step squared
    assert laplacian_variance(x, y, grid_x**4 + 5 * grid_y**2) == pytest.approx(expected)


def test_points_beside_a_missing_loss_are_left_out_and_a_tiny_grid_has_no_roughness():
    x = np.linspace(-1, 1, 9)
    grid_x, grid_y = np.meshgrid(x, x)
    loss = grid_x**2 + grid_y**2
    loss[4, 4] = np.inf
    assert laplacian_variance(x, x, loss) == pytest.approx(0, abs=1e-18)
    assert np.isnan(laplacian_variance(x[:2], x[:2], loss[:2, :2]))


def surface(digest, scale, seed):
    noise = np.random.default_rng(seed).normal(0, scale, 49)
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, 7), np.linspace(-1, 1, 7)))
    return pd.DataFrame({"digest": digest, "surface": "s", "x": x, "y": y, "loss": x**2 + y**2 + noise})


def with_landscapes(study, scales):
    trials = study.trials[study.trials["arm"].isin(scales)]
    parts = [surface(row.digest, scales[row.arm], index) for index, row in enumerate(trials.itertuples())]
    about = [claim("norm=batch", "better", against="norm=none", metric="roughness")]
    return dataclasses.replace(with_reference(study, about), landscape=pd.concat(parts, ignore_index=True))


def test_a_flatter_landscape_is_the_better_one(study):
    found = with_landscapes(study, {"norm=batch": 0.01, "norm=none": 0.1})
    row = claims(found).iloc[0]
    assert (row.verdict, row.n) == ("held", 8)
    assert row.difference == pytest.approx(-2, abs=0.4)  # a tenth of the noise is a hundredth of the variance
    means = landscape_measures(found)["roughness"].groupby(study.trials["arm"]).mean()
    assert row.difference == pytest.approx(means["norm=batch"] - means["norm=none"])
    assert np.isnan(means["norm=group"])
    assert np.isnan(row.equivalent_holm)
    swapped = claims(with_landscapes(study, {"norm=batch": 0.1, "norm=none": 0.01}))
    assert swapped["verdict"].tolist() == ["did not hold"]


def test_without_landscapes_a_claim_about_them_is_undecided(study):
    found = with_landscapes(study, {"norm=batch": 0.01})
    row = claims(found).iloc[0]
    assert (row.verdict, row.words) == (
        UNDECIDED,
        "cannot tell: there is no loss landscape of norm=none (`tune-app landscape` computes them)",
    )


@pytest.fixture(scope="module")
def summary_page(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hunt")
    space = {"optimizer.lr": {"loguniform": [0.001, 1.0]}, "model.norm": ["batch", "group"]}
    hunt = load_study(write_store(folder / "hunt", space=space, trials=12, epochs=3, name="hunt"))
    probed = dataclasses.replace(study, spec=study.spec.model_copy(update={"probes": ProbeConfig(norm_inputs=True)}))
    out = folder / "out"
    return write_reproduction([probed, hunt], out, "CIFAR-10 (JPEG copy)", "small"), [probed, hunt]


def test_the_page_its_markdown_and_its_tables_say_the_same(summary_page):
    paths, studies = summary_page
    assert [path.name for path in paths] == [
        "reproduction.html",
        "reproduction.md",
        "claims.parquet",
        "figures.parquet",
    ]
    page, text = (path.read_text(encoding="utf-8") for path in paths[:2])
    for part in (
        "7 claims tested: 3 held, 3 did not hold, 1 undecided at this scale.",
        "CIFAR-10 (JPEG copy)",
        "86.77",
    ):
        assert part in page
        assert part in text
    pd.testing.assert_frame_equal(pd.read_parquet(paths[2]), all_claims(studies))
    pd.testing.assert_frame_equal(pd.read_parquet(paths[3]), all_figures(studies))
    assert re.findall(r'<span class="outcome ([\w-]+)">', page) == [
        verdict.replace(" ", "-") for verdict in all_claims(studies)["verdict"]
    ]
    titles = ("Published and measured", "Learning curves of all arms", "Evolution of features quantiles")
    assert all(title in page for title in titles)
    assert "Best trial of hunt" in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page)


def test_a_summary_needs_a_study(tmp_path):
    with pytest.raises(StudyError, match="no study to summarise"):
        write_reproduction([], tmp_path)


ORDER = ["norm=batch", "norm=group", "norm=none"]


def with_levels(study, levels):
    """Return the study with the test accuracies that the arms of `ORDER` have at each seed: a level and noise."""
    noise = 0.001 * np.random.default_rng(1).normal(size=(len(levels), 8))
    drawn = {
        (arm, seed): level + noise[place, seed]
        for place, (arm, level) in enumerate(zip(ORDER, levels, strict=True))
        for seed in range(8)
    }
    values = [
        drawn.get((row.arm, row.seed), old)
        for row, old in zip(study.trials.itertuples(), study.trials["test_accuracy"], strict=True)
    ]
    return dataclasses.replace(study, trials=study.trials.assign(test_accuracy=values))


def order_claims(study, levels):
    stated = {"text": "This order.", "order": ORDER, "expect": "order"}
    backwards = {"text": "The reverse.", "order": ORDER[::-1], "expect": "order"}
    return claims(with_reference(with_levels(study, levels), [stated, backwards]))


def test_an_order_held_where_each_step_is_shown(study):
    found = order_claims(study, [0.9, 0.85, 0.8])
    assert found["verdict"].tolist() == ["held", "did not hold"]
    assert found["arm"][0] == "norm=batch, norm=group, norm=none"
    assert "2 of 2 steps are shown; of all 3 pairs 3 are shown in this order and 0 the other" in found["words"][0]
    table = metric_table(with_levels(study, [0.9, 0.85, 0.8]), "test_accuracy").loc[ORDER].to_numpy()
    steps = [stats.ttest_rel(table[i], table[i + 1], alternative="greater").pvalue for i in range(2)]
    assert found["p_claim"][0] == pytest.approx(max(steps))
    assert found["n"][0] == 8
    assert how_tested(found.iloc[0], "accuracy") == "best to worst: norm=batch, norm=group, norm=none; accuracy"


def test_a_trend_that_one_arm_makes_alone_is_no_order(study):
    found = order_claims(study, [0.9, 0.9, 0.8])
    assert found["verdict"].tolist() == [UNDECIDED, "did not hold"]
    table = metric_table(with_levels(study, [0.9, 0.9, 0.8]), "test_accuracy").loc[ORDER[::-1]].to_numpy()
    trend = stats.page_trend_test(table.T).pvalue
    assert trend < 0.05
    assert f"trend over all arms: p = {trend:.2g} (Page's test, n = 8)".replace("-", "−") in found["words"][0]
    assert found["p_claim"][0] > 0.05


def test_an_order_whose_steps_are_real_but_small_is_too_small_to_matter(study):
    assert order_claims(study, [0.9, 0.896, 0.8])["verdict"].tolist() == ["too small to matter", "did not hold"]


def test_with_one_seed_an_order_has_no_trend_test(study):
    one = dataclasses.replace(study, trials=study.trials[study.trials["seed"] == 0])
    found = order_claims(one, [0.9, 0.85, 0.8])
    assert found["verdict"].tolist() == [UNDECIDED] * 2
    assert found["words"][0].endswith("no trend test with 1 complete seed")


def test_p_of_a_claim_is_in_its_direction_so_that_a_contradicted_one_has_no_small_q(study):
    found = claims(study)
    p_t = compare_arms(study, [("norm=none", "norm=batch")])["p_t"][0]
    assert found["p_claim"][:2].tolist() == pytest.approx([p_t / 2, 1 - p_t / 2])
    q = all_claims([study])["q"]
    assert q[0] < 0.001
    assert q[1] > 0.9


def test_without_any_difference_an_order_is_claimed_in_five_percent_of_studies():
    rng = np.random.default_rng(0)
    found = np.array([page_p(rng.normal(size=(4, 6))) for _ in range(600)])
    assert np.mean(found < 0.05) == pytest.approx(0.05, abs=0.025)
    falling = rng.normal(size=(4, 6)) + 5 * np.arange(4)[::-1, None]
    assert page_p(falling) < 0.001 < 0.99 < page_p(falling[::-1])
    assert np.isnan(page_p(np.full((4, 6), np.nan)))


def test_gaps_and_features_are_computed_from_the_store(study):
    gap = with_metric(study, "accuracy_gap").trials
    np.testing.assert_allclose(gap["accuracy_gap"], gap["train_accuracy"] - gap["val_accuracy"])
    assert with_metric(study, "clean_accuracy_gap").trials["clean_accuracy_gap"].isna().all()
    clean = dataclasses.replace(
        study, trials=study.trials.assign(train_clean_accuracy=study.trials["val_accuracy"] + 0.1)
    )
    found = with_metric(clean, "clean_accuracy_gap").trials["clean_accuracy_gap"]
    np.testing.assert_allclose(found, 0.1 + 0 * study.trials["val_accuracy"])
    digest = study.trials["digest"].iloc[0]
    values = {1: (-1.0, 0.0, 1.0, 9.0), 2: (-1.0, 0.0, 3.0, 11.0)}
    rows = [
        {"digest": digest, "epoch": epoch, "layer": "features", "percentile": p, "value": value}
        for epoch, of_epoch in values.items()
        for p, value in zip((1, 20, 80, 99), of_epoch, strict=True)
    ]
    measured = dataclasses.replace(study, quantiles=pd.DataFrame(rows))
    assert with_metric(measured, "feature_spread").trials["feature_spread"].iloc[0] == pytest.approx(np.log10(12))
    drift = with_metric(measured, "feature_drift").trials["feature_drift"]
    assert drift.iloc[0] == pytest.approx(np.log10(1 / 12))
    assert drift.iloc[1:].isna().all()


def test_a_gap_of_accuracies_that_were_not_recorded_is_not_known(study):
    bare = dataclasses.replace(study, trials=study.trials.drop(columns=["train_accuracy", "val_accuracy"]))
    for metric in ("accuracy_gap", "clean_accuracy_gap"):
        assert with_metric(bare, metric).trials[metric].isna().all()


def test_a_rope_of_its_own_makes_a_claim_a_family_of_its_own(study):
    stated = [claim("norm=group", "equivalent"), claim("norm=group", "equivalent", rope=1e-9)]
    found = claims(with_reference(study, stated))
    assert found["verdict"][0] == "held"
    assert found["verdict"][1] != "held"

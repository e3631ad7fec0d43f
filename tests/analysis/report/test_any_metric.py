"""A study about any declared metric: choices, plots, tables and sentences follow its record."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from written import train, write

from analysis import effects, load_study, write_report
from analysis.plots.curves import curve_metrics
from analysis.report.facts import trial_table
from analysis.report.search import best_trial, search_summary
from analysis.report.tables import effects_table
from analysis.stats.claims import claims
from analysis.stats.importance import importances
from analysis.stats.pruning import estimated_ends, rank_correlations
from search_spaces.study_files import study_from, study_to_store
from tune_app.tuning.jobs import Job
from tune_app.tuning.store.writer import ResultsStore

pytestmark = pytest.mark.slow

REGRESSION = {
    "name": "regression",
    "task": {"run": "my_pkg.train:train"},
    "baseline": {"args": {"width": 64}, "epochs": 3},
    "factors": {"args.width": [64, 256]},
    "metrics": {
        "train_rmse": {"better": "lower", "unit": "K", "digits": 2},
        "val_rmse": {"better": "lower", "unit": "K", "digits": 2, "label": "validation error", "bounds": [0, None]},
        "test_rmse": {"better": "lower", "unit": "K", "digits": 2, "label": "test error", "bounds": [0, None]},
        "tokens_per_second": {"better": "higher", "unit": "tokens/s", "digits": 0},
        "temperature": {},
    },
    "metric": "test_rmse",
    "rope": 0.05,
    "seeds": 5,
}


def errors(config):
    noise = np.random.default_rng(config.seed).normal(0, 0.01)
    error = 2.0 - 0.5 * (config.args["width"] == 256) + noise
    return {
        "train_rmse": error - 0.1,
        "val_rmse": error,
        "test_rmse": error + 0.01 * np.random.default_rng(config.seed + 100 * (config.args["width"] == 256)).normal(),
        "tokens_per_second": 1000.0 / config.args["width"],
        "temperature": 1.0,
    }


def words(page: str) -> str:
    bare = re.sub(r"<(script|style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    return load_study(train(tmp_path_factory.mktemp("any"), REGRESSION, errors))


def test_a_lower_error_is_the_better_arm_and_differences_have_its_unit(regression):
    [row] = effects(regression).to_dict("records")
    assert (row["verdict"], row["n"]) == ("better", 5)
    assert row["difference"] == pytest.approx(-0.5, abs=0.05)
    assert re.match(r"better by 0\.\d\d K \(95 % interval", row["words"])
    assert "Difference (K)" in effects_table(effects(regression), regression.metric_record())
    faster = effects(regression, "tokens_per_second")
    assert faster["verdict"].tolist() == ["undecided"] or faster["difference"].iloc[0] < 0


def test_the_report_names_the_metrics_and_draws_their_curves(regression, tmp_path):
    page = write_report(regression, tmp_path).read_text(encoding="utf-8")
    seen = words(page)
    for part in (
        "The best epoch of a trial is chosen by validation error (lower is better)",
        "The verdicts are about test error",
        "Function “my_pkg.train:train”, for 3 epochs",
        "Test error (K)",
        "Learning curves of all arms",
        "Test error against training time",
    ):
        assert part in seen
    assert "accuracy" not in seen.lower()
    assert "loss" not in seen.lower()
    assert list(curve_metrics(regression)) == ["train_rmse", "val_rmse"]
    assert "nan" not in seen


def test_the_columns_of_the_trial_table_are_those_of_the_study(regression):
    heads = trial_table(regression)["heads"]
    assert [head for head in heads if "error" in head] == ["Validation error (K)", "Test error (K)"]


def test_the_rope_counts_only_for_metrics_of_its_unit(regression):
    assert (regression.rope(), regression.rope("val_rmse")) == (0.05, 0.05)
    assert regression.rope("tokens_per_second") is None


@pytest.mark.parametrize("name", ["sharpness", "roughness", "accuracy_gap"])
def test_a_metric_of_a_study_keeps_its_values_where_a_computed_one_has_its_name(name, tmp_path):
    claim = {"text": "", "arm": "width=256", "against": "width=64", "expect": "better", "metric": name}
    metrics = REGRESSION["metrics"] | {name: {"better": "lower"}}
    tree = REGRESSION | {"metrics": metrics, "reference": {"source": "A", "claims": [claim]}}
    found = load_study(train(tmp_path, tree, lambda config: errors(config) | {name: errors(config)["test_rmse"]}))
    (row,) = claims(found).itertuples()
    assert (row.n, row.verdict) == (5, "held")
    assert row.difference == pytest.approx(-0.5, abs=0.05)
    assert claims(replace(found, trials=found.trials.query("arm == 'width=64'")))["words"].tolist() == [
        "cannot tell: there is no trial of width=256"
    ]


@pytest.fixture(scope="module")
def hunt(tmp_path_factory):
    """A search by test loss: the accuracy is best where the loss is worst."""
    tree = {
        "name": "hunt",
        "mode": "search",
        "metric": "test_loss",
        "baseline": {"epochs": 4, "data": {"source": "digits"}},
        "space": {"optimizer.lr": {"loguniform": [0.001, 1.0]}, "batch_size": [32, 64]},
        "search": {"trials": 12, "asha": {"grace_period": 2, "reduction_factor": 2}},
        "seeds": 1,
    }
    spec = study_from(tree)
    store = ResultsStore(str(tmp_path_factory.mktemp("hunt")), "hunt")
    store.prepare()
    store.write_study(study_to_store(spec), {})
    for place, lr in enumerate(np.geomspace(0.002, 0.9, 12).tolist()):
        config = spec.search_space().config({"optimizer.lr": lr, "batch_size": 32 if place % 2 else 64})
        loss = 0.1 + abs(np.log10(lr) + 1)
        values = {f"{split}_loss": loss for split in ("train", "val", "test")}
        values |= {f"{split}_{name}": min(loss / 3, 1) for split in ("train", "val", "test") for name in ("accuracy",)}
        status = "pruned" if place in (0, 11) else "completed"
        write(store, spec, Job(f"t{place}", False, {}, config, "f" * 16, 0.0), values, status)
    return load_study(store.folder.url)


def test_the_best_trial_of_a_search_by_loss_is_that_of_lowest_validation_loss(hunt):
    done = hunt.trials[hunt.trials["status"] == "completed"]
    best = best_trial(hunt)
    assert hunt.choose_by == "val_loss"
    assert best["digest"] == done.sort_values("val_loss")["digest"].iloc[0]
    assert best["digest"] != done.sort_values("val_accuracy", ascending=False)["digest"].iloc[0]
    assert "nats validation loss" in search_summary(hunt, best)


def test_the_audit_of_a_search_by_loss_is_about_the_loss(hunt):
    ends = estimated_ends(hunt)
    completed = hunt.trials["status"] == "completed"
    assert ends.winner_end == pytest.approx(hunt.trials.loc[completed, "val_loss"].min())
    assert ends.table["estimated_end"].is_monotonic_increasing
    assert "nats" in ends.words
    assert rank_correlations(hunt)["rung"].tolist() == [2, 4]
    assert importances(hunt).trials == 10


def test_the_report_of_a_search_by_loss_says_what_chose(hunt, tmp_path):
    seen = words(write_report(hunt, tmp_path).read_text(encoding="utf-8"))
    assert "importances and estimates are chosen by validation loss (lower is better)" in seen
    assert "Ranked by validation loss" in seen
    assert "The completed trial of best validation loss" in seen
    assert "by validation accuracy" not in seen

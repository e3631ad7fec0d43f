from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats.pruning import at_shared_rungs, estimated_ends, rank_correlations, rungs
from analysis.store.load import StudyResults, load_study
from bench.make_store import Truth, write_store
from search_spaces.errors import StudyError
from search_spaces.study_parts import Asha, Search

SPACE = {"optimizer.lr": {"loguniform": [0.001, 1.0]}, "model.norm": ["batch", "none"]}


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    truth = Truth(score=lambda v: -0.1 * (math.log10(v["optimizer.lr"]) + 1) ** 2)
    folder = tmp_path_factory.mktemp("search")
    return load_study(write_store(folder, space=SPACE, truth=truth, trials=60, epochs=12, extras=False))


def with_curves(results: StudyResults, curves: np.ndarray) -> StudyResults:
    """Return the results with validation accuracies from a matrix of trials x epochs."""
    epochs = results.epochs.copy()
    row = epochs["digest"].map({digest: place for place, digest in enumerate(results.trials["digest"])})
    epochs["val_accuracy"] = curves[row.to_numpy(), epochs["epoch"].to_numpy() - 1]
    return dataclasses.replace(results, epochs=epochs)


def test_rungs_are_those_of_asha_and_those_seen(search: StudyResults, results: StudyResults):
    assert rungs(search) == (1, 3, 9)
    assert rungs(results) == ()
    asha = Search(asha=Asha(grace_period=2, reduction_factor=2, brackets=2))
    spec = search.spec.model_copy(update={"search": asha})
    assert rungs(dataclasses.replace(search, spec=spec)) == (1, 2, 3, 4, 8, 9)


def test_rank_correlation_with_the_end_is_over_trials_that_finished(search: StudyResults):
    trials = search.trials.assign(status=["completed"] * 12 + list(search.trials["status"])[12:])
    keys = search.trials.loc[:11, "digest"]
    rng = np.random.default_rng(0)
    epochs = pd.DataFrame(
        [(d, "f" * 16, e, rng.random()) for d in keys for e in range(1, 13)],
        columns=["digest", "fingerprint", "epoch", "val_accuracy"],
    )
    found = rank_correlations(dataclasses.replace(search, trials=trials.head(12), epochs=epochs))
    wide = epochs.pivot(index="digest", columns="epoch", values="val_accuracy")
    assert found["n"].tolist() == [12, 12, 12]
    expected = [stats.spearmanr(wide[rung], wide[12]).statistic for rung in (1, 3, 9)]
    assert found["spearman"].tolist() == pytest.approx(expected)
    assert found["kendall"].iloc[0] == pytest.approx(stats.kendalltau(wide[1], wide[12]).statistic)


def test_too_few_finished_trials_have_no_correlation(search: StudyResults):
    few = search.trials.copy()
    few["status"] = "pruned"
    found = rank_correlations(dataclasses.replace(search, trials=few))
    assert found["spearman"].isna().all()
    assert set(found["n"]) == {0}


def test_groups_are_compared_only_at_rungs_that_all_reached(search: StudyResults):
    found = at_shared_rungs(search, "model.norm")
    first = found[found["rung"] == 1].set_index("group")
    at_one = search.epochs[search.epochs["epoch"] == 1].merge(search.trials[["digest", "model.norm"]], on="digest")
    assert first["n"].tolist() == first["of"].tolist()
    assert first["mean"].to_dict() == pytest.approx(at_one.groupby("model.norm")["val_accuracy"].mean().to_dict())
    assert set(at_shared_rungs(search)["rung"]) == {1}
    with pytest.raises(StudyError, match=r"did you mean 'model\.norm'"):
        at_shared_rungs(search, "model.nrm")


def test_trials_with_a_null_level_are_a_group(search: StudyResults):
    norm = search.trials["model.norm"]
    changed = dataclasses.replace(search, trials=search.trials.assign(norm=norm.where(norm == "batch", None)))
    found = at_shared_rungs(changed, "norm")
    sizes = found[found["rung"] == 1].set_index("group")["of"].to_dict()
    assert sizes == {"batch": (norm == "batch").sum(), "null": (norm == "none").sum()}


def test_ends_of_pruned_trials_are_estimated_from_curves_of_low_rank(search: StudyResults):
    rng = np.random.default_rng(1)
    epochs = np.arange(1, 13)
    level, slope = rng.uniform(0.5, 0.8, 60), rng.uniform(0, 0.02, 60)
    curves = level[:, None] + slope[:, None] * epochs + rng.normal(0, 1e-4, (60, 12))
    status = np.where(np.arange(60) < 40, "completed", "pruned")
    trained = np.where(status == "completed", 12, 9)
    rows = np.repeat(np.arange(60), trained)
    epoch = np.concatenate([np.arange(n) for n in trained])
    frame = pd.DataFrame({"epoch": epoch + 1, "val_accuracy": curves[rows, epoch]})
    frame["digest"] = search.trials["digest"].to_numpy()[rows]
    frame["fingerprint"] = "f" * 16
    trials = search.trials.assign(status=status, epochs_trained=trained)
    found = estimated_ends(dataclasses.replace(search, trials=trials, epochs=frame))
    assert found.reliable
    truth = dict(zip(trials["digest"], curves[:, -1], strict=True))
    errors = found.table["estimated_end"] - found.table["digest"].map(truth)
    assert np.abs(errors).max() < 0.01
    assert found.winner_end == pytest.approx(curves[:40, -1].max())
    assert found.winner == trials["arm"].iloc[int(np.argmax(curves[:40, -1]))]
    beating = found.table.loc[found.table["beats_winner"], "digest"]
    clear = [d for d in trials["digest"][40:] if truth[d] > found.winner_end + 0.01]
    assert set(clear) <= set(beating)
    assert found.table["estimated_end"].is_monotonic_decreasing
    assert f"{len(beating)} of 20 pruned" in found.words or "none of 20 pruned" in found.words
    assert found.words.endswith("it is reliable")


def test_nothing_to_estimate_without_pruned_or_finished_trials(results: StudyResults, search: StudyResults):
    with pytest.raises(StudyError, match="0 were pruned"):
        estimated_ends(results)
    unfinished = search.trials.assign(status="pruned")
    with pytest.raises(StudyError, match="0 trials finished"):
        estimated_ends(dataclasses.replace(search, trials=unfinished))


def test_pruned_trials_of_a_real_search_are_listed_with_where_they_stopped(search: StudyResults):
    found = estimated_ends(search)
    pruned = search.trials[search.trials["status"] == "pruned"].set_index("digest")
    table = found.table.set_index("digest")
    assert table["stopped_at"].sort_index().equals(pruned["epochs_trained"].sort_index().rename("stopped_at"))
    last = search.epochs.groupby("digest")["val_accuracy"].last()
    assert table["last"].to_dict() == pytest.approx(last[table.index].to_dict())
    by_loss = estimated_ends(search, "val_loss")
    assert by_loss.table["estimated_end"].is_monotonic_increasing


def test_an_estimate_from_a_handful_of_finished_trials_is_never_believed(tmp_path):
    from analysis import load_study
    from analysis.stats.pruning import FEWEST_FINISHED, estimated_ends
    from bench.make_store import write_store

    write_store(tmp_path / "s", space={"optimizer.lr": {"loguniform": [1e-3, 1.0]}}, trials=6, epochs=9)
    results = load_study(tmp_path / "s")
    assert (results.trials.status == "completed").sum() < FEWEST_FINISHED
    assert not estimated_ends(results).reliable

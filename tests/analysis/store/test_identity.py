"""Arms, levels and the baseline follow from the digest and the study as it is now, not from stored names."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from written import accuracies, train, write

from analysis import effects, load_study, write_report
from search_spaces.study_files import study_from, study_to_store
from tune_app.tuning.jobs import Job
from tune_app.tuning.store.writer import ResultsStore

pytestmark = pytest.mark.slow

ONE = {
    "name": "grown",
    "baseline": {"epochs": 2, "data": {"source": "digits"}},
    "factors": {"model.norm": ["batch", "none"]},
    "seeds": 3,
}


def changed(**parts):
    return copy.deepcopy(ONE) | parts


def verdicts(folder: Path) -> dict[str, tuple[int, float]]:
    table = effects(load_study(folder))
    assert not table[["mean", "reference_mean", "difference"]].isna().any(axis=None)
    return {row.arm: (row.n, round(row.difference, 6)) for row in table.itertuples()}


def test_a_second_factor_and_more_seeds_keep_the_baseline_whole(tmp_path):
    before = load_study(train(tmp_path, ONE))
    assert before.arms == ("norm=batch", "norm=none")
    two = changed(factors=ONE["factors"] | {"batch_size": [128, 32]}, seeds=5)
    after = load_study(train(tmp_path, two))
    assert after.arms == ("baseline", "batch_size=32", "norm=none")
    assert after.reference_arm == "baseline"
    assert after.trials.groupby("arm")["seed"].agg(list).to_dict() == {arm: [0, 1, 2, 3, 4] for arm in after.arms}
    assert after.factors == ("model.norm", "batch_size")
    assert after.trials.drop_duplicates("arm").set_index("arm")["factor:batch_size"].to_dict() == {
        "baseline": "128",
        "batch_size=32": "32",
        "norm=none": "128",
    }
    kept = after.trials.set_index("digest").loc[before.trials["digest"]]
    np.testing.assert_array_equal(kept["finished_at"], before.trials["finished_at"])  # not trained again
    assert verdicts(tmp_path / "grown") == {"batch_size=32": (5, 0.02), "norm=none": (5, -0.05)}
    assert (after.problems, len(after.other)) == ((), 0)
    page = write_report(after, tmp_path / "page").read_text(encoding="utf-8")
    assert "nan" not in page.split("<svg")[0]
    assert "Cells of earlier versions" not in page


def test_a_renamed_level_of_a_bundle_keeps_its_cells(tmp_path):
    bundle = {"setup": {"plain": {"model.norm": "batch"}, "bare": {"model.norm": "none"}}}
    train(tmp_path, changed(factors=bundle))
    renamed = {"norms": {"usual": {"model.norm": "batch"}, "without": {"model.norm": "none"}}}
    found = load_study(train(tmp_path, changed(factors=renamed)))
    assert found.arms == ("norms=usual", "norms=without")
    assert found.trials.groupby("arm")["factor:norms"].first().tolist() == ["usual", "without"]
    assert (len(found.trials), len(found.other)) == (6, 0)


def test_reordered_levels_change_nothing(tmp_path):
    train(tmp_path, changed(factors={"model.norm": ["batch", "none", "layer"]}))
    first = verdicts(tmp_path / "grown")
    train(tmp_path, changed(factors={"model.norm": ["layer", "none", "batch"]}))
    assert verdicts(tmp_path / "grown") == first
    assert load_study(tmp_path / "grown").reference_arm == "norm=batch"


def test_cells_of_a_dropped_level_are_kept_apart_and_listed(tmp_path):
    train(tmp_path, changed(factors={"model.norm": ["batch", "none", "layer"]}))
    found = load_study(train(tmp_path, ONE))
    assert found.arms == ("norm=batch", "norm=none")
    assert found.other["arm"].tolist() == ["norm=layer"] * 3
    assert set(found.epochs["arm"]) == set(found.arms)
    assert list(effects(found)["arm"]) == ["norm=none"]
    page = write_report(found, tmp_path / "page").read_text(encoding="utf-8")
    assert "Cells of earlier versions of this study" in page
    assert all(digest in page for digest in found.other["digest"])


def test_after_a_changed_baseline_only_cells_of_the_new_one_are_compared(tmp_path):
    train(tmp_path, ONE)
    other = changed(baseline=ONE["baseline"] | {"batch_size": 32})
    found = load_study(train(tmp_path, other))
    assert set(found.trials["batch_size"]) == {32}
    assert found.other["seed"].tolist() == [0, 1, 2, 0, 1, 2]
    assert verdicts(tmp_path / "grown") == {"norm=none": (3, -0.05)}


def test_another_design_uses_the_cells_that_both_have(tmp_path):
    factors = ONE["factors"] | {"batch_size": [128, 32]}
    train(tmp_path, changed(factors=factors))
    full = load_study(train(tmp_path, changed(factors=factors, design="full_factorial")))
    assert full.arms == ("baseline", "batch_size=32", "norm=none", "norm=none, batch_size=32")
    assert (len(full.trials), len(full.other)) == (12, 0)
    one_out = load_study(train(tmp_path, changed(factors=factors, design="leave_one_out")))
    assert one_out.reference_arm == "norm=none, batch_size=32"
    assert (len(one_out.trials), len(one_out.other)) == (12, 0)


def test_fewer_seeds_leave_the_others_out(tmp_path):
    train(tmp_path, ONE)
    found = load_study(train(tmp_path, changed(seeds=2)))
    assert sorted(set(found.trials["seed"])) == [0, 1]
    assert found.other["seed"].tolist() == [2, 2]


def test_figures_are_those_of_the_config_that_the_study_has_now(tmp_path):
    for lr in (0.1, 0.001, 0.1):
        folder = train(tmp_path, changed(baseline=ONE["baseline"] | {"optimizer": {"lr": lr}}))
        found = load_study(folder)
        assert set(found.trials["optimizer.lr"]) == {lr}
        assert set(found.trials["status"]) == {"completed"}
    assert set(found.other["digest"]).isdisjoint(found.trials["digest"])
    assert len(found.other) == 6


def test_on_new_data_the_version_that_most_cells_have_counts(tmp_path):
    train(tmp_path, changed(seeds=4))
    folder = train(tmp_path, changed(seeds=2), fingerprint="e" * 16)
    found = load_study(folder)  # 2 arms x 2 seeds on both versions: a tie, the later one counts
    assert set(found.trials["fingerprint"]) == {"e" * 16}
    found = load_study(train(tmp_path, changed(seeds=4)))
    assert set(found.trials["fingerprint"]) == {"f" * 16}
    assert set(found.other["why"]) == {"trained on another version of the data"}
    assert any("two versions of the data" in problem for problem in found.problems)


def test_an_arm_that_was_added_after_the_data_changed_is_left_out_and_it_is_said(tmp_path):
    before = load_study(train(tmp_path, ONE))
    grown = changed(factors={"model.norm": ["batch", "none", "layer"]})
    folder = train(tmp_path, grown, fingerprint="e" * 16)
    for digest in before.trials["digest"]:
        (folder / "trials" / f"{digest}-{'e' * 16}.parquet").unlink()
    found = load_study(folder)
    assert found.arms == ("norm=batch", "norm=none")
    assert set(found.trials["fingerprint"]) == {"f" * 16}
    assert (
        found.other[["arm", "why"]].to_numpy().tolist()
        == [["norm=layer", "trained on another version of the data"]] * 3
    )
    assert any("another version of the data than most cells" in problem for problem in found.problems)
    assert list(effects(found)["arm"]) == ["norm=none"]


SEARCH = {
    "name": "hunt",
    "mode": "search",
    "baseline": {"epochs": 2, "data": {"source": "digits"}},
    "space": {"optimizer.lr": {"loguniform": [0.001, 1.0]}, "model.norm": ["batch", "none"]},
    "search": {"trials": 4},
    "seeds": 1,
}


def searched(results: Path, tree, points) -> Path:
    spec = study_from(tree)
    store = ResultsStore(str(results), spec.name)
    store.prepare()
    store.write_study(study_to_store(spec), {})
    for values in points:
        config = spec.search_space().config(values)
        job = Job("a stored name", False, {path: str(value) for path, value in values.items()}, config, "f" * 16, 0.0)
        write(store, spec, job, accuracies(config))
    return Path(store.folder.root)


def test_trials_of_a_search_are_named_by_their_values_and_must_be_in_the_space(tmp_path):
    points = [{"optimizer.lr": lr, "model.norm": norm} for lr in (0.01, 0.5) for norm in ("batch", "none")]
    found = load_study(searched(tmp_path, SEARCH, points))
    assert sorted(found.arms) == [
        "lr=0.01, norm=batch",
        "lr=0.01, norm=none",
        "lr=0.5, norm=batch",
        "lr=0.5, norm=none",
    ]
    assert found.trials["factor:optimizer.lr"].dtype == float
    narrow = copy.deepcopy(SEARCH)
    narrow["space"] = {"optimizer.lr": {"loguniform": [0.001, 0.1]}, "model.norm": ["batch"]}
    found = load_study(searched(tmp_path, narrow, []))
    assert found.arms == ("lr=0.01, norm=batch",)
    assert len(found.other) == 3
    moved = copy.deepcopy(SEARCH) | {"baseline": {"epochs": 2, "data": {"source": "digits"}, "batch_size": 32}}
    found = load_study(searched(tmp_path, moved, []))
    assert (len(found.trials), len(found.other)) == (0, 4)


def test_trials_of_an_int_range_over_a_field_of_real_numbers_belong_to_the_search(tmp_path):
    tree = copy.deepcopy(SEARCH) | {"space": {"schedule.warmup_epochs": {"int": [0, 1]}}}
    found = load_study(searched(tmp_path, tree, [{"schedule.warmup_epochs": epochs} for epochs in (0, 1)]))
    assert (sorted(found.arms), len(found.other)) == (["warmup_epochs=0", "warmup_epochs=1"], 0)


@pytest.mark.parametrize("text", [None, "name: grown\nbaseline: {epochs: many}\n", "a: ["])
def test_without_a_usable_study_the_stored_names_are_used_and_it_is_said(tmp_path, text):
    folder = train(tmp_path, ONE)
    (folder / "study.yaml").unlink()
    if text is not None:
        (folder / "study.yaml").write_text(text)
    found = load_study(folder)
    assert found.spec is None
    assert found.arms == ("norm=batch", "norm=none")
    assert found.problems[0].startswith("study.yaml ")
    assert effects(found)["n"].tolist() == [3]
    assert write_report(found, tmp_path / "page").exists()

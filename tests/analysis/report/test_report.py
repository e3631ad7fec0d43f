from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from analysis.report import ablation as report_ablation
from analysis.report import facts as report_facts
from analysis.report import pictures as report_pictures
from analysis.report import search as report_search
from analysis.report.ablation import factor_table
from analysis.report.study import write_comparison, write_report
from analysis.stats.effects import effects
from analysis.store.load import StudyResults, load_study
from bench.make_store import Truth, write_store
from search_spaces.errors import StudyError
from search_spaces.published import Reference
from search_spaces.study_parts import Design

pytestmark = pytest.mark.slow

NORMS = ["batch", "group", "none", "layer"]
EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'
REFERENCE = {
    "source": "B",
    "table": "Table 3",
    "note": "100 epochs there.",
    "figures": [{"arm": "norm=none", "value": 0.8677}],
    "claims": [
        {"text": "No norm is worse.", "arm": "norm=none", "against": "norm=batch", "expect": "worse"},
        {"text": "GN is worse.", "arm": "norm=group", "against": "norm=batch", "expect": "worse"},
        {"text": "No norm helps.", "arm": "norm=none", "against": "norm=batch", "expect": "better"},
    ],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    lost = {("norm=group", 1): "diverged", ("norm=layer", 2): "failed", ("norm=layer", 3): "pruned"}
    truth = Truth({"model.norm=none": -0.05}, statuses=lost)
    folder = write_store(
        tmp_path_factory.mktemp("report") / "norms",
        truth=truth,
        epochs=5,
        factors={"model.norm": NORMS},
        name="norms",
        question="Which norm is best?",
        reference=REFERENCE,
    )
    return load_study(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    factors = {"model.norm": ["batch", "group", "none"]}
    folder = tmp_path_factory.mktemp("small")
    lost = Truth(statuses={("norm=none", 1): "failed"})
    return load_study(write_store(folder, truth=lost, factors=factors, seeds=2, epochs=2, extras=False))


@pytest.fixture(scope="module")
def page(study: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(study, tmp_path_factory.mktemp("out")).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    space = {"optimizer.lr": {"loguniform": [0.001, 1.0]}, "model.norm": ["batch", "group"], "batch_size": [32, 64]}
    truth = Truth(score=lambda values: 0.02 * (values["model.norm"] == "group"))
    return load_study(write_store(tmp_path_factory.mktemp("search"), truth=truth, space=space, trials=60, epochs=9))


def words(page: str) -> str:
    """Return what a reader sees: the page without its tags, script and style."""
    bare = re.sub(r"<(script|style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


def test_the_page_opens_with_the_question_and_the_verdicts(page: str) -> None:
    seen = words(page)
    order = ["Which norm is best?", "3 arms compared with “norm=batch”", "worse by", "Effects", "Method"]
    places = [seen.index(part) for part in order]
    assert places == sorted(places)


def test_every_trial_is_in_the_table_and_every_unfinished_one_with_its_reason(page: str, study: StudyResults) -> None:
    assert all(page.count(digest) >= 1 for digest in study.trials["digest"])
    seen = words(page)
    assert "3 of 20 trials did not finish" in seen
    for reason in ("RuntimeError: invented", "a loss was not finite after epoch 2", "stopped by the scheduler after"):
        assert reason in seen


def test_claims_held_did_not_hold_or_are_undecided(page: str) -> None:
    outcomes = re.findall(r'<span class="outcome ([\w-]+)">', page)
    assert outcomes == ["held", "undecided-at-this-scale", "did-not-hold"]


def test_method_cost_environment_and_command_are_told(page: str) -> None:
    seen = words(page)
    for part in (
        "best validation accuracy",
        "The best epoch of a trial is chosen by validation accuracy (higher is better)",
        "The verdicts are about test accuracy",
        "evaluated once",
        "±0.5 points",
        "Holm",
        "GPU time",
        "tune-app run study.yaml",
    ):
        assert part in seen
    assert "question: Which norm is best?" in seen


def test_one_file_that_fetches_nothing_and_allows_no_other_script(page: str) -> None:
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page)
    assert "url(http" not in page
    assert "@import" not in page
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1] or "default-src 'none'" in policy[1]
    assert "script-src 'sha256-" in policy[1]


def test_nothing_from_the_data_becomes_markup(small: StudyResults, tmp_path: Path) -> None:
    trials = small.trials.assign(node=EVIL)
    trials["arm"] = trials["arm"].replace("norm=group", EVIL)
    trials.loc[trials["status"] == "failed", "error"] = f"Traceback\n{EVIL}"
    epochs = small.epochs.assign(arm=small.epochs["arm"].replace("norm=group", EVIL))
    reference = Reference.model_construct(source=EVIL, table="", note=EVIL, figures=(), claims=())
    spec = small.spec.model_copy(update={"question": EVIL, "reference": reference})
    evil = dataclasses.replace(
        small,
        name=EVIL,
        spec=spec,
        study_text=EVIL,
        other=trials.head(1).assign(why=EVIL),
        environment={EVIL: EVIL},
        trials=trials,
        epochs=epochs,
        problems=(EVIL,),
    )
    for path in (write_report(evil, tmp_path), write_comparison([evil, small], tmp_path)):
        page = path.read_text(encoding="utf-8")
        assert "&lt;script&gt;alert" in page
        assert "<img" not in page
        assert "<script>alert" not in page
        assert page.count("<script") == len(re.findall(r'<script(?: type="application/json" id="[\w-]+")?>', page))


def test_ids_are_unique_and_links_inside_the_page_lead_somewhere(page: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    targets = re.findall(r'href="#([^"]+)"', page) + re.findall(r"url\(#([^)]+)\)", page)
    assert set(targets) <= set(ids)


def test_hovering_shows_the_figures_of_the_learning_curves(page: str, study: StudyResults) -> None:
    data = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)[1])
    panel = next(panel for panel in data["panels"] if panel["name"] == "validation accuracy")
    index = next(key for key, arm in data["names"].items() if arm == "norm=none")
    epochs = study.epochs.query("arm == 'norm=none' and epoch == 5")
    assert panel["arms"][index][-1][:2] == [5, pytest.approx(epochs["val_accuracy"].mean() * 100, rel=1e-3)]


def test_the_same_results_make_the_same_bytes(small: StudyResults, tmp_path: Path) -> None:
    first, second = (write_report(small, tmp_path / f"{name}.html").read_bytes() for name in "ab")
    assert first == second


def test_a_store_without_trials_still_has_a_report(study: StudyResults, tmp_path: Path) -> None:
    empty = dataclasses.replace(
        study,
        trials=study.trials.iloc[:0],
        **{name: getattr(study, name).iloc[:0] for name in ("epochs", "quantiles", "landscape", "curvature")},
        problems=("table `trials` is missing or empty",),
    )
    seen = words(write_report(empty, tmp_path).read_text(encoding="utf-8"))
    assert "nothing to report" in seen
    assert "table `trials` is missing or empty" in seen


def test_a_single_completed_trial_is_reported_without_verdicts(study: StudyResults, tmp_path: Path) -> None:
    one = study.trials.iloc[:1]
    epochs = study.epochs[study.epochs["digest"].isin(one["digest"])]
    seen = words(
        write_report(dataclasses.replace(study, trials=one, epochs=epochs), tmp_path).read_text(encoding="utf-8")
    )
    assert "nothing to compare it with yet" in seen


def test_where_not_all_verdicts_are_at_the_top_those_that_are_decided_come_first(tmp_path: Path) -> None:
    factors = {"optimizer.lr": [round(0.1 * step, 1) for step in range(1, 16)]}
    truth = Truth({"optimizer.lr=1.3": -0.2, "optimizer.lr=1.5": 0.1})
    baseline = {"optimizer": {"lr": 0.1}}
    folder = write_store(tmp_path / "many", truth=truth, factors=factors, baseline=baseline, seeds=4, epochs=1)
    page = write_report(load_study(folder), tmp_path).read_text(encoding="utf-8")
    listed = re.findall(r'<li><span class="verdict (\w+)">(.*?)</span>', page)
    assert len(listed) == 12
    assert listed[:2] == [("worse", "lr=1.3"), ("better", "lr=1.5")]
    assert [arm for _, arm in listed[2:5]] == ["lr=0.2", "lr=0.3", "lr=0.4"]


def test_where_there_are_many_arms_some_are_drawn_and_the_page_says_so(
    small: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_pictures, "MOST_ARMS", 2)
    monkeypatch.setattr(report_pictures, "MOST_RANKED", 2)
    monkeypatch.setattr(report_pictures, "MOST_ROWS", 1)
    seen = words(write_report(small, tmp_path).read_text(encoding="utf-8"))
    assert "Curves are drawn for 2 of 3 arms" in seen
    assert "Ranks are drawn for up to 2 arms; this study has 3" in seen
    assert "Differences and seeds are drawn for 1 of 2 arms" in seen
    assert all(arm in seen for arm in small.arms)


def test_a_search_shows_its_best_trial_by_validation(search: StudyResults, tmp_path: Path) -> None:
    done = search.trials[search.trials["status"] == "completed"]
    best = done.sort_values("val_accuracy", ascending=False).iloc[0]
    page = write_report(search, tmp_path).read_text(encoding="utf-8")
    seen = words(page)
    assert f"The best of {len(search.trials)} trials is “{best['arm']}”" in seen
    for part in (
        "What early stopping did",
        "Optimization history",
        "Where trials stopped",
        "Spearman",
        "Which factor matters",
    ):
        assert part.lower() in seen.lower()
    assert "did not finish (" not in seen


def test_the_best_trials_of_a_search_come_in_order_of_validation(search: StudyResults) -> None:
    done = search.trials[search.trials["status"] == "completed"]
    best, metrics = report_search.best_trials(search, 3)
    assert best["val_accuracy"].tolist() == sorted(done["val_accuracy"], reverse=True)[:3]
    names = [metric.name for metric in metrics]
    assert names[0] == "val_accuracy"
    assert set(names[1:]) <= {name for name in done if name.startswith("test_")}
    nothing = dataclasses.replace(search, trials=search.trials[search.trials["status"] != "completed"])
    assert len(report_search.best_trials(nothing, 3)[0]) == 0


def test_several_surfaces_of_one_model_are_drawn_apart_and_the_measures_are_of_one(
    study: StudyResults, tmp_path: Path
) -> None:
    wide = study.landscape
    narrow = wide.assign(surface="narrow", x=wide["x"] / 2, y=wide["y"] / 2)
    several = dataclasses.replace(study, landscape=pd.concat([wide, narrow], ignore_index=True))
    page = write_report(several, tmp_path).read_text(encoding="utf-8")
    (model,) = {f"{row.arm}, seed {row.seed}" for row in wide.itertuples()}
    (name,) = set(wide["surface"])
    titles = re.findall(r"<h3>Loss surface around (.*?)</h3>", page)
    assert titles == [f"{model}, {name}", f"{model}, narrow"]
    assert "Loss landscapes on one scale" in page
    assert f"The store has several surfaces; the measures are of {name}, which 1 of 1 models have." in page
    assert f"<h3>Loss surface around {model}</h3>" in write_report(study, tmp_path).read_text(encoding="utf-8")


def test_a_null_value_of_a_search_is_written_as_in_the_study() -> None:
    shown = [report_search.search_value(value) for value in (None, float("nan"), 0.123456, 8, "batch")]
    assert shown == ["null", "null", "0.1235", "8", "batch"]


def test_where_there_are_many_trials_the_best_are_shown_and_every_stopped_one_is_listed(
    search: StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_facts, "MOST_ROWS", 20)
    monkeypatch.setattr(report_search, "MOST_CELLS", 20)
    page = write_report(search, tmp_path).read_text(encoding="utf-8")
    assert f"The 20 best of {len(search.trials)} trials by validation accuracy" in words(page)
    assert "at the last epoch are not estimated here" in words(page)
    stopped = search.trials.loc[search.trials["status"] == "pruned", "digest"]
    assert all(f"<code>{digest}</code>" in page for digest in stopped)


def test_a_comparison_shows_settings_that_differ_and_arms_in_common(
    study: StudyResults, search: StudyResults, tmp_path: Path
) -> None:
    page = write_comparison([study, search, study], tmp_path / "x.html").read_text(encoding="utf-8")
    seen = words(page)
    assert "3 studies side by side" in seen
    assert "norms (1)" in seen
    assert re.search(r"Field norms \(1\) invented norms \(3\)", seen)
    assert seen.count("norm=none") >= 3


def test_a_comparison_warns_where_the_data_differ(study: StudyResults, tmp_path: Path) -> None:
    other = dataclasses.replace(study, name="other", trials=study.trials.assign(fingerprint="0" * 16, device="cuda"))
    seen = words(write_comparison([study, other], tmp_path).read_text(encoding="utf-8"))
    assert "not trained on the same data" in seen
    assert "different kinds of device" in seen


def test_every_table_of_effects_says_which_interval_and_p_an_equivalent_line_has(
    small: StudyResults, search: StudyResults, tmp_path: Path
) -> None:
    note = "of “equivalent”: the 90 % interval and the p of the equivalence test"
    assert note in report_ablation.ablation_context(small, effects(small))["effects_caption"]
    assert note in report_search.search_context(search, small)["effects_caption"]
    comparison = words(write_comparison([small, small], tmp_path).read_text(encoding="utf-8"))
    assert comparison.count(note) == 2


def test_a_comparison_of_one_is_refused(study: StudyResults, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="at least two studies"):
        write_comparison([study], tmp_path)


def test_a_factorial_study_has_an_analysis_of_variance_and_pairs_of_factors(tmp_path: Path) -> None:
    factors = {"model.norm": ["batch", "none"], "batch_size": [128, 32]}
    folder = write_store(tmp_path / "f", factors=factors, design="full_factorial", seeds=2, epochs=2, extras=False)
    seen = words(write_report(load_study(folder), tmp_path).read_text(encoding="utf-8"))
    for part in ("Analysis of variance", "model.norm:batch_size", "partial ω²", "model.norm and batch_size together"):
        assert part in seen


def test_a_factorial_study_without_results_to_analyse_says_nothing_of_factors(small: StudyResults) -> None:
    spec = small.spec.model_copy(update={"design": Design(kind="full_factorial")})
    lone = small.trials[small.trials["arm"] == small.arms[0]]
    assert factor_table(dataclasses.replace(small, spec=spec, trials=lone)) is None


def test_a_confirmation_is_not_called_confirmed_where_no_arm_is_better(
    study: StudyResults, search: StudyResults
) -> None:
    summary = report_search.search_context(search, study)["summary"]
    assert summary.startswith("Trained again with 5 fresh seeds: 3 arms compared with “norm=batch”: 1 worse, ")
    assert "Confirmed" not in summary


def test_a_search_in_which_nothing_finished_has_no_best_trial(search: StudyResults, tmp_path: Path) -> None:
    cut = search.trials[search.trials["status"] != "completed"]
    seen = words(write_report(dataclasses.replace(search, trials=cut), tmp_path).read_text(encoding="utf-8"))
    assert "No trial was trained in full yet" in seen
    assert "Importances are not drawn" in seen

"""What effects and report say about a sequential study, whose true differences are known."""

import dataclasses
import re
import shutil

import numpy as np
import pytest

from analysis import effects, load_study, write_report
from analysis.plots.looks import draw_paths
from analysis.plots.style import arm_styles
from analysis.stats.claims import claims
from analysis.stats.looks import looks_table, path_data
from analysis.stats.pairs import missing_rule
from analysis.stats.sequential import SequentialPlan, corrected_estimate, decide, default_looks
from analysis.stats.stopping import course_of
from search_spaces.published import Reference
from tests.support.sequential_study import EFFECTS, write_study
from tests.support.stored_trials import remove_trials
from tune_app.studies import read_study
from tune_app.tuning.runner import run_study

pytestmark = pytest.mark.slow

PLAN = SequentialPlan(default_looks(20), rope=0.5)
ARMS = [f"arm={number}" for number in range(1, len(EFFECTS) + 1)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequential")
    study = write_study(folder)
    run_study(read_study(study), str(folder), executor="inline")
    return folder / "drawn"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The differences of all arms and seeds, by arm."""
    folder = tmp_path_factory.mktemp("whole")
    run_study(read_study(write_study(folder, sequential=False)), str(folder), executor="inline")
    table = load_study(folder / "drawn").trials.pivot(index="arm", columns="seed", values="test_score")
    return table.loc[ARMS] - table.loc["arm=0"]


def without(store, tmp_path, is_gone):
    shutil.copytree(store, tmp_path / "copy")
    remove_trials(tmp_path / "copy", is_gone)
    return load_study(tmp_path / "copy")


def test_verdicts_are_those_of_the_looks_and_rest_on_the_seeds_up_to_the_look(store, whole):
    results = load_study(store)
    table = effects(results).set_index("arm").loc[ARMS]
    decisions = decide(whole.to_numpy(), PLAN)
    directed = ("better", "worse", "equivalent")
    assert table.verdict.tolist() == [one.state if one.state in directed else "undecided" for one in decisions]
    assert {"better", "undecided"} <= set(table.verdict)
    assert table.n.tolist() == [one.seeds for one in decisions]
    assert np.allclose(table.difference, [one.estimate for one in decisions])
    assert (table.lost == 0).all()
    assert table.p_holm.isna().all()
    assert missing_rule(results)[1:] == []


def test_the_sentence_says_at_which_look_and_why_an_arm_stopped_and_corrects_its_difference(store, whole):
    results = load_study(store)
    table = looks_table(results, course_of(results)).set_index("arm")
    words = effects(results).set_index("arm").words
    for arm, decision in zip(ARMS, decide(whole.to_numpy(), PLAN), strict=True):
        look = f"look {len(decision.path)} of 12, with {decision.seeds} of 20 seeds"
        if decision.state in ("better", "worse") and decision.seeds < 20:
            corrected = corrected_estimate(whole.loc[arm].to_numpy(), decision, PLAN, len(ARMS))
            assert table.corrected[arm] == pytest.approx(corrected)
            shown = f"{corrected:+.4f}".replace("-", "−")
            assert words[arm].endswith(
                f"decided at {look}; corrected for stopping early (median-unbiased), the difference is {shown}"
            )
        elif decision.state == "futile":
            assert f"stopped at {look}: the chance that all seeds would decide was below 10 %" in words[arm]
            assert np.isnan(table.corrected[arm])
    assert "futile" in set(table.state)


def test_results_beyond_the_stop_of_an_arm_change_no_verdict(store, tmp_path):
    """An extension and then the shorter study again: the arms have more results than their looks used."""
    longer = tmp_path / "longer"
    study = write_study(tmp_path)
    run_study(read_study(study, None, ["sequential=false", "seeds=9"]), str(longer), executor="inline")
    run_study(read_study(study), str(longer), executor="inline")
    columns = ["arm", "n", "lost", "difference", "verdict"]
    assert effects(load_study(longer / "drawn"))[columns].equals(effects(load_study(store))[columns])


def test_a_study_that_goes_on_says_so(store, tmp_path):
    results = without(store, tmp_path, lambda row: row["seed"] >= 5)
    words = effects(results).set_index("arm").words
    going_on = [one for one in words if "not yet decided: look 2 of 12, with 5 of 20 seeds, was not the last" in one]
    assert going_on
    assert "2 of 12 looks are made" in write_report(results, tmp_path).read_text()
    nothing = without(store, tmp_path / "more", lambda row: row["seed"] >= 2)
    assert effects(nothing).words.str.contains("not yet decided: the first of 12 looks is at 4 seeds").all()
    write_report(nothing, tmp_path / "more")


def test_a_claim_has_the_verdict_of_the_looks_and_none_before_the_last(store, tmp_path):
    stated = [
        {"text": arm, "arm": arm, "against": "arm=0", "expect": "better", "metric": metric}
        for metric in ("test_score", "val_score")
        for arm in ARMS
    ]

    def with_claims(results):
        reference = Reference.model_validate({"source": "B", "table": "", "claims": stated})
        return dataclasses.replace(results, spec=results.spec.model_copy(update={"reference": reference}))

    results = load_study(store)
    found, table = claims(with_claims(results)), effects(results).set_index("arm").loc[ARMS]
    held = {"better": "held", "worse": "did not hold", "equivalent": "did not hold"}
    expected = [held.get(verdict, "undecided at this scale") for verdict in table.verdict]
    assert found["verdict"][: len(ARMS)].tolist() == expected
    assert found["n"][: len(ARMS)].tolist() == table.n.tolist()
    assert found["p_claim"][: len(ARMS)].isna().all()
    early = claims(with_claims(without(store, tmp_path, lambda row: row["seed"] >= 5)))
    assert set(early["verdict"]) == {"undecided at this scale"}
    assert early["words"].str.contains("the study needs further looks").all()


def test_an_arm_that_stopped_and_whose_verdict_is_withheld_is_said_to_be_withheld(store, tmp_path):
    """The arm called better lost its worst run, which the looks do not see."""
    results = load_study(store)
    table = effects(results).set_index("arm").loc[ARMS]
    arm = next(name for name in ARMS if table.verdict[name] == "better" and table.n[name] < 20)
    is_lost = (results.trials["arm"] == arm) & (results.trials["seed"] == 1)
    lost = dataclasses.replace(results, trials=results.trials.assign(status="completed"))
    lost.trials.loc[is_lost, ["status", "test_score"]] = ["diverged", np.nan]
    found = effects(lost).set_index("arm").loc[arm]
    assert (found.verdict, found.withheld) == ("undecided", "lost")
    assert "stopped as better at look" in found.words
    assert "corrected for stopping" not in found.words
    page = write_report(lost, tmp_path).read_text()
    assert "stopped as better, verdict withheld" in page


def test_an_interval_without_zero_is_explained_by_the_level_of_the_look(store, tmp_path):
    for last in range(4, 12):
        results = without(store, tmp_path / str(last), lambda row, last=last: row["seed"] >= last)
        table = effects(results)
        open_ones = table[(table.verdict == "undecided") & (table.low > 0)]
        if len(open_ones):
            assert open_ones.words.str.contains("leaves out zero, but the level of a look is stricter").all()
            return
    pytest.fail("no look left an arm undecided whose interval leaves out zero")


def test_another_metric_has_the_warning_that_the_looks_were_not_about_it(store):
    words = effects(load_study(store), "val_score").words
    assert words.str.contains("seeds were added by looks at test score, so the error here may be above 5 %").all()


def test_the_path_is_that_of_the_rule_and_drawn_with_its_boundary(store, whole):
    results = load_study(store)
    paths = path_data(course_of(results))
    expected = [
        (arm, *look) for arm, one in zip(ARMS, decide(whole.to_numpy(), PLAN), strict=True) for look in one.path
    ]
    assert list(paths[["arm", "seeds", "t", "critical"]].itertuples(index=False, name=None)) == expected
    picture = draw_paths(paths, arm_styles(results.arms, "arm=0"), metric=results.metric_record())
    axes = [ax for ax in picture.figure.axes if ax.get_visible()]
    assert len(axes) == len(ARMS)
    first = paths[paths["arm"] == "arm=1"]
    drawn = {tuple(np.round(line.get_ydata(), 6)) for line in axes[0].lines}
    assert tuple(np.round(first["t"], 6)) in drawn
    limit = axes[0].get_ylim()[1]
    assert tuple(np.round(np.minimum(first["critical"], limit), 6)) in drawn


def test_the_report_has_where_each_arm_stopped_and_the_share_of_trainings(store, tmp_path):
    text = write_report(load_study(store), tmp_path).read_text()
    section = text[text.index('<h2 id="looks">') :]
    section = section[: section.index("</section>")]
    assert all(f"{arm}</th>" in section or f"{arm}</td>" in section for arm in ARMS)
    trainings = len(load_study(store).trials)
    assert f"The arms took {trainings} of the 140 trainings" in section
    assert section.count("<figure") == 1
    assert re.search(r"Group-sequential, with alpha spending \(quadratic", text)

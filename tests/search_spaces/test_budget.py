"""Budgets: what they allow, what is spent, and that they change no digest."""

import pytest

from search_spaces.budget import Budget, Usage, cost_lines, pruning_saved, total
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from, study_from_store, study_to_store

STUDY = {"name": "x", "factors": {"model.norm": ["batch", "group"]}, "seeds": 2}
BUDGET = {"gpu_hours": 10, "cpu_hours": 50, "money": 25, "price": {"gpu_hour": 2.5, "cpu_hour": 0.05}}


def test_usage_is_time_times_share():
    used = total([Usage.of(3600, 0.25, 2), Usage.of(1800, 1, 4), Usage.of(None, 1, 1), Usage.of(60, None, None)])
    assert (used.gpu_hours, used.cpu_hours) == (0.75, 4.0)


def test_each_limit_says_what_is_spent_and_left():
    budget = study_from(STUDY | {"budget": BUDGET}).budget
    limits = {one.name: one for one in budget.limits(Usage(8, 60))}
    assert (limits["gpu_hours"].left, limits["gpu_hours"].is_spent) == (2, False)
    assert (limits["cpu_hours"].left, limits["cpu_hours"].is_spent) == (0, True)
    assert limits["money"].spent == pytest.approx(8 * 2.5 + 60 * 0.05)
    assert budget.spent(Usage(8, 60)) == "cpu_hours 60 of 50"
    assert budget.spent(Usage(9, 49)) == ""
    assert budget.spent(Usage(10, 0)) == "gpu_hours 10 of 10, money 25 of 25"


def test_a_price_without_a_limit_only_shows_the_cost():
    budget = Budget.model_validate({"price": {"cpu_hour": 2.0}})
    assert (budget.limits(Usage(1, 1)), budget.cost(Usage(1, 3)), Budget().cost(Usage(1, 1))) == ([], 6.0, None)


def test_a_budget_changes_no_digest_and_is_kept_in_the_store():
    plain, limited = study_from(STUDY), study_from(STUDY | {"budget": BUDGET})
    assert [cell.digest for cell in make_plan(plain).cells] == [cell.digest for cell in make_plan(limited).cells]
    assert study_from_store(study_to_store(limited)).budget == limited.budget
    older = {key: value for key, value in study_to_store(plain).items() if key != "budget"}
    assert study_from_store(older).budget is None


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"gpu_hours": 0}, r"budget\.gpu_hours"),
        ({"money": 5}, r"budget\.price"),
        ({"money": 5, "price": {"gpu_hour": 0}}, r"budget\.price"),
        ({"price": {"gpu_hour": -1}}, r"budget\.price\.gpu_hour"),
        ({"hours": 5}, r"budget\.hours"),
        ({"cpu_hours": float("nan")}, r"budget\.cpu_hours"),
    ],
)
def test_mistakes_in_a_budget_name_their_place(budget, words):
    with pytest.raises(StudyError, match=words):
        study_from(STUDY | {"budget": budget})


def test_a_plan_says_what_is_expected_and_warns_where_too_little_is_left():
    budget = Budget.model_validate({"cpu_hours": 10, "price": {"cpu_hour": 0.5}})
    lines = cost_lines(budget, Usage(0, 12), Usage(0, 4))
    assert lines[0] == "expected cost: 0 GPU-hours, 12 CPU-hours, 6.00 at the study's price"
    assert lines[1] == "budget: cpu_hours 10, 4 spent, 6 left"
    assert "cpu_hours lasts for about 50% of what is missing" in lines[2]
    assert len(cost_lines(budget, Usage(0, 6), Usage(0, 4))) == 2
    assert len(cost_lines(None, Usage(0, 6), Usage())) == 1


def test_pruning_saves_the_remaining_epochs_at_the_trial_s_own_speed():
    saved = pruning_saved(3600.0, 3, 12, 0.5, 2.0)
    assert (saved.gpu_hours, saved.cpu_hours) == (1.5, 6.0)
    assert pruning_saved(3600.0, 0, 12, 1, 1) == pruning_saved(3600.0, 12, 12, 1, 1) == Usage()

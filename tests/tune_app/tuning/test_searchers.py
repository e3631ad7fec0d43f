"""A search that goes on after many stored trials, without training."""

import pytest

from search_spaces.study_files import study_from
from tune_app.tuning import searchers
from tune_app.tuning.jobs import Job
from tune_app.tuning.searchers import FINISHED, OptunaSearcher

LR = {"optimizer.lr": {"loguniform": [1e-4, 1.0]}}
REFUSED = {"schedule.warmup_epochs": [0, 1], "epochs": [1, 2]}  # a warm-up of 1 needs more than one epoch


def searcher_of(space, trials, searcher="random"):
    study = study_from(
        {
            "name": "s",
            "mode": "search",
            "baseline": {"epochs": 2},
            "space": space,
            "search": {"searcher": searcher, "trials": trials, "asha": None},
        }
    )
    return OptunaSearcher(
        study.search_space(), study.search, "max", lambda config, values: Job("arm", False, {}, config, "f" * 16, 0.0)
    )


def proposed(searcher):
    """Return the configs that a searcher proposes until it has no more, each trained at once."""
    found = []
    while (suggested := searcher.suggest(f"t{len(found)}")) != FINISHED:
        found.append(Job.from_json(suggested["job"]).config)
        searcher.on_trial_complete(f"t{len(found) - 1}", {"epoch": 1, "objective": 0.5, "status": "completed"})
    return found


@pytest.mark.parametrize("space", [LR, LR | REFUSED])
def test_a_random_search_with_many_stored_trials_goes_on_as_if_it_had_not_been_interrupted(space):
    undisturbed = proposed(searcher_of(space, 260))
    assert len(undisturbed) == 260
    resumed = searcher_of(space, 260)
    for config in undisturbed[:250]:
        resumed.learn({path: config.get(path) for path in space}, config.digest(), "completed", {1: 0.5})
    assert proposed(resumed) == undisturbed[250:]


def test_a_grid_with_many_stored_trials_goes_on():
    space = {"batch_size": {"int": [1, 300]}}
    undisturbed = proposed(searcher_of(space, 200, "grid"))
    assert len(undisturbed) == 200
    resumed = searcher_of(space, 200, "grid")
    for config in undisturbed[:150]:
        resumed.learn({"batch_size": config.batch_size}, config.digest(), "completed", {1: 0.5})
    assert proposed(resumed) == undisturbed[150:]


def test_a_grid_of_too_many_combinations_for_memory_is_drawn_without_repetition():
    space = {"batch_size": {"int": [1, 65536]}, "data.train_size": {"int": [1, 10**9]}}
    configs = proposed(searcher_of(space, 32, "grid"))
    assert len({config.digest() for config in configs}) == 32
    assert proposed(searcher_of(space, 32, "grid")) == configs


def test_a_grid_that_is_drawn_has_every_combination(monkeypatch):
    space = {"batch_size": [8, 16, 32], "model.width": {"int": [1, 20]}}
    monkeypatch.setattr(searchers, "MAX_SHUFFLED", 59)
    assert len(proposed(searcher_of(space, 100, "grid"))) == 60


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_a_search_asks_for_no_more_trials_than_its_space_has_configs(kind):
    searcher = searcher_of(REFUSED, 32, kind)
    assert searcher.limit == len(proposed(searcher)) == 3

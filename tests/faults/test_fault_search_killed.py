"""A search on a real Ray, killed with SIGKILL and run again: it goes on where it was."""

import pytest
import torch
from drivers import TINY, driver, stored, wait_until
from pandas.testing import assert_frame_equal
from test_fault_search import decisions

from analysis import load_study
from search_spaces.study_parts import Asha
from tune_app.storage import LAST
from tune_app.training.checkpoints import read_checkpoint
from tune_app.tuning.schedulers import ray_scheduler

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

TRIALS, EPOCHS = 12, 45
ASHA = Asha(grace_period=5, reduction_factor=3)
RUNGS = {5, 15}
ONE_AT_A_TIME = {"RAY_OVERRIDE_RESOURCES": '{"CPU": 1}'}
"""Ray believes in one CPU: trials run in the order of their starts, and what ASHA must have decided can be worked out."""


def search():
    return {
        "name": "tiny",
        "mode": "search",
        "baseline": TINY | {"epochs": EPOCHS},
        "space": {"optimizer.lr": {"loguniform": [1e-4, 0.3]}, "model.norm": ["batch", "none"]},
        "search": {"searcher": "tpe", "trials": TRIALS, "asha": ASHA.model_dump()},
        "seeds": 1,
        "checkpoint_seconds": 0,
        "resources": {"gpu": 0.0},
    }


def rows(store):
    """Return the trials table by digest, in the order of starts."""
    return load_study(store).trials.sort_values("started_at").set_index("digest")


def finished(store):
    return {path.stem for path in (store / "trials").glob("*.parquet")}


def cut_off(store):
    """Return the names of the trials that have a checkpoint to go on from and no row."""
    return {path.parent.name for path in (store / "checkpoints").glob("*/last.pt")} - finished(store)


def killed(folder, store, trials):
    """Run the search, kill it in the middle of a trial when so many are in the store; return how long epochs took.

    By digest of the trial that was cut off, as its checkpoint says. A duration never comes out twice the same.
    """
    with driver(search(), folder, environment=ONE_AT_A_TIME) as run:
        wait_until(lambda: len(finished(store)) >= trials and cut_off(store))
        run.kill()
        wait_until(lambda: run.family() == [])
    assert trials <= len(finished(store)) < TRIALS
    checkpoints = {
        name: read_checkpoint(store / "checkpoints" / name, LAST, torch.device("cpu")) for name in cut_off(store)
    }
    return {name.split("-")[0]: [epoch["seconds"] for epoch in it["history"]] for name, it in checkpoints.items()}


def test_a_search_killed_twice_keeps_its_trials_its_winner_and_its_rungs(tmp_path):
    store = tmp_path / "tiny"
    cut = killed(tmp_path, store, trials=3)
    first = rows(store)
    cut |= killed(tmp_path, store, trials=10)
    second = rows(store)
    assert cut
    with driver(search(), tmp_path, environment=ONE_AT_A_TIME) as run:
        code, out = run.wait()
        assert code == 0, out
        wait_until(lambda: run.family() == [])
    last = rows(store)
    epochs = load_study(store).epochs.set_index(["digest", "epoch"]).sort_index()

    assert f"trained {TRIALS - len(second)} " in out
    assert len(stored(store)) == last[["optimizer.lr", "model.norm"]].drop_duplicates().shape[0] == TRIALS
    assert_frame_equal(second.loc[first.index], first)
    assert_frame_equal(last.loc[second.index], second)
    assert first.val_accuracy.max() <= second.val_accuracy.max() <= last.val_accuracy.max()
    assert set(cut) <= set(last.index), "forgot a trial that was cut off"
    for digest, seconds in cut.items():
        assert list(epochs.loc[digest].seconds[: len(seconds)]) == seconds, "trained again what a checkpoint held"

    pruned = last[last.status == "pruned"]
    assert set(last.status) == {"completed", "pruned"}
    assert set(pruned.epochs_trained) <= RUNGS
    assert set(last[last.status == "completed"].epochs_trained) == {EPOCHS}
    assert not pruned.index.difference(first.index).empty
    never_killed = decisions(
        ray_scheduler(ASHA, EPOCHS, "max"), {digest: dict(epochs.loc[digest].val_accuracy) for digest in last.index}
    )
    stops = {digest: epoch for (digest, epoch), decision in never_killed.items() if decision == "STOP"}
    assert stops == dict(pruned.epochs_trained)

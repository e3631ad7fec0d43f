"""Training functions of this module, run in this process: what raises, what is pruned, what is shared and kept."""

import json

import pandas as pd
import pytest

from search_spaces.study import StudySpec
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.runner import run_study

pytestmark = pytest.mark.slow

STUDY = {
    "name": "own",
    "metrics": {"val_score": {"better": "higher"}},
    "metric": "val_score",
    "resources": {"gpu": 0.0},
}


def spec_of(function, **parts):
    return StudySpec.model_validate(STUDY | {"task": {"run": f"{__name__}:{function.__name__}"}} | parts)


def run(spec, folder):
    return run_study(spec, str(folder), executor="inline")


def trials_of(folder):
    return pd.read_parquet(folder / "own" / "trials")


def raising(context, kind="a", lr=1.0):
    if lr > 2:
        raise ValueError("lr is too large")
    yield {"val_score": -abs(lr - 0.1) + 0.001 * context.seed}


def test_a_tuned_study_with_trials_that_raise_trains_the_final_cells(tmp_path):
    tune = {"space": {"args.lr": [0.1, 10.0]}, "trials": 4, "repeats": 1}
    spec = spec_of(raising, baseline={"args": {"kind": "a", "lr": 1.0}}, factors={"args.kind": ["a", "b"]}, tune=tune)
    first = run(spec, tmp_path)
    finals = trials_of(tmp_path).set_index("seed").loc[1000]
    assert finals["arm"].tolist() == ["kind=a", "kind=b"]
    assert {json.loads(config)["args"]["lr"] for config in finals["config"]} == {0.1}
    assert first.counts["failed"] == 2
    assert dict(run(spec, tmp_path).counts) == {"failed": 2}  # a failed trial is trained again


def test_a_sequential_study_with_a_cell_that_raises_goes_on_to_its_last_look(tmp_path):
    spec = spec_of(
        raising,
        baseline={"args": {"lr": 1.0}},
        factors={"args.lr": [1.0, 10.0, 0.5]},
        seeds=4,
        sequential={"looks": [2, 3, 4]},
        rope=0.0,
    )
    assert dict(run(spec, tmp_path).counts) == {"completed": 8, "failed": 4}
    assert trials_of(tmp_path).groupby("arm")["seed"].max().to_dict() == {"lr=0.5": 3, "lr=1.0": 3, "lr=10.0": 3}
    assert dict(run(spec, tmp_path).counts) == {"failed": 4}  # of all looks


def one_epoch(lr=1.0):
    return {"val_score": -abs(lr - 0.1)}


def three_epochs(context, lr=1.0):
    for epoch in range(1, context.epochs + 1):
        yield {"val_score": -abs(lr - 0.1) + 0.01 * epoch}
    yield context.final({"test_score": 0.5})


@pytest.mark.parametrize(("function", "epochs"), [(one_epoch, 1), (three_epochs, 3)])
def test_asha_prunes_no_trial_that_has_all_its_epochs(tmp_path, function, epochs):
    spec = spec_of(
        function,
        mode="search",
        baseline={"args": {"lr": 1.0}, "epochs": epochs},
        space={"args.lr": {"loguniform": [0.001, 1.0]}},
        search={"searcher": "random", "trials": 9, "asha": {"grace_period": epochs, "reduction_factor": 3}},
        seeds=1,
    )
    assert dict(run(spec, tmp_path).counts) == {"completed": 9}


FAILED: set[float] = set()


def failing_once(context, lr=1.0):
    if lr == 8.0 and lr not in FAILED:
        FAILED.add(lr)
        raise ValueError("the first time")
    for epoch in range(1, context.epochs + 1):
        yield {"val_score": -lr + 0.01 * epoch}


def test_a_further_attempt_at_a_trial_of_a_search_is_compared_with_the_trials_before_it(tmp_path):
    FAILED.clear()
    spec = spec_of(
        failing_once,
        mode="search",
        baseline={"args": {"lr": 1.0}, "epochs": 9},
        space={"args.lr": [1.0, 2.0, 4.0, 8.0]},
        search={"searcher": "grid", "trials": 4, "asha": {"grace_period": 1, "reduction_factor": 3}},
    )
    run(spec, tmp_path)
    last = trials_of(tmp_path).sort_values("finished_at").iloc[-1]
    assert (last["levels"], last["attempts"]) == ('{"args.lr": "8"}', 2)
    assert (last["status"], last["epochs_trained"]) == ("pruned", 1)


def mistaken(context, kind="good"):
    given = {"val_score": 0.5}
    first = 0 if kind == "from 0" else 1
    for epoch in range(first, first + 2):
        given["epoch"] = epoch
        if kind == "column":
            given["precision"] = 0.8
        if kind == "count":
            given["parameters"] = 3
        yield given
    last = {"parameters": 3.0}
    if kind == "final":
        last["device"] = 1.0
    yield context.final(last)


def test_metrics_with_the_name_of_a_column_fail_their_trial_alone_with_the_remedy(tmp_path):
    kinds = ["good", "from 0", "column", "count", "final"]
    spec = spec_of(mistaken, baseline={"args": {"kind": "good"}, "epochs": 2}, factors={"args.kind": kinds}, seeds=1)
    assert dict(run(spec, tmp_path).counts) == {"completed": 1, "failed": 4}
    found = trials_of(tmp_path).set_index("arm")
    errors = found["error"]
    assert (
        "yielded 'precision', which is a column of the results store; give the metric another name"
        in (errors["kind=column"])
    )
    assert "'device'" in errors["kind=final"]
    assert "context.final" in errors["kind=count"]
    assert "'epoch' as 0, but this is epoch 1" in errors["kind=from 0"]
    assert found.loc["kind=good", "parameters"] == 3
    assert found["attempts"].tolist() == [1] * 5
    epochs = pd.read_parquet(tmp_path / "own" / "epochs")
    assert epochs[epochs["digest"] == found.loc["kind=good", "digest"]]["epoch"].tolist() == [1, 2]


def counted():
    return {"val_score": 0.5, "parameters": 1234}


def test_a_returned_mapping_may_have_the_number_of_parameters(tmp_path):
    run(spec_of(counted, factors={"epochs": [1, 2]}, baseline={"epochs": 1}, seeds=1), tmp_path)
    assert trials_of(tmp_path)["parameters"].tolist() == [1234, 1234]


def shared(kind="a", lr=0.1):
    return {"val_score": {"a": 0.8, "b": 0.5}[kind] - (lr - 0.1) ** 2}


def test_a_final_cell_that_two_arms_share_is_trained_once(tmp_path):
    tune = {"space": {"args.lr": [0.1, 0.2]}, "extra": {"kind=b": {"args.kind": ["a", "b"]}}, "trials": 8, "repeats": 2}
    spec = spec_of(shared, baseline={"args": {"kind": "a", "lr": 0.1}}, factors={"args.kind": ["a", "b"]}, tune=tune)
    summary = run(spec, tmp_path)
    assert summary.trained == len(trials_of(tmp_path))


class Counter:
    count = 0

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def keeping(context, place="", width=1):
    first = context.register(counter=Counter())
    for epoch in range(first, context.epochs + 1):
        if epoch == 1:
            context.artifact(place, "kept.txt")
        yield {"val_score": 0.5}


def test_the_names_of_artifacts_that_were_kept_before_an_interruption_stay(tmp_path, monkeypatch):
    file = tmp_path / "file.txt"
    file.write_text("kept")
    args = {"place": str(file), "width": 1}
    spec = spec_of(
        keeping,
        baseline={"args": args, "epochs": 3},
        factors={"args.width": [1, 2]},
        seeds=1,
        checkpoint_seconds=0.0,
    )
    monkeypatch.setattr("tune_app.tuning.runner.REPORT_SECONDS", 0.0)
    monkeypatch.setattr(Recorder, "use", lambda self, usage: self.interrupt())
    assert run(spec, tmp_path).interrupted
    monkeypatch.undo()
    run(spec, tmp_path)
    assert trials_of(tmp_path)["artifacts"].tolist() == ['["kept.txt"]'] * 2

"""Training functions of this module, run in this process: what raises, what is pruned, what is shared and kept."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from analysis import load_study
from search_spaces.study import StudySpec
from tune_app.storage import BEST, LAST
from tune_app.training.checkpoints import read_checkpoint, write_checkpoint
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.rehearsal import rehearse
from tune_app.tuning.runner import run_study
from tune_app.web.tables import epoch_rows, trial_rows

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
        if kind == "time":
            given["seconds"] = 0.1
        yield given
    last = {"parameters": 3.0}
    if kind == "final":
        last["device"] = 1.0
    yield context.final(last)


def test_metrics_with_the_name_of_a_column_fail_their_trial_alone_with_the_remedy(tmp_path):
    kinds = ["good", "from 0", "column", "count", "final", "time"]
    spec = spec_of(mistaken, baseline={"args": {"kind": "good"}, "epochs": 2}, factors={"args.kind": kinds}, seeds=1)
    assert dict(run(spec, tmp_path).counts) == {"completed": 1, "failed": 5}
    found = trials_of(tmp_path).set_index("arm")
    errors = found["error"]
    assert (
        "yielded 'precision', which is a column of the results store; give the metric another name"
        in (errors["kind=column"])
    )
    assert "'device'" in errors["kind=final"]
    assert "context.final" in errors["kind=count"]
    assert "yielded 'seconds', which the program measures itself; leave it out" in errors["kind=time"]
    assert "'epoch' as 0, but this is epoch 1" in errors["kind=from 0"]
    assert found.loc["kind=good", "parameters"] == 3
    assert found["attempts"].tolist() == [1] * 6
    epochs = pd.read_parquet(tmp_path / "own" / "epochs")
    assert epochs[epochs["digest"] == found.loc["kind=good", "digest"]]["epoch"].tolist() == [1, 2]


MEASURED = ["learning_rate", "gradient_norm", "weight_norm", "dead_fraction", "images_per_second"]


def measuring(context, width=1):
    for epoch in range(1, context.epochs + 1):
        yield {"val_score": 0.1 * epoch} | dict.fromkeys(MEASURED[:-1], epoch + width)
    yield context.final({MEASURED[-1]: 812.0 * width})


@pytest.mark.parametrize("declared", [[], MEASURED])
def test_metrics_with_the_names_of_what_the_built_in_training_measures_are_kept(tmp_path, declared):
    about = {"metrics": STUDY["metrics"] | {name: {"better": "higher"} for name in declared}, "choose_by": "val_score"}
    if declared:
        about["metric"] = MEASURED[-1]
    baseline = {"args": {"width": 1}, "epochs": 2}
    spec = spec_of(measuring, baseline=baseline, factors={"args.width": [1, 2]}, seeds=1, **about)
    assert dict(run(spec, tmp_path).counts) == {"completed": 2}
    found = load_study(tmp_path / "own")
    assert found.problems == ()
    trials = found.trials.set_index("arm").loc["width=2"]
    assert trials[MEASURED].tolist() == [4.0] * 4 + [1624.0]
    epochs = found.epochs[found.epochs["arm"] == "width=2"]
    assert epochs["weight_norm"].tolist() == [3.0, 4.0]
    shown = trial_rows(pq.read_table(tmp_path / "own" / "trials"))
    assert sorted(row["metrics"][MEASURED[-1]] for row in shown) == [812.0, 1624.0]
    curves = epoch_rows(pq.read_table(tmp_path / "own" / "epochs"))
    assert sorted(rows.metric("learning_rate").tolist() for rows in curves.values()) == [[2.0, 3.0], [3.0, 4.0]]


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


def resuming(context, width=1):
    first = context.register(counter=Counter())
    context.log("from", first)
    for epoch in range(first, context.epochs + 1):
        yield {"val_score": 0.1 * epoch}


@pytest.mark.parametrize("device", ["cuda", "cpu", None])
def test_a_training_goes_on_from_a_checkpoint_of_its_own_device_type_only(tmp_path, monkeypatch, caplog, device):
    spec = spec_of(resuming, baseline={"epochs": 3}, factors={"args.width": [1, 2]}, seeds=1, checkpoint_seconds=0.0)
    monkeypatch.setattr("tune_app.tuning.runner.REPORT_SECONDS", 0.0)
    monkeypatch.setattr(Recorder, "use", lambda self, usage: self.interrupt())
    assert run(spec, tmp_path).interrupted
    monkeypatch.undo()
    (file,) = (tmp_path / "own/checkpoints").glob(f"*/{LAST}")
    payload = read_checkpoint(file.parent, LAST, torch.device("cpu"))
    assert payload.pop("device") == "cpu"
    write_checkpoint(file.parent, LAST, payload | ({"device": device} if device else {}))
    run(spec, tmp_path)
    digest = file.parent.name.split("-")[0]
    trial = trials_of(tmp_path).set_index("digest").loc[digest]
    assert (trial["log_lines"] == "from 1", trial["epochs_trained"]) == (device == "cuda", 3)
    assert ("trained on cuda, but this process trains on cpu" in caplog.text) == (device == "cuda")


def ending_early(context, loads=False):
    counter = Counter()
    context.register(counter=counter)
    for epoch, score in enumerate((0.1, 0.9, 0.5), 1):
        counter.count = epoch
        yield {"val_score": score}
    if loads:
        context.load_best()
    yield context.final({"test_score": counter.count})


def test_a_training_that_ends_early_leaves_its_best_and_its_last_epoch(tmp_path):
    spec = spec_of(
        ending_early,
        baseline={"args": {"loads": False}, "epochs": 9},
        factors={"args.loads": [False, True]},
        seeds=1,
        checkpoint_seconds=3600.0,
        keep=["best", "last"],
    )
    assert dict(run(spec, tmp_path).counts) == {"completed": 2}
    assert trials_of(tmp_path)["best_epoch"].tolist() == [2, 2]
    folders = list((tmp_path / "own/checkpoints").iterdir())
    for folder in folders:
        best, last = (read_checkpoint(folder, name, torch.device("cpu")) for name in (BEST, LAST))
        assert (best["epoch"], best["states"]["counter"]["count"]) == (2, 2)
        assert (len(last["history"]), last["states"]["counter"]["count"]) == (3, 3)
    assert len(folders) == 2


def too_large(context, width=1):
    raise torch.OutOfMemoryError("CUDA out of memory")
    yield


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0.25, "out of memory with 0.25 of a GPU; use less memory in `args`, or a larger share in `resources.gpu`"),
        (1.0, "out of memory with 1 of a GPU; use less memory in `args`, or a larger GPU"),
    ],
)
def test_a_rehearsal_that_runs_out_of_memory_has_failed(monkeypatch, share, message):
    monkeypatch.setattr("tune_app.tuning.rehearsal.gpu_share", lambda resources, cluster: share)
    found = list(rehearse(spec_of(too_large, factors={"args.width": [1, 2]})))
    assert [(finding.passed, finding.text) for finding in found] == [
        (False, f"cell {number} of 2: failed: {message}") for number in (1, 2)
    ]


def test_running_out_of_memory_names_what_a_training_function_has(tmp_path):
    run(spec_of(too_large, factors={"args.width": [1, 2]}, seeds=1), tmp_path)
    assert trials_of(tmp_path)["error"].str.contains("use less memory in `args`, or a larger machine").all()

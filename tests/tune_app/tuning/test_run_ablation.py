"""Ablations on a real Ray."""

import json
import os
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from ray import cloudpickle

from analysis import load_study
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from
from tune_app.data import load_source
from tune_app.training import fit
from tune_app.tuning.runner import run_study
from tune_app.tuning.trainable import CellTrainable

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


ONE_WORKER = {"resources": {"gpu": 0.0, "cpu": 2}}
"""Trials run one after the other in one process: for tests that are not about several, since each has to import torch."""


def run(tree, folder, **changes):
    return run_study(study_from(tree | {"resources": {"gpu": 0.0}} | changes), str(folder))


def test_every_cell_is_trained_once_and_its_figures_are_those_of_fit(tiny_tree, tmp_path, capsys):
    summary = run(tiny_tree, tmp_path)
    assert (summary.trained, summary.already, dict(summary.counts)) == (4, 0, {"completed": 4})

    results = load_study(tmp_path / "tiny")
    assert results.problems == ()
    cells = {cell.digest: cell for cell in make_plan(study_from(tiny_tree)).cells}
    assert set(results.trials.digest) == set(cells)
    row = results.trials.iloc[0]
    config = cells[row.digest].config
    alone = list(fit(config, load_source(config.data)))
    assert row.test_accuracy == alone[-1].test.accuracy
    assert row.test_loss == pytest.approx(alone[-1].test.loss, rel=1e-6)
    assert row.val_accuracy == max(epoch.val.accuracy for epoch in alone)
    stored = results.epochs[results.epochs.digest == row.digest]
    assert stored.train_loss.tolist() == pytest.approx([epoch.train.loss for epoch in alone], rel=1e-6)
    assert (row.status, row.device, row.parameters > 0, row.epochs_trained) == ("completed", "cpu", True, 2)
    assert json.loads(row.config)["seed"] == row.seed

    again = run(tiny_tree, tmp_path)
    assert (again.trained, again.already) == (0, 4)

    more = run(tiny_tree, tmp_path, seeds=3, factors={"model.norm": ["batch", "none", "layer"]}, name="tiny")
    assert (more.trained, more.already) == (5, 4)
    assert "[9/9]" in capsys.readouterr().out


def test_checkpoints_are_thinned_once_the_row_is_written(tiny_tree, tmp_path):
    run(tiny_tree, tmp_path, seeds=1, **ONE_WORKER)
    files = sorted(path.name for path in (tmp_path / "tiny" / "checkpoints").rglob("*.pt"))
    assert files == ["best.pt", "best.pt"]
    assert not list((tmp_path / "tiny").rglob("*.tmp"))


def test_a_trial_that_diverges_is_kept_as_such_and_not_trained_again(tiny_tree, tmp_path):
    tree = tiny_tree | {"factors": {"optimizer.lr": [0.1, 1e20]}, "seeds": 1}
    assert dict(run(tree, tmp_path, **ONE_WORKER).counts) == {"completed": 1, "diverged": 1}
    trials = load_study(tmp_path / "tiny").trials.set_index("arm")
    assert trials.status["lr=1e+20"] == "diverged"
    assert trials.test_accuracy.isna()["lr=1e+20"]
    assert run(tree, tmp_path).trained == 0


def test_a_trial_that_raises_is_tried_again_and_then_failed_with_its_traceback(tiny_tree, tmp_path):
    spec = study_from(tiny_tree)
    cell = make_plan(spec).cells[0]
    fingerprint = load_source(cell.config.data).fingerprint
    blocked = tmp_path / "tiny" / "checkpoints" / f"{cell.digest}-{fingerprint}"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where a folder must be")

    summary = run(tiny_tree, tmp_path, max_failures=2, **ONE_WORKER)
    assert dict(summary.counts) == {"completed": 3, "failed": 1}
    ((name, error),) = summary.failed
    assert name == f"{cell.arm.name}, seed {cell.config.seed}"
    assert "Error" in error
    row = load_study(tmp_path / "tiny").trials.set_index("digest").loc[cell.digest]
    assert (row.status, row.attempts, len(json.loads(row.history))) == ("failed", 3, 2)
    assert row.error.startswith("Traceback")

    blocked.unlink()
    assert dict(run(tiny_tree, tmp_path, **ONE_WORKER).counts) == {
        "completed": 1
    }  # a failed cell is trained when run again


def test_an_arm_that_cannot_be_built_is_said_before_anything_is_trained(tiny_tree, tmp_path):
    model = tiny_tree["baseline"]["model"] | {"norm": "group", "norm_groups": 1}
    tree = tiny_tree | {"baseline": tiny_tree["baseline"] | {"model": model}, "factors": {"model.norm_groups": [3]}}
    with pytest.raises(StudyError, match=r"arm 'norm_groups=3' cannot be built: .*norm_groups"):
        run(tree, tmp_path)
    assert not (tmp_path / "tiny" / "trials").exists()


def test_fail_fast_stops_a_study_that_is_plainly_broken(tiny_tree, tmp_path):
    tree = tiny_tree | {"fail_fast": True, "seeds": 4, "max_failures": 0}
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "checkpoints").write_text("no folder can be made here")
    summary = run(tree, tmp_path)
    assert summary.stopped
    assert not summary.interrupted
    assert summary.counts["failed"] < 8


def test_a_cell_trained_on_other_data_does_not_count_as_done(tiny_tree, tmp_path, image_folder):
    data = {"source": "folder", "path": str(image_folder)}
    tree = tiny_tree | {"baseline": tiny_tree["baseline"] | {"data": data}, "seeds": 1}
    assert run(tree, tmp_path, **ONE_WORKER).trained == 2
    assert run(tree, tmp_path, **ONE_WORKER).trained == 0
    picture = sorted(image_folder.glob("train/*/*.png"))[0]
    picture.write_bytes(sorted(image_folder.glob("train/*/*.png"))[1].read_bytes())
    assert run(tree, tmp_path, **ONE_WORKER).trained == 2
    assert len(list((tmp_path / "tiny" / "trials").iterdir())) == 4


def test_the_store_names_no_path_and_no_environment_variable(tiny_tree, tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED_SECRET", "s3cr3t-t0ken")
    run(tiny_tree, tmp_path, seeds=1, **ONE_WORKER)
    for path in (tmp_path / "tiny").rglob("*"):
        if path.is_file():
            assert b"s3cr3t-t0ken" not in path.read_bytes()
    environment = json.loads((tmp_path / "tiny" / "environment.json").read_text())
    assert environment["cpus"] == os.cpu_count()
    assert environment["packages"]["torch"]
    schema = pq.read_schema(next((tmp_path / "tiny" / "trials").iterdir()))
    assert schema.metadata is None or set(schema.metadata) <= {b"ARROW:schema"}


class Short(CellTrainable):
    """A trial of 0.2 s that notes its process, and ends at once when two processes have trained."""

    def step(self):
        self._wait_for_workers()
        folder = Path(self._runner.settings.checkpoints.removeprefix("file://")).parent / "processes"
        folder.mkdir(exist_ok=True)
        (folder / str(os.getpid())).touch()
        if len(list(folder.iterdir())) < 2:
            time.sleep(0.2)
        return self._runner.failed("failed", "stub", final=True)


def test_trials_shorter_than_the_start_of_a_worker_still_run_side_by_side(tiny_tree, tmp_path, monkeypatch):
    """With one pending trial the first worker takes all of them, one after the other: 60 s here."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    monkeypatch.setattr("tune_app.tuning.tuner.CellTrainable", Short)
    summary = run(tiny_tree, tmp_path, seeds=150)
    assert summary.counts["failed"] == 300
    assert len(list((tmp_path / "tiny" / "processes").iterdir())) == 2


def test_the_inline_executor_writes_the_same_figures_as_ray(tiny_tree, tmp_path):
    run(tiny_tree, tmp_path / "ray")
    run_study(study_from(tiny_tree | {"resources": {"gpu": 0.0}}), str(tmp_path / "inline"), executor="inline")
    one, other = (load_study(tmp_path / name / "tiny") for name in ("ray", "inline"))
    differs = ["node", "run_id", "started_at", "finished_at", "seconds", "images_per_second"]
    assert len(one.correct) == 4
    for table in ("trials", "epochs", "quantiles", "correct"):
        frames = [getattr(found, table).drop(columns=differs, errors="ignore") for found in (one, other)]
        pd.testing.assert_frame_equal(*frames)

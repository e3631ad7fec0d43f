"""What a run that died leaves of its trials: in checkpoints, in live.json, and in `report --partial`."""

import itertools

import pandas as pd
import pytest
from typer.testing import CliRunner

from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.store_schema import key
from search_spaces.study_files import study_from, study_to_store
from tune_app.cli import app
from tune_app.data import load_source
from tune_app.training import fit
from tune_app.tuning.partial import partial_trials
from tune_app.tuning.store.live import LiveWriter, RunningTrial
from tune_app.tuning.store.writer import ResultsStore

SEED_ONE = 1


@pytest.fixture
def dead(tiny_tree, tmp_path):
    """A run of four cells that died: one cell with a checkpoint after 3 of 5 epochs, another in live.json alone."""
    spec = study_from(tiny_tree | {"baseline": tiny_tree["baseline"] | {"epochs": 5}})
    store = ResultsStore(str(tmp_path), "tiny")
    store.write_study(study_to_store(spec), {})
    first, second = make_plan(spec).cells[:2]
    arrays = load_source(first.config.data)
    trained = list(
        itertools.islice(
            fit(first.config, arrays, checkpoints=f"{store.checkpoints_url}/{key(first.digest, arrays.fingerprint)}"), 3
        )
    )
    points = {"val_accuracy": [(1, 0.25), (2, 0.5), (3, 0.75), (4, 0.5)]}
    cells = ((first, 4), (second, 4))
    running = [
        RunningTrial(cell.digest, arrays.fingerprint, cell.arm.name, cell.config.seed, at, 5, points=points)
        for cell, at in cells
    ]
    LiveWriter(store.folder, "tiny").update(running, {}, 4, 0)
    return store, spec, trained, (first, second), arrays.fingerprint


def test_a_checkpoint_gives_every_epoch_and_live_json_the_later_ones(dead):
    store, spec, trained, (first, second), _ = dead
    known, live = sorted(partial_trials(store.folder, spec, set()), key=lambda trial: trial.source)
    assert (known.digest, known.arm, known.source) == (first.digest, first.arm.name, "checkpoint, live.json")
    assert [known.epochs[epoch] for epoch in (1, 2, 3)] == [metrics.to_row() for metrics in trained]
    assert known.epochs[4] == {"epoch": 4, "val_accuracy": 0.5}
    assert (live.digest, live.source, sorted(live.epochs)) == (second.digest, "live.json", [1, 2, 3, 4])


def test_a_trial_with_a_row_is_left_out(dead):
    store, spec, _, (first, second), fingerprint = dead
    ended = {(first.digest, fingerprint), (second.digest, fingerprint)}
    assert partial_trials(store.folder, spec, ended) == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 1}'])
def test_damaged_files_are_left_out(dead, content):
    store, spec, _, (first, _), fingerprint = dead
    store.folder.write("live.json", content)
    store.checkpoints(first.digest, fingerprint).write("last.pt", content)
    assert partial_trials(store.folder, spec, set()) == []


def test_the_report_shows_what_a_dead_run_had(dead):
    store, _, trained, (first, second), _ = dead
    results = store.folder.root.rsplit("/", 1)[0]
    done = CliRunner().invoke(app, ["report", "tiny", "--partial", "--results", results], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "4 of 5" in done.output
    page = (tmp := ResultsStore(results, "tiny").folder).read("report/report.html").decode()
    assert "Trials that have not ended" in page
    assert first.digest in page
    assert second.digest in page
    assert "75.00" in page
    table = pd.read_csv(tmp.path("report/partial.csv"))
    rows = table[(table.digest == first.digest) & (table.epoch <= 3)]
    assert rows.val_loss.tolist() == pytest.approx([metrics.val.loss for metrics in trained])
    with pytest.raises(StudyError, match="no trials yet"):
        CliRunner().invoke(app, ["report", "tiny", "--results", results], catch_exceptions=False)

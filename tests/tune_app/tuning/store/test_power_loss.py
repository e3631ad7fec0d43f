"""The power fails while a store is written: what every state of the disk still holds.

The operations of a real recorder, store and compaction are recorded and cut at each point (tests/support/power_loss.py).
"""

import errno
import os
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from reports import report

from search_spaces import files
from search_spaces.store_schema import key
from search_spaces.study import StudySpec
from search_spaces.study_files import study_to_store
from tests.support.power_loss import crash_states, recorded
from tune_app.storage import BEST, LAST
from tune_app.training.checkpoints import write_checkpoint
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.store.compact import compact
from tune_app.tuning.store.merging import COMPACT
from tune_app.tuning.store.writer import ResultsStore

pytestmark = pytest.mark.slow

EPOCHS = 2


def train(recorder, store, job, mark=lambda text: None):
    """Let a trial write its checkpoints and end, as an executor would call it."""
    place = store.checkpoints(job.digest, job.fingerprint)
    for epoch in range(1, EPOCHS + 1):
        write_checkpoint(place.root, BEST, {"epoch": epoch})
        write_checkpoint(place.root, LAST, {"epoch": epoch})
        mark(f"checkpoint of {job.digest}")
    last = report(0.5, 0.75, status="completed", test_accuracy=0.7)
    trial = SimpleNamespace(trial_id=job.digest, config={"job": job.to_json()}, last_result=last)
    recorder.on_trial_start(0, [], trial)
    recorder.on_trial_result(0, [], trial, last)
    recorder.on_trial_complete(0, [], trial)


def jobs_of(job):
    other = job.config.model_copy(update={"seed": 1})
    return job, type(job)(**{**vars(job), "config": other})


def write_all(root, tree, job):
    """Return the recording of a run of two trials and a compaction."""
    spec = StudySpec.model_validate(tree)
    with recorded(root) as recording:
        store = ResultsStore(str(root), "tiny")
        store.prepare()
        store.write_study(study_to_store(spec), {"a": 1})
        recording.mark("study")
        recorder = Recorder(spec, store, lambda: 0.0)
        for each in jobs_of(job):
            train(recorder, store, each, recording.mark)
            recording.mark(each.digest)
        assert recorder.write_error is None
        assert compact(store) == 2
        recording.mark("compacted")
        train(recorder, store, job)  # an extension writes again what a merged file holds, too
    return recording


def problems_of(state, root, jobs):
    """Return what a state of the disk breaks of the promises."""
    state.restore(root)
    store, found = ResultsStore(str(root), "tiny"), []
    if "study" in state.marks and "tiny/study.yaml" not in state.files:
        found.append("no study.yaml")
    names = {(trial.digest, trial.fingerprint) for trial in store.trials()}
    finished = store.finished()
    epochs = store.curves("val_accuracy")
    if store.damage:
        found.append(f"damage: {store.damage}")
    for job in jobs:
        trial, name = (job.digest, job.fingerprint), key(job.digest, job.fingerprint)
        if job.digest in state.marks and trial not in finished:
            found.append("a trial that was written is gone")
        if trial in names and len(epochs.get(name, {})) != EPOCHS:
            found.append("a trial without its epochs")
        can_resume = f"tiny/checkpoints/{name}/{LAST}" in state.files
        if f"checkpoint of {job.digest}" in state.marks and trial not in names and not can_resume:
            found.append("neither a row nor a checkpoint")
    return found


@pytest.fixture
def problems(tmp_path, tiny_tree, job):
    """Return a function that records a run and yields the problems of each state of the disk."""

    def check():
        recording = write_all(tmp_path / "results", tiny_tree, job)
        for number, state in enumerate(crash_states(recording)):
            yield problems_of(state, tmp_path / f"state-{number}", jobs_of(job))

    return check


def test_no_power_loss_leaves_half_a_trial_or_loses_a_whole_one(problems):
    found = list(problems())
    assert [problem for problem in found if problem] == []
    assert len(found) > 200


def not_flushed(monkeypatch):
    """The mutant that never flushes a folder."""
    monkeypatch.setattr(files, "flush_folder", lambda folder: None)


class WithoutContent:
    """The module os, whose fsync flushes folders only."""

    def __getattr__(self, name):
        return getattr(os, name)

    def fsync(self, handle):
        if files.Path(f"/proc/self/fd/{handle}").is_dir():
            os.fsync(handle)


def content_not_flushed(monkeypatch):
    """The mutant that renames before the content is on the disk."""
    monkeypatch.setattr(files, "os", WithoutContent())


def row_first(monkeypatch):
    """The mutant that writes the trial's row before its other tables."""
    plain = ResultsStore.write_trial

    def write(self, row, tables, metrics):
        plain(self, row, {}, metrics)
        plain(self, row, tables, metrics)

    monkeypatch.setattr(ResultsStore, "write_trial", write)


def checkpoint_first(monkeypatch):
    """The mutant that removes a trial's checkpoints before its row is written."""
    plain = Recorder._write

    def write(self, record, status):
        self._store.folder.remove(f"checkpoints/{key(record.job.digest, record.job.fingerprint)}")
        plain(self, record, status)

    monkeypatch.setattr(Recorder, "_write", write)


def in_place(monkeypatch):
    """The mutant that writes a file where it stays."""

    def write(path, content):
        path = files.Path(path)
        files.make_folder(path.parent)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        files.flush_folder(path.parent)
        return path

    monkeypatch.setattr("tune_app.storage.write_file", write)


def merged_too_late(monkeypatch):
    """The mutant of compaction that removes the files before the merged one is there."""
    from tune_app.storage import Folder

    plain, late = Folder.write, []

    def write(self, name, content):
        late.append((self, name, content)) if name.startswith(COMPACT) else plain(self, name, content)

    remove = Folder.remove_files

    def remove_files(self, names):
        remove(self, names)
        plain(*late.pop())

    monkeypatch.setattr(Folder, "write", write)
    monkeypatch.setattr(Folder, "remove_files", remove_files)


@pytest.mark.parametrize(
    "mutant", [not_flushed, content_not_flushed, row_first, checkpoint_first, in_place, merged_too_late]
)
def test_a_writer_that_takes_a_short_cut_is_found(problems, monkeypatch, mutant):
    mutant(monkeypatch)
    assert any(problems())


def test_a_file_system_that_cannot_flush_folders_is_accepted(tmp_path, monkeypatch):
    def refused(handle):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(files.os, "fsync", refused)
    files.flush_folder(tmp_path)
    monkeypatch.setattr(files.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    with pytest.raises(OSError, match="I/O error"):
        files.flush_folder(tmp_path)


def test_the_rows_of_a_run_are_those_that_were_written(tmp_path, tiny_tree, job):
    write_all(tmp_path / "results", tiny_tree, job)
    (merged,) = (tmp_path / "results/tiny/trials").glob(f"{COMPACT}*")
    assert set(pq.read_table(merged)["digest"].to_pylist()) == {each.digest for each in jobs_of(job)}

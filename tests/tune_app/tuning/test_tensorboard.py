"""TensorBoard's event files, read back by tensorboardX's own reader of records."""

from types import SimpleNamespace

import pytest
from reports import report
from tensorboardX import proto

from search_spaces.errors import StudyError
from tune_app.tuning.store.writer import ResultsStore
from tune_app.tuning.tensorboard import TensorBoard


def scalars(path):
    """Return (tag, step, value) of an event file: records of length, its checksum, data, its checksum."""
    content, found = path.read_bytes(), []
    while content:
        size = int.from_bytes(content[:8], "little")
        event = proto.event_pb2.Event.FromString(content[12 : 12 + size])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        content = content[16 + size :]
    return found


def test_each_epoch_is_a_scalar_of_its_trial(tmp_path, job):
    writer = TensorBoard(ResultsStore(str(tmp_path), "tiny"))
    trial = SimpleNamespace(trial_id="t", config={"job": job.to_json()})
    writer.on_trial_result(0, [], trial, report(0.25, 0.75) | {"done": False})
    writer.on_trial_result(0, [], trial, report(0.5, first=3) | {"done": True})
    (folder,) = (tmp_path / "tiny" / "tensorboard").iterdir()
    assert folder.name == f"{job.arm}, seed {job.config.seed}"
    (file,) = folder.iterdir()
    found = [entry for entry in scalars(file) if entry[0] == "val/accuracy"]
    assert found == [("val/accuracy", 1, 0.25), ("val/accuracy", 2, 0.75), ("val/accuracy", 3, 0.5)]


def test_trials_stopped_early_are_closed_at_the_end(tmp_path, job):
    writer = TensorBoard(ResultsStore(str(tmp_path), "tiny"))
    trial = SimpleNamespace(trial_id="t", config={"job": job.to_json()})
    writer.on_trial_result(0, [], trial, report(0.25) | {"done": False})
    writer.on_experiment_end([])
    assert writer._writers == {}
    (file,) = (tmp_path / "tiny" / "tensorboard").glob("*/*")
    assert ("val/accuracy", 1, 0.25) in scalars(file)


def test_a_remote_store_has_no_event_files(tmp_path):
    with pytest.raises(StudyError, match="`--tensorboard` writes local files"):
        TensorBoard(ResultsStore("memory://x", "tiny"))

"""The Trainable in this process: Ray only calls its methods."""

from pathlib import Path

import pytest
import torch

from search_spaces.metrics import IMAGE_METRICS
from search_spaces.study_parts import ProbeConfig
from tune_app.data import load_source, source_key
from tune_app.tasks import image_training
from tune_app.tasks.image_classification import ImageClassification
from tune_app.tasks.image_training import parameter_count
from tune_app.tuning import trainable
from tune_app.tuning.cell import TrialSettings, lost_device
from tune_app.tuning.trainable import CellTrainable, DeviceLostError
from tune_app.user_code import CodeSource


@pytest.fixture
def start(tmp_path):
    def begin(job, report_seconds=0.0, objective="val_accuracy"):
        data = job.config.data
        settings = TrialSettings(
            task=ImageClassification(),
            choose=IMAGE_METRICS[objective],
            metric="test_accuracy",
            checkpoints=str(tmp_path),
            artifacts=str(tmp_path),
            checkpoint_seconds=0.0,
            probes=ProbeConfig(),
            cpus=1.0,
            report_seconds=report_seconds,
            code=CodeSource(),
        )
        made = object.__new__(CellTrainable)
        made.setup({"job": job.to_json()}, shared={source_key(data): load_source(data)}, settings=settings)
        return made

    return begin


def test_a_step_is_an_epoch_where_each_is_wanted(start, job):
    trial = start(job)
    first, last = trial.step(), trial.step()
    assert [len(report["epochs"]) for report in (first, last)] == [1, 1]
    assert [report["done"] for report in (first, last)] == [False, True]
    assert first["objective"] == first["epochs"][0]["val_accuracy"]
    assert "test_accuracy" not in first["trial"]
    assert sum(last["trial"]["test_confusion"]) == 40
    assert last["trial"]["parameters"] == parameter_count(job.config, load_source(job.config.data))


def test_short_epochs_are_reported_together_where_nobody_decides_on_them(start, job):
    report = start(job, report_seconds=60.0).step()
    assert [row["epoch"] for row in report["epochs"]] == [1, 2]
    assert report["done"]


def test_a_restarted_trial_reports_its_earlier_epochs_again(start, job):
    first = start(job).step()
    again = start(job, report_seconds=60.0).step()
    assert again["epochs"][0] == first["epochs"][0]
    assert [row["epoch"] for row in again["epochs"]] == [1, 2]


def test_a_process_goes_from_one_job_to_the_next(start, job):
    trial = start(job, report_seconds=60.0)
    trial.step()
    other = type(job)(**{**vars(job), "config": job.config.model_copy(update={"seed": 9})})
    assert trial.reset_config({"job": other.to_json()})
    assert trial.step()["done"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA"), "out_of_memory"),
        (RuntimeError("CUDA error: out of memory"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out_of_memory"),
        (RuntimeError("GET was unable to find an engine to execute this computation"), "out_of_memory"),
        (ValueError("no"), "failed"),
        (OSError(5, "Input/output error"), "failed"),
        (OSError(28, "No space left on device"), "unwritable"),
        (OSError(122, "Disk quota exceeded"), "unwritable"),
        (OSError(30, "Read-only file system"), "unwritable"),
    ],
)
def test_an_error_ends_the_job_and_not_the_process(start, job, monkeypatch, error, status):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(image_training, "fit", broken)
    report = start(job).step()
    assert (report["status"], report["done"]) == (status, True)
    assert "objective" not in report
    assert (str(error) in report["trial"]["error"]) == (status != "out_of_memory")


def test_a_diverged_trial_reports_no_objective(start, job):
    optimizer = job.config.optimizer.model_copy(update={"lr": 1e20})
    wild = type(job)(**{**vars(job), "config": job.config.model_copy(update={"optimizer": optimizer})})
    report = start(wild, report_seconds=60.0).step()
    assert report["status"] == "diverged"
    assert "objective" not in report


class AcceleratorError(RuntimeError):
    """Torch's class of that name, which older versions lack."""


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), True),
        (AcceleratorError("unspecified launch failure"), True),
        (RuntimeError("CUDA error: out of memory"), False),
        (torch.OutOfMemoryError("CUDA error"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_an_error_of_cuda_other_than_out_of_memory_loses_the_device(error, lost):
    assert lost_device(error) == lost


def test_a_process_that_lost_its_gpu_reports_it_and_takes_no_further_step(start, job, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(image_training, "fit", broken)
    trial = start(job)
    report = trial.step()
    assert (report["status"], report["done"], report["device_lost"]) == ("failed", False, True)
    with pytest.raises(DeviceLostError, match="illegal memory access"):
        trial.step()


def test_workers_wait_for_each_other_unless_one_cannot_note_that_it_is_up(tmp_path, monkeypatch):
    gate = tmp_path / "workers"
    gate.mkdir()
    assert trainable._number_up(gate) == 0
    trainable._note_that_up(gate)
    assert trainable._number_up(gate) == 1

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    trainable._note_that_up(gate)
    assert trainable._number_up(gate) == float("inf")

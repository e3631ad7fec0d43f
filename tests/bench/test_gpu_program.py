"""`make gpu` around its parts: packages, pieces, the page, trials in processes."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np
import pytest
import torch

from bench.gpu import packages, processes, reproduction
from bench.gpu.page import BEGIN, END, NOTHING, PAGE, TABLE, page, results_text
from bench.gpu.processes import ProcessExecutor
from bench.gpu.results import Results, Row, read_rows
from bench.gpu.settings import Settings
from search_spaces.study_files import study_from
from tune_app.tuning.runner import run_study
from tune_app.tuning.store.writer import ResultsStore

pytestmark = pytest.mark.slow

ROW = Row("speed", "a", "a", "what it is", 2.0, "images/s", "", None, 1.0, "H200", "torch 2, CUDA 13", "full")
TREE = {
    "name": "tiny",
    "baseline": {
        "data": {"source": "synthetic", "train_size": 60, "validation_size": 60, "test_size": 60},
        "model": {"depth": 8, "width": 4},
        "batch_size": 32,
        "epochs": 2,
        "precision": "float32",
    },
    "factors": {"model.norm": ["batch", "none"]},
    "seeds": 1,
    "max_failures": 0,
}


def executor(end: float = 1000.0) -> ProcessExecutor:
    return ProcessExecutor(2, 0.0, threading.Semaphore(2), time.time() + end)


def accuracies(folder) -> dict[str, dict[str, float]]:
    trials = ResultsStore(str(folder), "tiny").finished().values()
    return {trial.digest: dict(trial.metrics) for trial in trials}


def test_trials_in_processes_have_the_figures_of_the_inline_executor(tmp_path):
    spec = study_from(TREE)
    assert dict(run_study(spec, str(tmp_path / "processes"), executor=executor()).counts) == {"completed": 2}
    run_study(spec, str(tmp_path / "inline"), executor="inline")
    assert accuracies(tmp_path / "processes") == accuracies(tmp_path / "inline")


def test_a_trial_is_not_begun_near_the_end(tmp_path):
    summary = run_study(study_from(TREE), str(tmp_path), executor=executor(processes.STARTUP_SECONDS - 1))
    assert summary.interrupted
    assert summary.trained == 0


def test_a_process_that_ends_fails_its_trial_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_serve", _leave)
    summary = run_study(study_from(TREE), str(tmp_path), executor=executor())
    assert dict(summary.counts) == {"failed": 2}
    assert all("ended with exit code 3" in error for _, error in summary.failed)


@pytest.mark.timeout(100, method="thread")
def test_a_process_that_dies_at_its_import_fails_its_trial_although_the_images_fill_the_pipe(tmp_path, monkeypatch):
    source = "import multiprocessing, os\ndef serve(*_): ...\n"
    source += "if multiprocessing.current_process().name != 'MainProcess': os._exit(3)\n"
    (tmp_path / "dies_at_import.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(processes, "_serve", importlib.import_module("dies_at_import").serve)
    summary = run_study(study_from(TREE), str(tmp_path / "results"), executor=executor())
    assert [error for _, error in summary.failed] == ["the trial's process ended with exit code 3"] * 2


def test_an_epoch_that_goes_beyond_the_end_is_cut_off_and_trained_by_the_next_call(tmp_path, monkeypatch):
    with monkeypatch.context() as slow:
        slow.setattr(processes, "_serve", _never_answer)
        slow.setattr(processes, "STARTUP_SECONDS", -1000.0)  # trials are begun, although the end is there
        summary = run_study(study_from(TREE), str(tmp_path), executor=executor(0.0))
    assert (summary.interrupted, summary.trained, dict(summary.counts)) == (True, 0, {})
    assert multiprocessing.active_children() == []
    assert dict(run_study(study_from(TREE), str(tmp_path), executor=executor()).counts) == {"completed": 2}


def _never_answer(connection: Connection, *_: object) -> None:
    while True:
        connection.recv()


def _leave(*_: object) -> None:
    os._exit(3)


def test_a_file_in_pieces_is_put_together(tmp_path):
    content = bytes(range(256)) * 5
    (tmp_path / "a-1.whl").write_bytes(content)
    pieces = packages.cut(tmp_path / "a-1.whl", 500)
    assert [path.name for path in pieces] == ["a-1.whl.00", "a-1.whl.01", "a-1.whl.02"]
    assert max(path.stat().st_size for path in pieces) <= 500
    assert not (tmp_path / "a-1.whl").exists()
    (joined,) = packages.join_pieces(tmp_path, tmp_path / "joined")
    assert (joined.name, joined.read_bytes()) == ("a-1.whl", content)


def test_stores_and_the_smaller_checkpoints_are_packed_in_pieces_and_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "PIECE_BYTES", 1000)
    rng = np.random.default_rng(0)
    contents = {
        "full/a/trials/one.parquet": rng.bytes(500),
        "full/a/checkpoints/small/last.pt": rng.bytes(2500),
        "full/a/checkpoints/large/last.pt": rng.bytes(2800),
        "full/a/.lock": b"",
    }
    for name, content in contents.items():
        (tmp_path / "home" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "home" / name).write_bytes(content)
    for number in range(2):  # what was unpacked is packed again
        home, out = tmp_path / ("home" if number == 0 else "home0"), tmp_path / f"out{number}"
        out.mkdir()
        reproduction.pack(home, out)
        pieces = [f"checkpoints.zip.{piece:02d}" for piece in range(3)]
        assert sorted(path.name for path in out.iterdir()) == [*pieces, "stores.zip"]
        reproduction.unpack(out, tmp_path / f"home{number}")
    found = {path.relative_to(tmp_path / "home1").as_posix(): path for path in (tmp_path / "home1" / "full").rglob("*")}
    read = {name: path.read_bytes() for name, path in found.items() if path.is_file()}
    assert read == {name: contents[name] for name in list(contents)[:2]}


def test_what_earlier_calls_left_is_packed_before_anything_is_trained(tmp_path, monkeypatch):
    home, earlier, out = (tmp_path / name for name in ("home", "earlier", "out"))
    for folder in (home / "smoke" / "a", earlier, out):
        folder.mkdir(parents=True)
    (home / "smoke" / "a" / "one.parquet").write_bytes(b"figures")
    reproduction.pack(home, earlier)
    found = []

    def train(settings: Settings, *_: object) -> None:
        found.extend(zipfile.ZipFile(settings.out / reproduction.STORES).namelist())

    monkeypatch.setattr(reproduction, "_train", train)
    settings = Settings(torch.device("cpu"), "smoke", out, time.time(), (earlier,))
    reproduction.reproduce(settings, Results(out, settings.earlier))
    assert found == ["smoke/a/one.parquet"]


def test_missing_packages_are_named_with_the_remedy(tmp_path, monkeypatch):
    assert packages.provide(None, tmp_path) is None
    monkeypatch.setitem(packages.PACKAGES, "no_such_module_here", "no-such-package")
    problem = packages.provide(None, tmp_path)
    assert "lacks no-such-package" in problem
    assert "WHEELS=FOLDER" in problem


def test_the_list_of_packages_is_what_a_training_without_ray_imports():
    program = (
        "import importlib.metadata, sys, bench.gpu.__main__, bench.gpu.processes, tune_app.tasks.image_training, "
        "tune_app.tuning.runner, tune_app.data.sources.parquet, tune_app.data.augmentation.randaugment\n"
        "tune_app.storage.Folder('results')  # imports fsspec\n"
        "owners = importlib.metadata.packages_distributions()\n"
        "print(*{owners[name][0] for name in {m.split('.')[0] for m in sys.modules} if name in owners})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = {name.lower().replace("_", "-") for name in done.stdout.split()}
    left_out = {"ray", "optuna", "pandas", "matplotlib", "scikit-learn", "scipy", "statsmodels", "typer", "jsonschema"}
    assert not found & left_out
    needed = {name.lower() for name in packages.PACKAGES.values()}
    assert {"pydantic", "torch", "rich", "filelock", "fsspec", "pyyaml"} <= found & needed


def test_a_device_that_is_not_there_is_a_mistake_with_a_remedy(tmp_path):
    command = [sys.executable, "-m", "bench.gpu", "--device", "cuda:99", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--device cpu --size smoke" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_part_whose_process_ends_with_an_error_fails_the_call(tmp_path):
    command = [sys.executable, "-m", "bench.gpu", "--device=cpu", "--parts=reproduction", f"--out={tmp_path / 'out'}"]
    done = subprocess.run([*command, f"--data={tmp_path / 'nowhere'}"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "FAILED reproduction: its process ended with exit code 1" in done.stdout


def test_results_of_a_cpu_or_of_a_tiny_size_say_nothing_about_cuda():
    assert results_text([]) == NOTHING
    assert results_text([replace(ROW, versions="torch 2"), replace(ROW, size="smoke")]) == NOTHING


def test_the_page_has_each_figure_with_its_verdict_and_the_cells_by_seed():
    cell = replace(ROW, part="reproduction", unit="")
    rows = [
        ROW,
        replace(ROW, name="b", bound="<= 1", passed=False, error="RuntimeError: it | broke\nhere"),
        replace(cell, name="b-normalization, norm=none, seed 0", value=0.86),
        replace(cell, name="b-normalization, norm=none, seed 1", value=0.87),
        replace(cell, name="b-normalization, norm=none, seed 2", value=None),
        replace(cell, name="b-normalization, norm=none, seed 3", value=None, error="out of memory"),
    ]
    text = page(rows, f"head\n{BEGIN}\nold\n{END}\ntail\n")
    assert text.startswith("head\n")
    assert text.endswith("tail\n")
    assert "old" not in text
    assert "1 checks have a bound: 0 passed, 1 failed." in text
    assert "| a | 2 images/s |  |  |" in text
    assert "| b | 2 images/s | <= 1 | **no** (RuntimeError: it / broke) |" in text
    assert "| b-normalization | norm=none | 100 | 0.8677 | 0: 0.8600, 1: 0.8700, 2: diverged, 3: failed |" in text


def test_the_page_in_the_repository_is_what_its_table_says():
    text = PAGE.read_text(encoding="utf-8")
    assert page(read_rows(TABLE), text) == text
    assert text.count(BEGIN) == text.count(END) == 1

"""The parts of `make gpu`, each at a tiny size on the CPU; on CUDA where there is a device."""

from __future__ import annotations

import os
import signal
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import norms
from bench.gpu import agreement, memory, processes, repeats, reproduction, results, side_by_side, speed, waits
from bench.gpu.children import children, ready_lines
from bench.gpu.page import results_text
from bench.gpu.results import Check, Measured, Results, at_least, at_most, run_checks
from bench.gpu.settings import Settings, variants
from bench.gpu.speed import bytes_of_step
from bench.training import synthetic_arrays
from tune_app.tasks.image_classification import ImageClassification
from tune_app.training.state import start

pytestmark = pytest.mark.slow

PARTS = {"agreement": agreement, "repeats": repeats, "waits": waits, "memory": memory, "speed": speed}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(CPU, "smoke", tmp_path, end=time.time() + 1000)


def run(part: str, module, settings: Settings) -> Results:
    results = Results(settings.out)
    run_checks(part, module.checks(settings), results, settings.device, settings.size, settings.end)
    return results


@pytest.mark.parametrize("part", ["agreement", "repeats", "waits", "memory"])
def test_the_checks_of_a_part_pass_on_the_cpu(part, settings):
    rows = run(part, PARTS[part], settings).rows
    assert rows
    assert [row for row in rows if row.error or row.passed is False] == []


def test_speeds_are_positive_and_ratios_are_of_the_speeds_beside_them(settings):
    rows = run("speed", speed, settings).rows
    assert [row for row in rows if row.error] == []
    values = {row.name: row.value for row in rows}
    assert values.pop("ResNet-8 as a CUDA graph") is None
    assert all(value is not None and value > 0 for value in values.values())
    ratio = values["ResNet-8, batch 16: fit"] / values["ResNet-8, batch 16: textbook loop"]
    assert values["ResNet-8, batch 16: fit over textbook loop"] == pytest.approx(ratio)


@pytest.mark.parametrize(("device", "dtype"), [("cuda", torch.bfloat16), ("cpu", torch.float32)])
def test_torchs_group_norm_has_parameters_that_the_kernel_of_the_device_takes(device, dtype):
    norm = norms.as_kernel_takes_it(norms.TORCH_NORMS["group"](16), torch.bfloat16, device)
    assert {parameter.dtype for parameter in norm.parameters()} == {dtype}
    batch_norm = norms.as_kernel_takes_it(norms.TORCH_NORMS["batch"](16), torch.bfloat16, device)
    assert batch_norm.weight.dtype == torch.float32


def test_trials_side_by_side_are_summed(settings):
    rows = run("side_by_side", side_by_side, settings).rows
    assert [row.error for row in rows] == [""] * 4
    assert all(row.value > 0 for row in rows)
    assert {row.name: row.value for row in rows}["1 at once: slowest over fastest"] == 1


def test_every_component_is_checked():
    names = [name for name, _ in variants()]
    assert len(set(names)) == len(names) >= 7 + 7 + 4 + 4 + 5 + 3


def test_the_tolerance_is_above_rounding_and_below_a_wrong_training(settings):
    values = {"model.norm": "layer"}
    here = agreement.first_epoch(settings, values, CPU)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about other hardware, whose flags are set as well
        with torch.backends.mkldnn.flags(enabled=False):
            rounded = agreement.first_epoch(settings, values, CPU)
    assert agreement.largest_difference(here, rounded) < agreement.TOLERANCE / 5
    wrong = agreement.first_epoch(settings, values | {"optimizer.lr": 0.021}, CPU)
    assert agreement.largest_difference(here, wrong) > agreement.TOLERANCE
    nowhere = replace(here, gradient_norm=None)
    assert agreement.largest_difference(here, nowhere) == float("inf")


def test_the_bytes_of_a_step_are_three_times_those_of_the_layers_and_five_of_the_parameters(settings):
    training = start(speed.resnet(settings, 8, 16), synthetic_arrays(64), CPU)
    training.precision = "float32"
    training.model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU())
    image, out = 16 * 3 * 32 * 32, 16 * 4 * 32 * 32
    assert bytes_of_step(training) == 4 * (3 * (image + out + out + out) + 5 * 3 * 4 * 9)


def test_what_is_measured_is_not_measured_again_unless_it_raised(settings):
    calls = []

    def good():
        calls.append("good")
        return {"": at_most(1.0, 2.0, "s"), ": other": at_least(1.0, 2.0)}

    def bad():
        calls.append("bad")
        raise RuntimeError("no luck")

    checks = [Check("good", "what", good), Check("bad", "what", bad)]
    for folder in ("first", "second"):
        (settings.out / folder).mkdir()
        results = Results(settings.out / folder, [settings.out / "first"])
        run_checks("part", iter(checks), results, CPU, "smoke", settings.end)
    assert calls == ["good", "bad", "bad"]
    rows = {row.name: row for row in Results(settings.out / "second").rows}
    assert (rows["good"].value, rows["good"].unit, rows["good"].bound, rows["good"].passed) == (1.0, "s", "<= 2", True)
    assert rows["good: other"].passed is False
    assert (rows["bad"].passed, rows["bad"].error) == (False, "RuntimeError: no luck")


def test_nothing_is_begun_after_the_end(settings):
    results = Results(settings.out)
    checks = iter([Check("late", "", lambda: {"": Measured(1.0)})])
    run_checks("part", checks, results, CPU, "smoke", time.time())
    assert results.rows == []


def test_cells_go_on_in_the_next_call_and_their_stores_are_packed(settings, monkeypatch, tmp_path):
    monkeypatch.setattr(reproduction, "STUDIES", {"e-plain-depth": 50})
    late = replace(settings, end=time.time())
    reproduction.reproduce(late, Results(settings.out))
    assert Results(settings.out).rows == []
    reproduction.reproduce(settings, Results(settings.out))
    rows = Results(settings.out).rows
    assert sorted(row.name for row in rows) == ["e-plain-depth, depth=14, seed 0", "e-plain-depth, depth=8, seed 0"]
    assert all(0 <= row.value <= 1 for row in rows)
    assert {path.name for path in Path(settings.out).iterdir()} == {"gpu.parquet", "stores.zip"}
    reproduction.unpack(settings.out, tmp_path / "again")
    from analysis import load_study

    loaded = load_study(tmp_path / "again" / "smoke" / "e-plain-depth").trials
    assert set(loaded.test_accuracy) == {row.value for row in rows}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(results, "_cudnn", lambda: "9")
    made = reproduction.cell_rows(settings, reproduction.read_specs(settings), tmp_path / "again" / "smoke")
    assert "| e-plain-depth | depth=8 | 50 |" in results_text([replace(row, size="full") for row in made])


def test_a_large_trial_that_never_has_enough_memory_fails_the_check_at_every_size(settings, monkeypatch):
    class NeverEnough(ImageClassification):
        def train(self, config, shared, setup):
            if config.get("model.width") == 2 * memory.SMALL_WIDTH:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().train(config, shared, setup)

    monkeypatch.setattr(memory, "Starved", NeverEnough)
    (check,) = memory.checks(replace(settings, size="full"))
    found = check.run()
    assert (found[": completed"].value, found[": completed"].passed) == (1, False)


def test_processes_of_a_check_do_not_outlive_it():
    waiting = ["-c", "import sys; print('here', flush=True); sys.stdin.readline()"]
    with children(waiting, 2) as processes:
        assert ready_lines(processes) == ["here", "here"]
        assert [process.poll() for process in processes] == [None, None]
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2


def test_a_process_that_ends_before_its_line_is_an_error():
    with children(["-c", "exit(3)"], 1) as processes, pytest.raises(RuntimeError, match="ended with exit code 3"):
        ready_lines(processes)


def test_memory_is_allocated_until_there_is_no_more(monkeypatch):
    room = iter(range(3))

    def empty(*_, **__):
        if next(room, None) is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return object()

    monkeypatch.setattr(torch, "empty", empty)
    assert memory.Holder(CPU, 0.25).size() == 3 * memory.BLOCK


def test_a_cell_that_fails_is_a_failed_row_with_its_error_until_it_is_trained(settings, monkeypatch, capsys):
    monkeypatch.setattr(reproduction, "STUDIES", {"e-plain-depth": 50})
    with monkeypatch.context() as broken:
        broken.setattr(processes, "_serve", _leave)
        reproduction.reproduce(settings, Results(settings.out))
    rows = Results(settings.out).rows
    cells = ["e-plain-depth, depth=14, seed 0", "e-plain-depth, depth=8, seed 0"]
    assert sorted(row.name for row in rows) == cells
    assert {(row.value, row.passed, row.error) for row in rows} == {
        (None, False, "the trial's process ended with exit code 3")
    }
    assert capsys.readouterr().out.count("FAILED the trial's process ended with exit code 3") == 2
    reproduction.reproduce(settings, Results(settings.out))
    again = Results(settings.out).rows
    assert sorted((row.name, row.passed, row.error) for row in again) == [(name, None, "") for name in cells]


def _leave(*_: object) -> None:
    os._exit(3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("part", list(PARTS))
def test_the_checks_of_a_part_pass_on_cuda(part, settings):
    rows = run(part, PARTS[part], replace(settings, device=torch.device("cuda", 0))).rows
    assert [row for row in rows if row.error or row.passed is False] == []

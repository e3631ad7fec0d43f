from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest
import torch

from search_spaces.errors import StudyError
from tune_app.training import (
    autocast,
    full_float32,
    keep_freed_memory,
    limit_memory,
    resolve_device,
    resolve_precision,
    set_threads,
)

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def pretend_capabilities(monkeypatch: pytest.MonkeyPatch, **capabilities: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)


def test_auto_is_the_cpu_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == CPU
    assert resolve_device(CPU) == CPU
    with pytest.raises(StudyError, match=r"'cuda', but 0 CUDA devices"):
        resolve_device("cuda")


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 0)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(StudyError, match=r"'cuda:2', but 2 CUDA devices"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda1", "cpu:0", ""])
def test_an_unknown_device_is_refused_by_name(name: str) -> None:
    with pytest.raises(StudyError, match=r"must be auto, cpu, cuda or cuda:N"):
        resolve_device(name)


@pytest.mark.parametrize("feature", ["avx512_bf16", "amx_bf16", "bf16"])
def test_auto_is_bfloat16_where_the_cpu_computes_in_it(monkeypatch: pytest.MonkeyPatch, feature: str) -> None:
    pretend_capabilities(monkeypatch, avx512_f=True, **{feature: True})
    assert resolve_precision("auto", CPU) == "bfloat16"
    assert resolve_precision("bfloat16", CPU) == "bfloat16"
    assert resolve_precision("float32", CPU) == "float32"


def test_without_bfloat16_auto_is_float32_and_asking_for_it_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_capabilities(monkeypatch, avx512_f=True, avx512_bf16=False)
    assert resolve_precision("auto", CPU) == "float32"
    with pytest.raises(StudyError, match=r"`precision` is 'bfloat16', which this cpu lacks; use 'auto' or 'float32'"):
        resolve_precision("bfloat16", CPU)


def test_autocast_computes_in_the_precision_asked_for() -> None:
    x = torch.ones(2, 2)
    with autocast("bfloat16", CPU):
        assert (x @ x).dtype == torch.bfloat16
    with autocast("float32", CPU):
        assert (x @ x).dtype == torch.float32


def test_threads_are_set_for_the_process() -> None:
    set_threads(2)
    assert torch.get_num_threads() == 2


FAULTS = """
import resource, sys
import torch
from tune_app.training import keep_freed_memory

def step():
    images = [torch.ones(4 << 20) for _ in range(4)]  # 16 MiB each, all let go at once

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not the GNU C library")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    def faults(mode: str) -> int:
        # A fixed threshold of 128 KiB: by default it follows what was freed, and faults come and go with it.
        fixed = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(128 << 10)}
        command = [sys.executable, "-c", FAULTS, mode]
        return int(subprocess.run(command, env=fixed, capture_output=True, check=True).stdout)

    assert 3 * faults("keep") < faults("let go")


def test_where_the_c_library_has_no_mallopt_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(ctypes, "CDLL", opened.append)  # which returns None: a library without any function
    keep_freed_memory()
    assert opened == [None]


def test_float32_on_cuda_is_not_tf32_within_a_training_and_as_before_after_it() -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    assert before[0], "torch's default"
    with full_float32(torch.device("cuda", 0)):
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (False, False)
    assert (cudnn.allow_tf32, matmul.allow_tf32) == before
    with full_float32(CPU):
        assert (cudnn.allow_tf32, matmul.allow_tf32) == before


def test_the_memory_limit_of_a_trial_is_its_share_on_the_device_by_index(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[float, torch.device]] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: limits.append((share, device))
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for share in (0.25, 2.0):
        limit_memory(resolve_device("auto"), share)
    limit_memory(CPU, 0.25)
    assert [(share, device.index) for share, device in limits] == [(0.25, 0), (1.0, 0)]

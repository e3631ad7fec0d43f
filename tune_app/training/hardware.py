"""Hardware settings of a trial: device, precision, threads, memory."""

from __future__ import annotations

import ctypes
import gc
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch

from search_spaces.config.trial import Precision
from search_spaces.errors import StudyError
from tune_app.machine import processor_name

UsedPrecision = Literal["float32", "bfloat16"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of the GNU C library
_NEVER = -1
_LARGEST_THRESHOLD = 32 << 20

MAX_THREADS = 1024


def resolve_device(name: str | torch.device) -> torch.device:
    """Return the device named ``auto`` (CUDA if available), ``cpu``, ``cuda`` or ``cuda:N``.

    A CUDA device is returned with its index, which some of torch's functions require; 0 if none is named: Ray shows a
    worker only the GPU that it may use. StudyError for any other name, or a CUDA device that does not exist.
    """
    text = str(name)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == "auto":
        return torch.device("cuda", 0) if found else torch.device("cpu")
    kind, _, index = text.partition(":")
    if text != "cpu" and (kind != "cuda" or not (index.isdecimal() or text == "cuda")):
        raise StudyError(f"`device` is {text!r}, but must be auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(index or 0) >= found:
        raise StudyError(f"`device` is {text!r}, but {found} CUDA devices are available; use device cpu")
    return torch.device(kind, int(index or 0)) if kind == "cuda" else torch.device(kind)


def resolve_precision(precision: Precision, device: torch.device) -> UsedPrecision:
    """Return the training precision: ``auto`` is bfloat16 if the hardware supports it natively, else float32.

    StudyError if bfloat16 is requested and the hardware would only emulate it.
    """
    if precision == "float32":
        return "float32"
    if _has_bfloat16(device):
        return "bfloat16"
    if precision == "bfloat16":
        raise StudyError(f"`precision` is 'bfloat16', which this {device.type} lacks; use 'auto' or 'float32'")
    return "float32"


def limit_memory(device: torch.device, share: float) -> None:
    """Release what earlier trials left on a GPU, and limit this process to a share of its memory; nothing on the CPU.

    The limit is on torch's own allocations. CUDA's context takes some hundred megabytes beside them.
    """
    if device.type == "cuda":
        gc.collect()  # a trial that failed may be held by reference cycles of its traceback
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)


def device_name(device: torch.device) -> str:
    """Return the device's own name, such as "NVIDIA H200" or the processor's."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return processor_name()


def autocast(precision: UsedPrecision, device: torch.device) -> AbstractContextManager[None]:
    """Return the context of a forward pass: bfloat16 autocast, or autocast disabled for float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Compute in float32 on a GPU where float32 is asked for: torch's default for convolutions is TF32, of 11 bits."""
    if device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.9 announces other names, which mixed with these raise
        before = cudnn.allow_tf32, matmul.allow_tf32
        cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def set_threads(threads: int) -> None:
    """Set the number of CPU threads of torch in this process; results may depend on it in the last bits."""
    torch.set_num_threads(min(threads, MAX_THREADS))


def keep_freed_memory() -> None:
    """Let this process retain the memory that it frees, if the C library is GNU's; elsewhere this has no effect.

    A training step frees all its activations and the next one allocates the same amount. By default buffers of
    megabytes are returned to the system in between, and all their pages are cleared and mapped again: a seventh of a
    step at a batch of 128 images of 32 x 32, a third at 512. Peak memory hardly changes; the retained memory is
    returned when the process ends.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch
        return bool(torch.cpu._is_avx512_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))

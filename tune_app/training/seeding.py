"""The only file that changes the process's global random state.

Only draws of code that takes no generator come from it: dropout, networks and training functions of the user's own. All
others have generators of their own (`tune_app.draws`). Each training has its own global random state: it is set while
the training computes, and the previous state is restored afterwards. So a result depends on its seed only, not on other
trainings in the same process.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from tune_app.training.hardware import full_float32

State = dict[str, Any]


class GlobalStreams:
    """The states of the global generators of Python, NumPy and torch for one training, and deterministic algorithms.

    ``state`` consists of plain data and tensors, so it can be stored in a checkpoint.
    """

    def __init__(self, seed: int, device: torch.device, *, strict: bool = True) -> None:
        """Seed the generators; without ``strict`` an operation that has no deterministic version is allowed."""
        self._device, self._strict = device, strict
        outer = _capture(device)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        self.state = _capture(device)
        _restore(outer, device)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Run the block with this training's random state and deterministic algorithms, then restore the old state.

        If ``strict``, float32 is not TF32 in the block.
        """
        outer = _capture(self._device)
        _restore(self.state, self._device)
        try:
            with _deterministic(self._strict), full_float32(self._device) if self._strict else nullcontext():
                yield
        finally:
            self.state = _capture(self._device)
            _restore(outer, self._device)

    def restore(self, state: State) -> None:
        """Continue from a stored state, inside or outside of `active`."""
        self.state = state
        _restore(state, self._device)


def _capture(device: torch.device) -> State:
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    assert isinstance(numpy_state, dict)
    key = torch.from_numpy(numpy_state["state"]["key"].astype(np.int64))
    return {
        "python": random.getstate(),
        "numpy": {**numpy_state, "state": {**numpy_state["state"], "key": key}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def _restore(state: State, device: torch.device) -> None:
    numpy_state = state["numpy"]
    key = numpy_state["state"]["key"].cpu().numpy().astype(np.uint32)
    random.setstate(state["python"])
    np.random.set_state({**numpy_state, "state": {**numpy_state["state"], "key": key}})  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


@contextmanager
def _deterministic(strict: bool) -> Iterator[None]:
    """Allow only deterministic operations inside the block.

    An operation without a deterministic version raises, or is allowed if not ``strict``. cuBLAS reads its setting when
    it first starts in the process.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    mode = torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    benchmark = torch.backends.cudnn.benchmark
    # Not use_deterministic_algorithms: it sets the same, and imports torch's compiler, which takes seconds.
    torch.set_deterministic_debug_mode("error" if strict else "warn")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    try:
        with warnings.catch_warnings():
            if not strict:
                warnings.filterwarnings("ignore", message=".*deterministic.*", category=UserWarning)
            yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark

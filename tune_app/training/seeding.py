"""The one file that touches the process's global random state.

Weights and dropout draw from torch's global generators; order and augmentation have a generator of their own. A
training keeps its share of the global state to itself: it is put in place for the time that the training computes, and
what was there before comes back after. So a result depends on its seed alone, not on what ran before it in the process
or beside it.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

State = dict[str, Any]


class GlobalStreams:
    """One training's states of the global generators of Python, NumPy and torch, and deterministic algorithms.

    ``state`` is plain data and tensors, fit for a checkpoint.
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
        """Run the block on this training's random streams with deterministic algorithms, then put back the others."""
        outer = _capture(self._device)
        _restore(self.state, self._device)
        try:
            with _deterministic(self._strict):
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
    """Allow only operations that give the same bits every time, for the length of the block.

    An operation without such a version raises, or is allowed where not ``strict``.
    cuBLAS reads its setting when it first starts in the process.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic = torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=not strict)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    try:
        with warnings.catch_warnings():
            if not strict:
                warnings.filterwarnings("ignore", message=".*deterministic.*", category=UserWarning)
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark


def order_generator(seed: int) -> torch.Generator:
    """Return the CPU generator of order and augmentation, a stream of its own beside the weights' of the same seed."""
    own_seed = np.random.SeedSequence([seed, 1]).generate_state(1)[0]
    return torch.Generator().manual_seed(int(own_seed))

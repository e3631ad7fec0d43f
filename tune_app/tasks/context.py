"""The context: what a user's training function is given by the program."""

from __future__ import annotations

import copy
import logging
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from search_spaces.errors import StudyError
from search_spaces.metrics import split_of
from search_spaces.study_checks import RESERVED
from tune_app.storage import Folder
from tune_app.tasks.base import TrialSetup

if TYPE_CHECKING:  # a user's module imports this one; torch is imported when a trial starts
    import torch

    from tune_app.training.checkpoints import CheckpointFolder
    from tune_app.training.seeding import GlobalStreams

_log = logging.getLogger("tune_app.trial")
LOG_LINES, LOG_WIDTH = 100, 200
"""How many lines of a trial's log are kept, the last ones, and how many characters of each."""


class Stateful(Protocol):
    """What `Context.register` takes: networks, optimizers, schedulers, gradient scalers, and the like."""

    def state_dict(self) -> Any:
        """Return the state as plain data and tensors."""
        ...

    def load_state_dict(self, state: Any, /) -> Any:
        """Set the state."""
        ...


class Final(dict[str, float]):
    """The last figures of a training, made by `Context.final`: the only ones that may be of the test split."""


class Context:
    """What a training function is given beside its config.

    ``device``: the torch device of this trial (a share of a GPU, with its memory limited to the share, or the CPU).
    ``epochs``: how many epochs the study asks for. ``seed``: the trial's seed; python, numpy and torch are seeded with
    it before the function is called. ``cpus``, ``gpus``: what the trial may use.
    """

    def __init__(self, epochs: int, seed: int, setup: TrialSetup, folder: CheckpointFolder | None) -> None:
        """Make the context of one trial; the program does this, not the training function."""
        from tune_app.training.hardware import resolve_device

        self.epochs, self.seed = epochs, seed
        self.cpus, self.gpus = setup.cpus, setup.gpus
        self.device = resolve_device("auto" if setup.gpus else "cpu")
        self._artifacts = setup.artifacts
        self._folder = folder
        self._registered: dict[str, Stateful] = {}
        self._best: dict[str, Any] | None = None
        self._payload: dict[str, Any] | None = None
        self._last: dict[str, Any] | None = None
        """States after the last epoch, where `load_best` has replaced them and no checkpoint has them."""
        self._is_written = True
        """Whether a checkpoint has the last epoch."""
        self._streams: GlobalStreams | None = None
        self.written: list[str] = []
        """Names of the artifacts that were written."""
        self.lines: deque[str] = deque(maxlen=LOG_LINES)
        """The last lines of the log."""

    def generator(self, purpose: str, device: str | torch.device = "cpu") -> torch.Generator:
        """Return a torch generator for one purpose, seeded by the trial's seed and the purpose.

        Two arms with one seed draw the same numbers for the same purpose, whatever else differs between them.
        """
        from tune_app.draws import keyed_generator

        return keyed_generator(self.seed, purpose, device=device)

    def register(self, **objects: Stateful) -> int:
        """Name what has to survive an interruption, and return the first epoch to train (1 for a fresh start).

        After an interruption the objects get their stored state and the random generators theirs, and the number
        returned is that of the first epoch that is missing. Call it once, when everything is built.
        """
        for name, value in objects.items():
            if not (callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))):
                raise StudyError(
                    f"context.register({name}=...) got a {type(value).__name__}, which has no state_dict and "
                    "load_state_dict; register networks, optimizers, schedulers and the like"
                )
        if self._registered:
            raise StudyError("context.register was called twice; call it once, with everything that has a state")
        self._registered = dict(objects)
        if self._payload is None:
            return 1
        states = self._payload["states"]
        if set(states) != set(objects):
            raise StudyError(
                f"the checkpoint holds {', '.join(sorted(states))}, but context.register was called with "
                f"{', '.join(sorted(objects))}; remove {self._folder}"
            )
        for name, value in objects.items():
            value.load_state_dict(states[name])
        if self._streams is not None:
            self._streams.restore(self._payload["streams"])
        return len(self._payload["history"]) + 1

    def load_best(self) -> int | None:
        """Set everything registered to its state after the best epoch so far, and return that epoch; None if none.

        The best epoch is that of the metric which the study chooses by, the earliest of equals.
        """
        if self._best is None:
            return None
        if self._last is None and not self._is_written:
            self._last = self.states()
        for name, value in self._registered.items():
            value.load_state_dict(copy.deepcopy(self._best["states"][name]))
        return int(self._best["epoch"])

    def final(self, metrics: Mapping[str, float]) -> Final:
        """Return the last figures, to be yielded last: the only place for ``test_`` metrics, so no choice sees them."""
        return Final(metrics)

    def log(self, *values: object) -> None:
        """Write a line to the trial's log: the last LOG_LINES of them are kept in the results store.

        It goes to the Python logger ``tune_app.trial`` as well.
        """
        line = " ".join(map(str, values))
        _log.info(line)
        for part in line.splitlines():
            self.lines.append(part if len(part) <= LOG_WIDTH else f"{part[: LOG_WIDTH - 3]}...")

    def artifact(self, path: str | Path, name: str | None = None) -> None:
        """Keep a file with the trial's results, under its own name or another."""
        source = Path(path)
        if not source.is_file():
            raise StudyError(f"context.artifact({str(path)!r}): there is no such file")
        target = name or source.name
        if "/" in target or target.startswith("."):
            raise StudyError(f"context.artifact: the name {target!r} must be a plain file name")
        Folder(self._artifacts).write(target, source.read_bytes())
        if target not in self.written:
            self.written.append(target)

    def states(self) -> dict[str, Any]:
        """Return a copy of the state of everything registered."""
        return {name: copy.deepcopy(value.state_dict()) for name, value in self._registered.items()}


def split_metrics(found: Mapping[str, Any], *, is_final: bool) -> dict[str, float]:
    """Return yielded metrics as numbers.

    StudyError for a value that is none, for a test metric or ``parameters`` outside `final`, for ``seconds``, and for
    the name of another column of the store, except ``epoch``.
    """
    numbers: dict[str, float] = {}
    for name, value in found.items():
        if not isinstance(name, str) or not name.isidentifier() or not name.islower():
            raise StudyError(f"the training function yielded a metric named {name!r}; use a-z, 0-9 and '_'")
        if name in RESERVED and name not in ("epoch", "parameters"):
            raise StudyError(
                f"the training function yielded {name!r}, which is a column of the results store; give the metric "
                f"another name, such as 'val_{name}'"
            )
        if name == "seconds":
            raise StudyError(
                "the training function yielded 'seconds', which the program measures itself; leave it out, or give the "
                "metric another name, such as 'val_seconds'"
            )
        if name == "parameters" and not is_final:
            raise StudyError(
                "the training function yielded 'parameters' in an epoch, but it is one figure of the whole trial; "
                "yield it once, at the end: yield context.final({...})"
            )
        if split_of(name) == "test" and not is_final:
            raise StudyError(
                f"the training function yielded {name!r} in an epoch, but the test split takes part in no choice; "
                "yield it once, at the end: yield context.final({...})"
            )
        try:
            numbers[name] = float(value.detach() if hasattr(value, "detach") else value)
        except (TypeError, ValueError):
            raise StudyError(
                f"the training function yielded {name!r} as a {type(value).__name__}, but a metric must be a number"
            ) from None
    return numbers

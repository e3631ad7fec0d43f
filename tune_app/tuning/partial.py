"""What a store has of trials that have not ended: the epochs in their checkpoints and in ``live.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.config import Config, TrialConfig, config_from
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.store_schema import key
from search_spaces.study import StudySpec
from tune_app.storage import LAST, Folder
from tune_app.tuning.store.live import read_live


@dataclass
class PartialTrial:
    """A trial without a row. ``epochs``: its columns of the epochs table by epoch, as far as they are known."""

    digest: str
    fingerprint: str
    arm: str
    seed: int
    planned: int
    source: str
    epochs: dict[int, dict[str, Any]] = field(default_factory=dict)


def partial_trials(folder: Folder, spec: StudySpec | None, ended: set[tuple[str, str]]) -> list[PartialTrial]:
    """Return the trials of a store that have epochs in a checkpoint or in ``live.json`` and are not in ``ended``.

    A checkpoint has every epoch up to it, ``live.json`` the most recent ones. Files that cannot be read are left out:
    nothing here is a result.
    """
    cells = {cell.digest: cell.arm.name for cell in make_plan(spec).cells} if spec and spec.mode == "ablation" else {}
    done = {key(*each) for each in ended}
    found: dict[str, PartialTrial] = {}
    for name in (folder / "checkpoints").names():
        trial = _from_checkpoint(folder, name, cells) if name not in done else None
        if trial is not None:
            found[name] = trial
    for live in (read_live(folder) or {}).get("running", ()):
        name = key(live["digest"], live["fingerprint"])
        points = _points(live["points"])
        if name in done or not points:
            continue
        trial = found.setdefault(
            name,
            PartialTrial(
                live["digest"],
                live["fingerprint"],
                cells.get(live["digest"], live["arm"]),
                int(live["seed"]),
                int(live["epochs"]),
                source="live.json",
            ),
        )
        later = {epoch: row for epoch, row in points.items() if epoch not in trial.epochs}
        if later and trial.source != "live.json":
            trial.source = "checkpoint, live.json"
        trial.epochs |= later
    return sorted(found.values(), key=lambda trial: (trial.arm, trial.seed, trial.digest))


def _from_checkpoint(folder: Folder, name: str, cells: Mapping[str, str]) -> PartialTrial | None:
    import torch

    from tune_app.training import CorruptCheckpoint, read_checkpoint

    checkpoints = folder / f"checkpoints/{name}"
    try:
        payload = read_checkpoint(checkpoints.filesystem.unstrip_protocol(checkpoints.root), LAST, torch.device("cpu"))
        config = config_from(payload["config"], stored=True)
        epochs = {int(row["epoch"]): row for row in (_row(config, plain) for plain in payload["history"])}
        digest, fingerprint = str(payload["digest"]), str(payload["fingerprint"])
    except (OSError, CorruptCheckpoint, StudyError, KeyError, TypeError, ValueError, AttributeError):
        return None
    arm = cells.get(digest, "not of this version of the study" if cells else f"trial {digest}")
    return PartialTrial(digest, fingerprint, arm, config.seed, config.epochs, "checkpoint", epochs)


def _row(config: Config, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of the epochs table that a checkpoint's history holds."""
    from tune_app.training import EpochMetrics

    return EpochMetrics.from_plain(plain).to_row() if isinstance(config, TrialConfig) else dict(plain)


def _points(points: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return rows of metrics by epoch; nothing for points that are damaged."""
    rows: dict[int, dict[str, Any]] = {}
    try:
        for metric, pairs in points.items():
            for epoch, value in pairs:
                rows.setdefault(int(epoch), {"epoch": int(epoch)})[str(metric)] = float(value)
    except (TypeError, ValueError, OverflowError):
        return {}
    return rows

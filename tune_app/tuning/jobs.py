"""A job: one cell as it travels to a trial and comes back in its row."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

from search_spaces.config import Config, config_from
from search_spaces.plan import Cell


@dataclass(frozen=True)
class Job:
    """One cell to train, with what went wrong in earlier attempts."""

    arm: str
    is_baseline: bool
    levels: dict[str, str]
    config: Config
    fingerprint: str
    gpus: float
    history: tuple[str, ...] = field(default=())

    @property
    def digest(self) -> str:
        """Name of the trial config."""
        return self.config.digest()

    def to_json(self) -> str:
        """Return this job as text, for Ray's trial config."""
        return json.dumps(dataclasses.asdict(self) | {"config": self.config.model_dump(mode="json")})

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Return the job that `to_json` wrote."""
        tree = json.loads(text)
        config = config_from(tree.pop("config"))
        return cls(**(tree | {"config": config, "history": tuple(tree["history"])}))

    def again(self, why: str, gpus: float | None = None) -> Job:
        """Return the job for one more attempt."""
        return dataclasses.replace(self, history=(*self.history, why), gpus=self.gpus if gpus is None else gpus)


def cell_job(cell: Cell, fingerprint: str, gpus: float) -> Job:
    """Return the first attempt at a cell."""
    return Job(cell.arm.name, cell.arm.is_baseline, dict(cell.arm.levels), cell.config, fingerprint, gpus)

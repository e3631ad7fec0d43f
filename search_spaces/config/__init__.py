"""Trial configs: everything that determines one training run of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.config.base import Config
from search_spaces.config.function import FunctionConfig
from search_spaces.config.trial import TrialConfig

__all__ = ["Config", "FunctionConfig", "TrialConfig", "config_from"]


def config_from(tree: Mapping[str, Any], *, stored: bool = False) -> Config:
    """Return the config that was written as plain data; ``stored``: in a results store, perhaps of an old release.

    Arguments of user code are taken as they are: they were checked when the study was read.
    """
    kind = FunctionConfig if "run" in tree else TrialConfig
    return kind.model_validate({"training_version": 1, **tree} if stored else dict(tree))

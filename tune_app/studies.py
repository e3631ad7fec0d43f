"""Read studies with the user's code looked at, for those who run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search_spaces import study_files
from search_spaces.study import StudySpec
from tune_app.user_code import describe


def read_study(study: str | Path, size: str | None = None, overrides: Sequence[str] = ()) -> StudySpec:
    """Return the checked study in a file, or the ready one of that name; see `search_spaces.read_study`.

    The parameters of user code that it refers to are read in a child process and checked.
    """
    return study_files.read_study(study, size, overrides, describe)


def study_from_tree(
    tree: Mapping[str, Any], folder: Path, size: str | None = None, overrides: Sequence[str] = ()
) -> StudySpec:
    """Return the checked study that plain data describes; ``folder`` is what its ``code.root`` is relative to."""
    return study_files.checked_study(tree, folder, "the study", size, overrides, describe)

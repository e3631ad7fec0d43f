"""The packages that `make gpu` needs, and their installation from a folder of wheels where there is no network."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "PIL": "pillow",
    "pyarrow": "pyarrow",
    "yaml": "PyYAML",
    "fsspec": "fsspec",
    "filelock": "filelock",
    "rich": "rich",
    "pydantic": "pydantic",
    "pydantic_core": "pydantic-core",
    "annotated_types": "annotated-types",
    "typing_inspection": "typing-inspection",
    "typing_extensions": "typing-extensions",
}
"""Module -> distribution. Neither Ray nor Optuna, pandas, matplotlib or jsonschema: these trials run without them."""


def missing() -> list[str]:
    """Return the distributions that this Python lacks."""
    return [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]


def provide(wheels: Path | None, target: Path) -> str | None:
    """Install what is missing from the wheels in a folder into ``target``; return what is still missing, as a message.

    A wheel that was cut into pieces NAME.whl.00, NAME.whl.01, ... is put together first.
    """
    if wheels is not None:
        joined = join_pieces(wheels, target / "wheels")
        names = missing() + [path.name.split("-")[0] for path in joined]
        if names:
            find = [f"--find-links={folder}" for folder in (wheels, target / "wheels")]
            command = [
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-index",
                "--no-deps",
                *find,
                f"--target={target}",
                *names,
            ]
            subprocess.run([sys.executable, *command], check=False)
            sys.path.insert(0, str(target))
            importlib.invalidate_caches()
    if not (names := missing()):
        return None
    return (
        f"this Python lacks {', '.join(names)}. Where there is a network: pip install {' '.join(names)}. Where there "
        "is none: put their wheels into a folder and give it as WHEELS=FOLDER (see docs/gpu.md)"
    )


def join_pieces(source: Path, target: Path) -> list[Path]:
    """Put files that were cut into NAME.00, NAME.01, ... together in ``target``; return them."""
    joined = []
    for first in sorted(source.glob("*.00")):
        target.mkdir(parents=True, exist_ok=True)
        whole = target / first.stem
        whole.write_bytes(b"".join(piece.read_bytes() for piece in sorted(source.glob(f"{first.stem}.[0-9][0-9]"))))
        joined.append(whole)
    return joined


def cut(file: Path, size: int) -> list[Path]:
    """Replace a file by pieces of at most ``size`` bytes, NAME.00 and so on; return them."""
    content, pieces = file.read_bytes(), []
    for number, start in enumerate(range(0, max(len(content), 1), size)):
        pieces.append(file.with_name(f"{file.name}.{number:02d}"))
        pieces[-1].write_bytes(content[start : start + size])
    file.unlink()
    return pieces

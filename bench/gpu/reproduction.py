"""Part `reproduction`: published tables at full size on the images of `DATA`, cell by cell, over several calls.

Cells are trained side by side into normal results stores. What is done, and the checkpoints of what was cut off, is
packed into `OUT` at the end of a call and unpacked at the beginning of the next one.
"""

from __future__ import annotations

import io
import os
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

from bench.gpu.packages import cut, join_pieces
from bench.gpu.processes import ProcessExecutor
from bench.gpu.results import Results, Row, versions
from bench.gpu.settings import Settings
from search_spaces.study import StudySpec
from tune_app.storage import LAST
from tune_app.studies import read_study
from tune_app.training import device_name
from tune_app.tuning.runner import run_study
from tune_app.tuning.store.writer import ResultsStore

PART = "reproduction"
STUDIES = {"e-resnet-depth": 50, "e-plain-depth": 50, "b-normalization": 100}
"""Study -> epochs. The studies of depth have 182 epochs at size full; those with the longest trials come first."""
WHAT = "test accuracy of one trial, by the model of the epoch of the best validation accuracy"
SLOTS = 8
STORES, CHECKPOINTS = "stores.zip", "checkpoints.zip"
PIECE_BYTES = 15 << 20
CHECKPOINT_PIECES = 3
PACKING_SECONDS = 20.0


def reproduce(settings: Settings, results: Results) -> None:
    """Train until all cells are done or the time is over; put the stores and the figures of the cells into `OUT`."""
    specs = read_specs(settings)
    with tempfile.TemporaryDirectory(prefix="tune-app-gpu-") as scratch:
        home = Path(scratch)
        for folder in (*settings.earlier, settings.out):
            unpack(folder, home)
        pack(home, settings.out)  # a call that is killed loses nothing of those before
        stores = home / settings.size
        failed: dict[str, str] = {}
        try:
            _train(settings, specs, stores, failed)
        finally:
            pack(home, settings.out)
            rows = [*cell_rows(settings, specs, stores), *failed_rows(settings, failed)]
            results.replace(rows, {(row.part, row.check) for row in rows})
            results.save()


def read_specs(settings: Settings) -> list[StudySpec]:
    """Return the studies as they are trained here; none at the full size without images."""
    if settings.smoke:
        return [read_study(name, "smoke", ["resources.gpu=0"]) for name in STUDIES]
    if settings.data is None:
        return []
    images = ["data.source=parquet", f"data.path={settings.data.resolve()}"]
    specs = []
    for name, epochs in STUDIES.items():
        before = read_study(name, "full").baseline.epochs
        note = (
            [f"reference.note={epochs} epochs, where the study has {before} at size full."] if epochs != before else []
        )
        specs.append(read_study(name, "full", [*images, f"epochs={epochs}", *note]))
    return specs


def _train(settings: Settings, specs: Sequence[StudySpec], stores: Path, failed: dict[str, str]) -> None:
    """Run all studies at once; they share the slots, so none waits for the last trial of another.

    ``failed`` gets the error of each cell that failed in this call.
    """
    slots = 2 if settings.smoke else min(SLOTS, os.cpu_count() or 1)
    free = threading.Semaphore(slots)
    share = 1 / slots if settings.device.type == "cuda" else 0.0
    end = settings.end - (0 if settings.smoke else PACKING_SECONDS)

    def train(spec: StudySpec) -> None:
        summary = run_study(spec, str(stores), executor=ProcessExecutor(slots, share, free, end))
        failed.update((f"{spec.name}, {cell}", error) for cell, error in summary.failed)

    with redirect_stdout(io.StringIO()), ThreadPoolExecutor(max(1, len(specs))) as pool:
        for done in [pool.submit(train, spec) for spec in specs]:
            done.result()


def cell_rows(settings: Settings, specs: Sequence[StudySpec], stores: Path) -> Iterator[Row]:
    """Yield the test accuracy of each cell that is done."""
    where = device_name(settings.device)
    for spec in specs:
        for trial in ResultsStore(str(stores), spec.name).finished().values():
            name = f"{spec.name}, {trial.arm}, seed {trial.seed}"
            value = trial.metrics.get("test_accuracy")
            seconds = trial.seconds or 0.0
            yield Row(PART, name, name, WHAT, value, "", "", None, seconds, where, versions(), settings.size)


def failed_rows(settings: Settings, failed: Mapping[str, str]) -> Iterator[Row]:
    """Print and yield each cell that failed. A later call trains it again and replaces its row."""
    where = device_name(settings.device)
    for name, error in failed.items():
        print(f"{PART}: {name}: FAILED {error}", flush=True)
        yield Row(PART, name, name, WHAT, None, "", "", False, 0.0, where, versions(), settings.size, error[:2000])


def pack(home: Path, out: Path) -> None:
    """Write the stores, and as many checkpoints as go into a few pieces, the smallest first."""
    found = {path: path.relative_to(home).parts for path in home.rglob("*") if path.is_file()}
    files = [path for path, parts in found.items() if not any(part.startswith(".") for part in parts)]
    kept = [path for path in files if "checkpoints" not in found[path]]
    _zip(home, out / STORES, kept)
    for old in out.glob(f"{CHECKPOINTS}.*"):
        old.unlink()
    chosen, room = [], CHECKPOINT_PIECES * PIECE_BYTES
    for path in sorted((p for p in files if p.name == LAST), key=lambda p: p.stat().st_size):
        if path.stat().st_size <= room:
            chosen.append(path)
            room -= path.stat().st_size
    if chosen:
        _zip(home, out / CHECKPOINTS, chosen)
        cut(out / CHECKPOINTS, PIECE_BYTES)


def unpack(source: Path, home: Path) -> None:
    """Unpack what an earlier call left in a folder."""
    joined = join_pieces(source, home / ".joined")
    for file in [source / STORES, *joined]:
        if file.exists():
            with zipfile.ZipFile(file) as archive:
                archive.extractall(home)


def _zip(home: Path, file: Path, paths: Sequence[Path]) -> None:
    unfinished = file.with_name(f".{file.name}.tmp")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(paths):
            archive.write(path, path.relative_to(home))
    unfinished.replace(file)

"""`make gpu`: see docs/gpu.md.

    python -m bench.gpu --out FOLDER [--from FOLDER] [--data FOLDER] [--parts a,b] [--device cpu --size smoke]
    python -m bench.gpu --write --from FOLDER      write docs/gpu.md and docs/gpu.parquet from a folder of results

Imports only the standard library and `bench.gpu.packages` until it is known that all packages are there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.gpu.packages import provide

PARTS = ("agreement", "repeats", "waits", "memory", "speed", "side_by_side", "reproduction")
MINUTES = 9.0
RESERVE_SECONDS = 20.0
"""Before the end of a call nothing new is begun for so long."""


def main() -> int:
    """Install what is missing, run the parts one after the other, each in a process of its own, write the page."""
    given = _arguments()
    end = time.time() + 60 * given.minutes
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before anything starts cuBLAS
    site = Path(tempfile.gettempdir()) / "tune-app-gpu-packages"
    if (problem := provide(given.wheels, site)) is not None:
        print(problem, file=sys.stderr)
        return 2
    paths = [str(Path.cwd()), *([str(site)] if site.exists() else []), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    if given.write:
        return _write(given)
    if (problem := _no_device(given.device)) is not None:
        print(problem, file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    if given.one_part:
        return _run_part(given, end)
    broken = []
    for part in given.parts:
        left = end - time.time()
        if left < RESERVE_SECONDS:
            break
        command = [sys.executable, "-m", "bench.gpu", *sys.argv[1:], f"--minutes={left / 60}", f"--one-part={part}"]
        try:
            if (code := subprocess.run(command, timeout=left + RESERVE_SECONDS, check=False).returncode) != 0:
                broken.append(f"{part}: its process ended with exit code {code}")
        except subprocess.TimeoutExpired:
            print(f"{part}: stopped at the time limit", flush=True)
    return _finish(given, broken)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description="Check and measure on a CUDA device.")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder for the results")
    parser.add_argument(
        "--from", dest="earlier", type=Path, action="append", default=[], help="results of earlier calls"
    )
    parser.add_argument("--data", type=Path, help="folder of train.parquet and test.parquet, for `reproduction`")
    parser.add_argument("--wheels", type=Path, help="folder of wheels for packages that are missing")
    parser.add_argument("--parts", type=_parts, default=PARTS, help=f"some of {','.join(PARTS)}")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to test the program")
    parser.add_argument("--size", choices=("full", "smoke"), default="full", help="smoke: tiny, to test the program")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for the call")
    parser.add_argument("--write", action="store_true", help="write docs/gpu.md from --from, run nothing")
    parser.add_argument("--one-part", choices=PARTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if unknown := set(parts) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return parts


def _no_device(name: str) -> str | None:
    from search_spaces.errors import StudyError
    from tune_app.training import resolve_device

    try:
        resolve_device(name)
    except StudyError as error:
        return f"{error}; to test the program without a GPU: --device cpu --size smoke"
    return None


def _run_part(given: argparse.Namespace, end: float) -> int:
    """Run one part in this process."""
    from bench.gpu import agreement, memory, repeats, reproduction, side_by_side, speed, waits
    from bench.gpu.results import Results, run_checks
    from bench.gpu.settings import Settings
    from tune_app.training import resolve_device

    device = resolve_device(given.device)
    settings = Settings(device, given.size, given.out, end - RESERVE_SECONDS, tuple(given.earlier), given.data)
    results = Results(given.out, given.earlier)
    if given.one_part == reproduction.PART:
        reproduction.reproduce(settings, results)
        return 0
    modules = {"agreement": agreement, "repeats": repeats, "waits": waits, "memory": memory, "speed": speed}
    part = (modules | {"side_by_side": side_by_side})[given.one_part]
    run_checks(given.one_part, part.checks(settings), results, device, given.size, settings.end)
    return 0


def _finish(given: argparse.Namespace, broken: Sequence[str]) -> int:
    """Write the page beside the table; return 1 where a check failed or the process of a part did."""
    from bench.gpu.page import PAGE, page
    from bench.gpu.results import Results

    results = Results(given.out, given.earlier)
    results.save()
    (given.out / "gpu.md").write_text(page(results.rows, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    failed = [*broken, *(f"{row.part}: {row.name}" for row in results.rows if row.passed is False)]
    print("\n".join([f"{len(results.rows)} figures in {given.out}", *(f"FAILED {name}" for name in failed)]))
    return 1 if failed else 0


def _write(given: argparse.Namespace) -> int:
    """Write docs/gpu.md and docs/gpu.parquet from folders of results."""
    from bench.gpu.page import PAGE, TABLE, page
    from bench.gpu.results import Results, write_rows

    rows = Results(given.out, given.earlier).rows
    write_rows(TABLE, rows)
    PAGE.write_text(page(rows, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE} and {TABLE} from {len(rows)} figures")
    return 0


if __name__ == "__main__":
    sys.exit(main())

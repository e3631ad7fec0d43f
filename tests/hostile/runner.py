"""Run hostile cases, each in a fork of one prepared process, under limits of memory and CPU, and say what is wrong.

``python tests/hostile/runner.py --sample 30 --seed 1`` or ``--all``. Prints one JSON line for each case that broke a
rule, then a summary; exit code 1 where there was one. The rules: exit code 0, 1 or 2, no traceback, no control codes in
what is printed, at most MEMORY bytes more than at the start, CPU_SECONDS of CPU time, and an end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hostile import stores  # noqa: E402
from hostile.corpus import Case, cases  # noqa: E402

MEMORY = 2 * 1024**3
CPU_SECONDS = 10
WALL_SECONDS = 240
"""Only what waits for ever comes near it, however busy the machine is."""
CODES = (0, 1, 2)
SLOW_IN_SAMPLE = 3


def prepare() -> None:
    """Import once what the verbs import, so that a fork has it."""
    import matplotlib as mpl

    mpl.use("Agg")
    import torch

    torch.set_num_threads(1)
    import tune_app.cli.planning  # noqa: F401


def run(case: Case, folder: Path) -> list[str]:
    """Run a case in a fork, in an empty folder, and return the rules that it broke."""
    case.setup(folder)
    output = folder / ".output"
    child = os.fork()
    if child == 0:
        _become(case, folder, output)
    _, status = os.waitpid(child, 0)
    said = output.read_text(errors="replace") if output.exists() else ""
    problems = []
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        names = {signal.SIGXCPU: f"more than {CPU_SECONDS} s of CPU", signal.SIGALRM: "never ends"}
        problems.append(names.get(signal.Signals(number), f"killed by signal {number}"))
    elif os.WEXITSTATUS(status) not in CODES:
        problems.append(f"exit code {os.WEXITSTATUS(status)}")
    if "Traceback" in said:
        problems.append("traceback: " + said.strip().splitlines()[-1][:300])
    if "\x1b" in said or "\x07" in said:
        problems.append("control codes in the output")
    return problems


def _become(case: Case, folder: Path, output: Path) -> None:
    """Turn this fork into the command line; never returns."""
    code = 70
    try:
        os.chdir(folder)
        file = os.open(output, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        signal.alarm(WALL_SECONDS)
        used = int(
            resource.getrusage(resource.RUSAGE_SELF).ru_utime + resource.getrusage(resource.RUSAGE_SELF).ru_stime
        )
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_SECONDS, used + CPU_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["tune-app", *case.arguments]
        from tune_app.cli import main

        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def chosen(every: list[Case], sample: int | None, seed: int) -> list[Case]:
    """Return every case, or a sample with few of those that draw a report."""
    if sample is None:
        return every
    draw = random.Random(seed)
    slow = draw.sample([case for case in every if case.slow], SLOW_IN_SAMPLE)
    return [*draw.sample([case for case in every if not case.slow], sample - SLOW_IN_SAMPLE), *slow]


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", default="")
    options: Any = parser.parse_args()
    prepare()
    corpus = cases()
    every = [case for case in corpus if options.only in case.name]
    selected = chosen(every, None if options.all or options.only else options.sample or 30, options.seed)
    broken = 0
    try:
        for case in selected:
            with tempfile.TemporaryDirectory(prefix="hostile-case-", ignore_cleanup_errors=True) as folder:
                problems = run(case, Path(folder))
            if problems:
                broken += 1
                print(
                    json.dumps({"case": case.name, "arguments": case.arguments, "problems": problems})[:1000],
                    flush=True,
                )
    finally:
        stores.remove_template()
    print(f"{len(selected)} of {len(corpus)} cases, {broken} broke a rule (seed {options.seed})", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

"""Run hostile cases, each in a fork of one prepared process, under limits of memory and CPU, and say what is wrong.

``python tests/hostile/runner.py --sample 30 --seed 1``, ``--all``, ``--slice 2/10`` (the second tenth of all) or ``--fuzz
600`` (mutations for ten minutes, see fuzz.py). Prints one JSON line for each case that broke a
rule, then a summary; exit code 1 where there was one. The rules: exit code 0, 1 or 2, no traceback, no control codes in
what is printed, at most MEMORY bytes more than at the start, a limited CPU time, and an end.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hostile import stores  # noqa: E402
from hostile.corpus import Case, cases  # noqa: E402
from hostile.fuzz import fuzz_case  # noqa: E402

MEMORY = 2 * 1024**3
CPU_SECONDS = int(os.environ.get("HOSTILE_CPU_SECONDS", "10"))
"""What is promised, beside the imports. A machine on which every case is slower may set a higher limit."""
WALL_SECONDS = 240
"""Only what waits for ever comes near it, however busy the machine is."""
CODES = (0, 1, 2)
SLOW_IN_SAMPLE = 2


def prepare() -> None:
    """Import once what the verbs import, so that a fork has it."""
    import matplotlib as mpl

    mpl.use("Agg")
    import torch

    torch.set_num_threads(1)
    import sklearn.datasets  # noqa: F401
    import statsmodels.api  # noqa: F401

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
        names = {signal.SIGXCPU: "too many s of CPU", signal.SIGALRM: "never ends"}
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
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))  # a fork begins at 0
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


def chosen(every: list[Case], sample: int, seed: int) -> list[Case]:
    """Return a sample of the cases with few of those that draw a report."""
    draw = random.Random(seed)
    slow = draw.sample([case for case in every if case.slow], SLOW_IN_SAMPLE)
    return [*draw.sample([case for case in every if not case.slow], sample - SLOW_IN_SAMPLE), *slow]


def sliced(every: list[Case], part: str) -> list[Case]:
    """Return part ``k/n`` of the cases, those that draw a report spread over the parts."""
    k, n = map(int, part.split("/"))
    return sorted(every, key=lambda case: case.slow)[k - 1 :: n]


def fuzzed(seed: int, seconds: float, only: int | None) -> Iterator[Case]:
    """Yield mutated cases for so many seconds, or one of them."""
    end = time.monotonic() + seconds
    for number in itertools.count() if only is None else (only,):
        if only is None and time.monotonic() > end:
            return
        yield fuzz_case(seed, number)


def report(case: Case, problems: list[str]) -> None:
    """Print what a case broke, so that it can be run again."""
    print(json.dumps({"case": case.name, "arguments": case.arguments, "problems": problems})[:1000], flush=True)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--slice", default="1/1")
    parser.add_argument("--fuzz", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--fuzz-case", type=int)
    options: Any = parser.parse_args()
    prepare()
    corpus = cases()
    selected: Iterable[Case]
    if options.fuzz or options.fuzz_case is not None:
        selected = fuzzed(options.seed, options.fuzz, options.fuzz_case)
    elif options.all or options.only or options.slice != "1/1":
        selected = sliced([case for case in corpus if options.only in case.name], options.slice)
    else:
        selected = chosen(corpus, options.sample or 30, options.seed)
    broken = count = 0
    try:
        for count, case in enumerate(selected, 1):  # noqa: B007
            with tempfile.TemporaryDirectory(prefix="hostile-case-", ignore_cleanup_errors=True) as folder:
                problems = run(case, Path(folder))
            if problems:
                broken += 1
                report(case, problems)
    finally:
        stores.remove_template()
    kind = "mutations" if options.fuzz else f"of {len(corpus)} cases"
    print(f"{count} {kind}, {broken} broke a rule (seed {options.seed})", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

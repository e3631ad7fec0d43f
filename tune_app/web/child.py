"""The parent of one run: starts it, waits for it, and writes how it ended, whether or not the service is still there.

Started by path as ``python -P child.py FOLDER COMMAND...``. It writes ``process.json`` (ids and start times) when the
command has started, and ``exit.json`` when it has ended. Only the standard library is imported.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def write(path: Path, content: dict[str, Any]) -> None:
    """Put a file in place whole."""
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(content))
    unfinished.replace(path)


def main() -> None:
    """Run the command in the folder that is given first."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    # A service that was started with these ignored (nohup, background of a script) must not pass that on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with (folder / "log.txt").open("ab", buffering=0) as log:
        run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        write(folder / "process.json", {"parent": os.getpid(), "run": run.pid, "at": time.time()})
        code = run.wait()
    write(folder / "exit.json", {"code": code, "at": time.time()})


if __name__ == "__main__":
    main()

"""Write the report of a store: ``python -m tune_app.web.report_child STORE PAGE``, the service's own child process."""

from __future__ import annotations

import sys
from pathlib import Path

from analysis import load_study, write_report

if __name__ == "__main__":
    write_report(load_study(sys.argv[1]), Path(sys.argv[2]))

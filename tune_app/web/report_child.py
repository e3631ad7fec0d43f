"""Write the report of a store: ``python -m tune_app.web.report_child STORE PAGE``, the service's own child process."""

from __future__ import annotations

import sys
from pathlib import Path

from analysis import load_study, write_report
from analysis.store.load import load_confirmation

if __name__ == "__main__":
    found = load_study(sys.argv[1])
    confirmation = load_confirmation(sys.argv[1]) if found.is_search else None
    write_report(found, Path(sys.argv[2]), confirmation=confirmation)

"""Print the effects of a store as JSON, for the service: ``python -m tune_app.web.effects_child STORE METRIC``."""

from __future__ import annotations

import json
import sys

from search_spaces.errors import StudyError
from tune_app.web.answers import effects_table

if __name__ == "__main__":
    try:
        print(json.dumps(effects_table(sys.argv[1], sys.argv[2]), default=str))
    except StudyError as error:
        print(error, file=sys.stderr)
        sys.exit(2)

"""Write the fixture stores of the current versions: ``python tests/stores/make_fixtures.py``.

Run it before `SCHEMA_VERSION` or `IMAGE_TRAINING_VERSION` changes, and commit the folder ``schema-N-training-M`` that it
writes (``schema-1`` and ``schema-2`` are of training version 1). Stores of earlier versions stay as they are:
`tests/analysis/store/test_fixture_stores.py` reads every one of them.

``ablation`` has a file for each trial, ``search`` is compacted. Both are trained for real on the digits that ship with
scikit-learn. What belongs to the machine (host name, hardware, checkpoints, logs) is left out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from search_spaces.config.trial import IMAGE_TRAINING_VERSION
from search_spaces.store_schema import SCHEMA_VERSION

HERE = Path(__file__).parent
KEPT = ("study.yaml", "environment.json", "trials", "epochs", "quantiles", "correct")
BASELINE = {
    "data": {"source": "digits", "train_size": 100, "validation_size": 60, "test_size": 60},
    "model": {"depth": 8, "width": 4},
    "batch_size": 50,
    "precision": "float32",
}
STUDIES: dict[str, dict[str, Any]] = {
    "ablation": {
        "name": "ablation",
        "baseline": BASELINE | {"epochs": 2},
        "factors": {"model.norm": ["batch", "none"]},
        "seeds": 3,
        "probes": {"quantiles": False},
    },
    "search": {
        "name": "search",
        "mode": "search",
        "baseline": BASELINE | {"epochs": 3},
        "space": {"optimizer.lr": {"loguniform": [0.001, 1.0]}, "model.norm": ["batch", "none"]},
        "search": {"trials": 6, "searcher": "random", "asha": {"grace_period": 1, "reduction_factor": 2}},
        "seeds": 1,
    },
}


def main() -> None:
    """Train both studies and write what belongs into the repository."""
    target = HERE / f"schema-{SCHEMA_VERSION}-training-{IMAGE_TRAINING_VERSION}"
    with tempfile.TemporaryDirectory() as folder:
        for name, study in STUDIES.items():
            file = Path(folder) / f"{name}.yaml"
            file.write_text(yaml.safe_dump(study, sort_keys=False))
            results = Path(folder) / "results"
            tune_app("run", str(file), "--results", str(results))
            if name == "search":
                tune_app("compact", name, "--results", str(results))
            keep(results / name, target / name)
    print(f"wrote {target}")


def tune_app(*arguments: str) -> None:
    """Run one verb of the command line in a process of its own."""
    script = "from tune_app.cli import main; main()"
    subprocess.run([sys.executable, "-c", script, *arguments], check=True)


def keep(store: Path, target: Path) -> None:
    """Copy a store without what belongs to the machine."""
    shutil.rmtree(target, ignore_errors=True)
    for name in KEPT:
        if (store / name).is_dir():
            shutil.copytree(store / name, target / name)
        elif (store / name).exists():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(store / name, target / name)
    environment = {"commit": json.loads((store / "environment.json").read_text()).get("commit"), "python": "3"}
    (target / "environment.json").write_text(json.dumps(environment, indent=2) + "\n")
    for file in (target / "trials").glob("*.parquet"):
        table = pq.read_table(file)
        for column, value in (("node", "host"), ("device_name", "processor")):
            place = table.schema.get_field_index(column)
            table = table.set_column(place, table.schema.field(place), pa.array([value] * len(table)))
        pq.write_table(table, file, compression="zstd")


if __name__ == "__main__":
    main()

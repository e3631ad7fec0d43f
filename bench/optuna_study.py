"""A study of finished trials in Optuna's own SQLite storage, for the comparison with optuna-dashboard."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def write_optuna(url: str, file: Path, trials: int, epochs: int) -> None:
    """Write a study of finished trials with a value for each epoch: one by Optuna, the others by SQL from its rows."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=url, study_name="many", direction="maximize")
    lr: optuna.distributions.BaseDistribution = optuna.distributions.FloatDistribution(0.01, 1.0)
    values = {epoch: epoch / epochs for epoch in range(1, epochs + 1)}
    study.add_trial(
        optuna.trial.create_trial(params={"lr": 0.5}, distributions={"lr": lr}, value=0.5, intermediate_values=values)
    )
    with sqlite3.connect(file) as database:
        for number in range(1, trials):
            _copy_trial(database, number + 1, number)


def _copy_trial(database: sqlite3.Connection, new: int, number: int) -> None:
    for table in ("trials", "trial_params", "trial_values", "trial_intermediate_values"):
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        replaced = {"trial_id": str(new), "number": str(number), columns[0]: str(new) if table == "trials" else "NULL"}
        chosen = ", ".join(replaced.get(column, column) for column in columns)
        names = ", ".join(columns)
        database.execute(f"INSERT INTO {table} ({names}) SELECT {chosen} FROM {table} WHERE trial_id = 1")

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from search_spaces.errors import StudyError
from search_spaces.metrics import COMMON_METRICS, IMAGE_METRICS
from search_spaces.store_schema import (
    EPOCHS,
    METRIC_NAMES,
    METRICS,
    SCHEMA_VERSION,
    SPLITS,
    STATUSES,
    TABLES,
    TRIALS,
    check_version,
    key,
    metric_columns,
    table_schema,
)
from search_spaces.study_checks import RESERVED

ALL = pytest.mark.parametrize("schema", TABLES.values(), ids=TABLES)


@ALL
def test_columns_are_named_once(schema):
    assert len(set(schema.names)) == len(schema.names)


@ALL
def test_columns_are_described(schema):
    for field in schema:
        assert field.metadata[b"description"].strip(), field.name


@ALL
def test_rows_begin_with_the_keys_which_are_always_there(schema):
    assert schema.names[:2] == ["digest", "fingerprint"]
    assert not any(field.nullable for field in list(schema)[:2])


@ALL
def test_measurements_may_be_missing(schema):
    floats = [field for field in schema if pa.types.is_floating(field.type)]
    assert all(field.nullable for field in floats if field.name not in ("percentile", "x", "y"))


@ALL
def test_times_are_utc(schema):
    times = [field.type for field in schema if pa.types.is_timestamp(field.type)]
    assert all(kind.tz == "UTC" for kind in times)


def test_metrics_are_columns_of_the_trials_table():
    assert set(METRIC_NAMES) <= set(TRIALS.names)
    assert len(METRIC_NAMES) == len(SPLITS) * len(METRICS)


def test_statuses_are_those_documented():
    assert STATUSES == ("completed", "pruned", "diverged", "failed")
    assert SCHEMA_VERSION >= 1


def test_a_trial_s_files_are_named_by_config_and_data():
    assert key("0123456789abcdef", "fedcba9876543210") == "0123456789abcdef-fedcba9876543210"


def test_a_table_has_a_column_for_each_declared_metric():
    trials = table_schema("trials", ("val_rmse", "test_rmse", "seconds"))
    epochs = table_schema("epochs", ("val_rmse", "test_rmse", "tokens_per_second"))
    assert metric_columns("trials", trials) == ("val_rmse", "test_rmse")
    assert metric_columns("epochs", epochs) == ("val_rmse", "tokens_per_second")
    assert trials.field("val_rmse").type == pa.float64()
    assert trials.names.count("seconds") == 1
    assert metric_columns("trials", TRIALS) == METRIC_NAMES
    assert table_schema("quantiles", ("val_rmse",)) == TABLES["quantiles"]


def test_a_metric_with_the_name_of_another_column_is_refused():
    with pytest.raises(StudyError, match=r"`metrics.seed` has the name of a column"):
        table_schema("trials", ("seed",))


def test_a_newer_version_is_refused_and_both_are_named():
    check_version((1, SCHEMA_VERSION), "results/x")
    check_version((), "results/x")
    check_version(("9", None), "results/x")  # damaged: the reader says so elsewhere
    with pytest.raises(StudyError, match=rf"results/x has rows of schema version 9, .* up to {SCHEMA_VERSION}"):
        check_version((1, np.int64(9)), "results/x")


def test_names_that_no_metric_may_have_are_the_columns_that_are_no_metrics():
    metrics = {*IMAGE_METRICS, *COMMON_METRICS} - {"parameters"}
    assert {*TRIALS.names, *EPOCHS.names} - metrics == RESERVED

"""Matrices from files, pictures and studies."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.factorization import arms_by_seeds, curves_matrix, read_image, read_matrix
from search_spaces.errors import StudyError

X = np.array([[1.0, 2.5, np.nan], [4.0, 5.0, 6.0]])


def test_a_matrix_survives_every_format(tmp_path):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    np.save(tmp_path / "x.npy", X)
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_csv(tmp_path / "bare.CSV", index=False, header=False)
    frame.to_parquet(tmp_path / "x.parquet")
    for name in ("x.npy", "x.csv", "bare.CSV", "x.parquet"):
        found = read_matrix(tmp_path / name)
        np.testing.assert_array_equal(found, X)
        assert found.dtype == np.float64


def test_integers_and_booleans_become_floats(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(2, dtype=bool))
    np.testing.assert_array_equal(read_matrix(tmp_path / "x.npy"), np.eye(2))


def test_what_is_no_matrix_is_refused_by_name(tmp_path):
    np.save(tmp_path / "line.npy", np.ones(3))
    np.save(tmp_path / "objects.npy", np.array([[{}]]), allow_pickle=True)
    np.save(tmp_path / "complex.npy", np.ones((2, 2), dtype=complex))
    np.save(tmp_path / "inf.npy", np.array([[np.inf]]))
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "rows.csv").write_text("a,b\n")
    (tmp_path / "names.csv").write_text("arm,value\nbase,1\nnone,2\n")
    (tmp_path / "broken.parquet").write_text("no parquet")
    (tmp_path / "x.txt").write_text("1 2")
    for name, words in {
        "line.npy": "1 dimension",
        "objects.npy": "cannot be read",
        "complex.npy": "real numbers",
        "inf.npy": "infinite",
        "empty.csv": "cannot be read",
        "rows.csv": "real numbers|at least one cell|do not hold numbers",
        "names.csv": "arm do not hold numbers",
        "broken.parquet": "cannot be read",
        "x.txt": "must end in .npy, .csv, .parquet",
        "absent.npy": "does not exist",
    }.items():
        with pytest.raises(StudyError, match=words) as caught:
            read_matrix(tmp_path / name)
        assert name in str(caught.value)


def test_a_picture_is_read_as_luminance(tmp_path):
    Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)).save(
        tmp_path / "rgb.png"
    )
    np.testing.assert_allclose(read_image(tmp_path / "rgb.png"), [[0.299, 0.587], [0.114, 1.0]], atol=1e-12)
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), [[0.0, 1.0]])


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "x.png").write_text("no picture")
    for name in ("x.png", "absent.png"):
        with pytest.raises(StudyError, match="not an image"):
            read_image(tmp_path / name)


def test_curves_have_a_row_for_every_trial_and_gaps_where_it_was_not_trained(results):
    curves = curves_matrix(results, "val_loss")
    planned = int(results.trials["epochs_planned"].max())
    assert curves.shape == (len(results.trials), planned)
    assert list(curves.columns) == list(range(1, planned + 1))
    one = results.epochs.iloc[0]
    assert curves.loc[(one["digest"], one["fingerprint"]), one["epoch"]] == one["val_loss"]
    first = results.epochs["digest"] == results.trials["digest"][0]
    cut = dataclasses.replace(results, epochs=results.epochs[~first | (results.epochs["epoch"] <= 2)])
    np.testing.assert_array_equal(curves_matrix(cut).iloc[0].isna(), np.arange(planned) >= 2)
    gone = dataclasses.replace(results, epochs=results.epochs[~first])
    assert curves_matrix(gone).iloc[0].isna().all()
    diverged = results.epochs.assign(val_loss=np.where(first, np.inf, results.epochs["val_loss"]))
    assert curves_matrix(dataclasses.replace(results, epochs=diverged), "val_loss").iloc[0].isna().all()


def test_arms_by_seeds_hold_the_trials_figures(results):
    table = arms_by_seeds(results)
    assert list(table.index) == list(results.arms)
    assert list(table.columns) == sorted(results.trials["seed"].unique())
    for row in results.trials.itertuples():
        np.testing.assert_equal(table.loc[row.arm, row.seed], row.test_accuracy)


def test_two_trials_of_one_cell_and_unknown_metrics_are_refused(results):
    twice = dataclasses.replace(results, trials=pd.concat([results.trials, results.trials.iloc[:1]]))
    with pytest.raises(StudyError, match="more than one trial of seed"):
        arms_by_seeds(twice)
    with pytest.raises(StudyError, match="did you mean 'val_accuracy'"):
        curves_matrix(results, "val_acuracy")


def npy(path, shape):
    """Write a .npy file whose header promises a shape that the file does not hold."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
        file.write(bytes(64))
    return path


def test_a_header_that_promises_more_than_the_file_holds_allocates_nothing(tmp_path):
    for shape in ((1_000_000, 1_000_000), (2**40, 2**40), (10**30, 2)):
        with pytest.raises(StudyError, match=r"huge.npy"):
            read_matrix(npy(tmp_path / "huge.npy", shape))


def test_more_columns_than_a_table_is_read_with_are_refused_before_they_are_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.factorization.matrix.MAX_COLUMNS", 2)
    for name in ("x.csv", "x.parquet"):
        table, path = pd.DataFrame([[1.0, 2.0, 3.0]] * 2, columns=list("abc")), tmp_path / name
        table.to_csv(path, index=False) if name == "x.csv" else table.to_parquet(path)
        with pytest.raises(StudyError, match=r"has 3 columns, but at most 2 .*save it as \.npy"):
            read_matrix(path)
        few = table[["a", "b"]]
        few.to_csv(path, index=False) if name == "x.csv" else few.to_parquet(path)
        assert read_matrix(path).shape == (2, 2)


def test_more_cells_than_can_be_factorized_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.factorization.matrix.MAX_CELLS", 5)
    monkeypatch.setattr("analysis.factorization.matrix.MAX_CSV_BYTES", 5)
    np.save(tmp_path / "x.npy", X)
    pd.DataFrame(X, columns=list("abc")).to_parquet(tmp_path / "x.parquet")
    pd.DataFrame(X).to_csv(tmp_path / "x.csv")
    Image.new("RGB", (3, 2)).save(tmp_path / "x.png")
    for name, words in {"x.npy": "6 cells", "x.parquet": "6 cells", "x.csv": "bytes"}.items():
        with pytest.raises(StudyError, match=words):
            read_matrix(tmp_path / name)
    with pytest.raises(StudyError, match="at most 5 pixels"):
        read_image(tmp_path / "x.png")


def test_a_named_pipe_is_no_matrix(tmp_path):
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(StudyError, match="named pipe"):
        read_matrix(tmp_path / "x.npy")

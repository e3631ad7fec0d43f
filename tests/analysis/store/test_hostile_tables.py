"""Tables and documents of a store that came from elsewhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from analysis.store._tables import Problems, open_filesystem, read_document, read_table
from analysis.store.load import load_study
from search_spaces.errors import StudyError

LAUGHS = "a: &a [1,2,3,4,5,6,7,8,9]\n" + "".join(
    f"{one}: &{one} [{','.join(['*' + before] * 9)}]\n" for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)
LOCAL = pafs.LocalFileSystem()


def problems_of(root: Path, table: str = "trials") -> tuple[int, str]:
    problems = Problems()
    rows = read_table(LOCAL, str(root), table, (), problems).num_rows
    return rows, " ".join(problems.sentences())


def test_a_file_that_unpacks_to_gigabytes_is_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    huge = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["x" * 1_000_000]))
    pq.write_table(
        pa.table({"digest": huge, "fingerprint": huge}), tmp_path / "trials" / "bomb.parquet", compression="zstd"
    )
    rows, said = problems_of(tmp_path)
    assert rows == 0
    assert "would take" in said
    assert "trials/bomb.parquet" in said


def test_links_and_pipes_among_the_files_are_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "epochs").mkdir()
    os.mkfifo(tmp_path / "epochs" / "pipe.parquet")
    pq.write_table(pa.table({"epoch": [1]}), tmp_path / "elsewhere.parquet")
    (tmp_path / "epochs" / "link.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    rows, said = problems_of(tmp_path, "epochs")
    assert rows == 0
    assert "is not a regular file" in said
    assert "epochs/pipe.parquet" in said
    assert "epochs/link.parquet" in said


def test_a_column_that_is_not_known_is_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "epochs").mkdir()
    huge = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["x" * 1_000_000]))
    table = {"digest": ["a"] * 10_000, "fingerprint": ["b"] * 10_000, "epoch": [1] * 10_000, "other": huge}
    pq.write_table(pa.table(table), tmp_path / "epochs" / "a.parquet", compression="zstd")
    assert problems_of(tmp_path, "epochs") == (10_000, "")


def test_documents_are_read_within_limits(tmp_path: Path) -> None:
    problems = Problems()
    assert read_document(LOCAL, str(tmp_path), "study.yaml", problems) == ""
    (tmp_path / "study.yaml").write_text("a: ü", encoding="utf-8")
    assert read_document(LOCAL, str(tmp_path), "study.yaml", problems) == "a: ü"
    (tmp_path / "study.yaml").write_text("a" * 3_000_000)
    assert read_document(LOCAL, str(tmp_path), "study.yaml", problems) == ""
    assert problems.sentences() == (
        "study.yaml is missing", "study.yaml cannot be read: it is larger than 2,000,000 bytes",
    )  # fmt: skip


@pytest.mark.parametrize("text", [LAUGHS, "a: " + "[" * 50 + "]" * 50, "a: !!python/object/apply:os.system [x]", "- 1"])
def test_a_study_that_is_a_bomb_is_a_problem_of_the_store(text: str, ablation: Path, tmp_path: Path) -> None:
    store = shutil.copytree(ablation, tmp_path / "store")
    (store / "study.yaml").write_text(text)
    (store / "environment.json").write_text("[" * 100_000)
    said = " ".join(load_study(store).problems)
    assert "study.yaml cannot be used" in said
    assert "environment.json cannot be read: more than 32 levels" in said


def test_a_document_that_is_a_pipe_or_a_link_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "study.yaml")
    (tmp_path / "environment.json").symlink_to("/etc/passwd")
    for name, kind in (("study.yaml", "named pipe"), ("environment.json", "symbolic link")):
        with pytest.raises(StudyError, match=kind):
            read_document(LOCAL, str(tmp_path), name, Problems())


@pytest.mark.parametrize("url", ["zip://x", "github://a:b@c/d", "ftp://h/x", "hdfs://h/x", "simplecache::s3://b/c"])
def test_only_paths_and_object_stores_are_opened(url: str) -> None:
    with pytest.raises(StudyError, match="cannot be opened"):
        open_filesystem(url)

"""Tables and documents of a store that came from elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from analysis.store._tables import Problems, open_filesystem, read_document, read_table
from search_spaces.errors import StudyError

LOCAL = pafs.LocalFileSystem()


def problems_of(root: Path, table: str = "trials") -> tuple[int, str]:
    problems = Problems()
    rows = read_table(LOCAL, str(root), table, problems).num_rows
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
    pq.write_table(
        pa.table({"epoch": [1] * 10_000, "other": huge}), tmp_path / "epochs" / "a.parquet", compression="zstd"
    )
    rows, said = problems_of(tmp_path, "epochs")
    assert rows == 10_000
    assert "column `other` is not known" in said


def test_documents_are_read_within_limits(tmp_path: Path) -> None:
    problems = Problems()
    assert read_document(LOCAL, str(tmp_path), "study.yaml", problems) == {}
    (tmp_path / "study.yaml").write_text("a: &a [1]\nb: *a\n")
    assert read_document(LOCAL, str(tmp_path), "study.yaml", problems) == {"a": [1], "b": [1]}
    (tmp_path / "study.yaml").write_text("a: " + "[" * 50 + "]" * 50)
    assert read_document(LOCAL, str(tmp_path), "study.yaml", problems) == {}
    (tmp_path / "environment.json").write_text("[1]")
    assert read_document(LOCAL, str(tmp_path), "environment.json", problems) == {}
    assert [problem.split(":")[0] for problem in problems.sentences()] == [
        "study.yaml is missing", "study.yaml cannot be read", "environment.json cannot be read",
    ]  # fmt: skip


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

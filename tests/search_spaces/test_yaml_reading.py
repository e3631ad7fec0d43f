from __future__ import annotations

import json
import math
import os

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces._yaml import MAX_BYTES, mapping_in, parse_stored, parse_value, parse_yaml, read_text
from search_spaces.errors import StudyError

LAUGHS = "a: &a [1,2,3,4,5,6,7,8,9]\n" + "".join(
    f"{one}: &{one} [{','.join(['*' + before] * 9)}]\n" for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        ("-2.5e-1", -0.25),
        (".5", 0.5),
        ("5.", 5.0),
        ("+5", 5),
        ("-3", -3),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("010", "010"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("'1'", "1"),
        ("[1, a, null]", [1, "a", None]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
        ("größe", "größe"),
    ],
)
def test_plain_words_mean_what_people_mean(text, value):
    read = parse_value(text, "here")
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("a:\n\t- b", "line 2, column 1", "indent with spaces, not tabs"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1", "key 'a' is given twice"),
        ("a: [1, 2", "line 1, column 9", "expected ',' or ']'"),
        ("a: b: c", "line 1, column 5", "mapping values are not allowed here"),
        ("a: 'x", "line 1, column 6", "quoted scalar"),
        ("a: *x", "line 1, column 4", "undefined alias"),
        ("a: &x [*x]", "line 1, column 8", "inside the value that it refers to"),
        ("a: {<<: {b: 1}}", "line 1, column 5", "merge keys"),
        ("a: !!python/object/apply:os.system [ls]", "line 1, column 4", "tag .* is not supported"),
        ("a: !!int x", "line 1, column 4", "tag .* is not supported"),
        ("? [a]\n: 1", "line 1, column 3", "a key must be a plain word"),
        ("a\n---\nb", "line 2, column 1", "expected a single document"),
        ("[" * 40, "line 1, column 33", "more than 32 levels"),
        ("a: " + "9" * 5000, "line 1, column 4", "a number of 5,000 digits"),
        (LAUGHS, "line 5, column 23", "more than 50,000 values"),
        ("a: 1\nb: \x00", "line 2", "not text"),
        ("\ud800", "line 1", "not text"),
    ],
)
def test_broken_yaml_is_located(text, place, problem):
    with pytest.raises(StudyError, match=rf"(?s)^file.yaml, {place}: not valid YAML: .*{problem}") as error:
        parse_yaml(text, "file.yaml")
    assert "\n" not in str(error.value)


def test_too_large_a_text_is_refused_before_it_is_parsed():
    with pytest.raises(StudyError, match="larger than 500,000 bytes"):
        parse_yaml("x" * (MAX_BYTES + 1), "file.yaml")


def test_what_an_alias_repeats_is_a_copy():
    tree = parse_yaml("a: &x {b: [1]}\nc: *x", "file.yaml")
    tree["a"]["b"].append(2)
    assert tree["c"] == {"b": [1]}


TEXT = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT.filter("<<".__ne__), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_what_pyyaml_writes_reads_back_the_same(tree):
    text = yaml.dump(tree, Dumper=yaml.SafeDumper, allow_unicode=True)
    if "!!" not in text:
        assert parse_yaml(text, "here") == tree


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_text_is_read_or_refused_with_a_place(text):
    try:
        parse_yaml(text, "here")
    except StudyError as error:
        assert str(error).startswith("here, line ")  # noqa: PT017 - either outcome is right


def test_files_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.yaml").write_bytes("a: ü".encode("utf-8-sig"))
    assert read_text(tmp_path / "a.yaml") == "a: ü"


def test_files_in_another_encoding_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_bytes("name: ü".encode("latin-1"))
    with pytest.raises(StudyError, match="byte 7 is not UTF-8 text; save the file as UTF-8"):
        read_text(tmp_path / "a.yaml")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(StudyError, match="cannot be read: Is a directory"):
        read_text(tmp_path)


@pytest.mark.parametrize(("tree", "what"), [(None, "is empty"), ([1], r"is \[1\]"), ("a", "is 'a'")])
def test_only_a_mapping_is_a_study(tree, what):
    with pytest.raises(StudyError, match=f"f: {what}, but must be a mapping with name"):
        mapping_in(tree, "f", "name")


def test_a_stored_document_is_read_back_as_it_was_dumped():
    tree = {"no": "no", "f": 1e-05, "text": "1e5", "n": None, "l": [1, "on", "2020-01-01"], "i": math.inf, "ö": "0o14"}
    assert parse_stored(yaml.safe_dump(tree, allow_unicode=True).encode(), "study.yaml") == tree
    assert parse_stored(json.dumps({"a": [1]}).encode(), "environment.json") == {"a": [1]}


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (LAUGHS.encode(), "study.yaml", "more than 100,000 values"),
        (b"a: " + b"[" * 40 + b"]" * 40, "study.yaml", "more than 32 levels"),
        (b"a: 2020-13-01", "study.yaml", "not valid YAML: month must be in 1..12"),
        (b"a: !!python/object/apply:os.system [x]", "study.yaml", "tag"),
        (b"\xff", "study.yaml", "not UTF-8"),
        (b" " * 2_000_001, "study.yaml", "larger than"),
        (b"[" * 100_000, "environment.json", "more than 32 levels"),
        (b"[" * 40 + b"]" * 40, "environment.json", "more than 32 levels"),
        (b"{", "environment.json", "not valid JSON"),
        (b"9" * 5000, "environment.json", "not valid JSON"),
    ],
)
def test_a_stored_document_is_held_to_limits(content, name, words):
    with pytest.raises(StudyError, match=words):
        parse_stored(content, name)


def test_a_study_file_that_is_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "study.yaml")
    with pytest.raises(StudyError, match="named pipe"):
        read_text(tmp_path / "study.yaml")

"""A corpus of hostile input: command lines with the files that they read, generated, the same every time.

`cases` gives every case of every group. A case is set up in an empty folder and run as `tune-app ARGUMENTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Setup = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """One command line; ``slow`` ones draw a report."""

    name: str
    arguments: tuple[str, ...]
    setup: Setup = lambda _: None
    slow: bool = False


VALUES: Mapping[str, Any] = {
    "markup": "[/b][red]",
    "terminal codes": "\x1b[31mred\x1b]0;title\x07",
    "NUL": "a\0b",
    "long": "x" * 10_000,
    "home": "~nosuchuser/x",
    "parents": "../../../etc",
    "superscript": "3²",
    "html": "<script>alert(1)</script>",
    "formula": "=cmd|' /C calc'!A0",
    "direction": "\u202egnp",
    "negative": -1,
    "huge float": 1e300,
    "infinite": float("inf"),
    "no number": float("nan"),
    "huge integer": 10**30,
    "empty": "",
    "list": [],
    "nested": [[[[]]]],
    "mapping": {"a": {"b": {}}},
    "null": None,
    "true": True,
}
BASE: Mapping[str, Any] = {"name": "x", "factors": {"model.norm": ["none"]}, "seeds": 2}
PATHS = (
    *("name", "question", "mode", "baseline", "factors", "design", "seeds", "metric", "rope", "resources", "probes"),
    *("sizes", "reference", "keep", "max_failures", "checkpoint_seconds", "unknown"),
    *("baseline.model", "baseline.model.depth", "baseline.model.width", "baseline.epochs", "baseline.batch_size"),
    *("baseline.optimizer.lr", "baseline.data.path", "baseline.data.source", "resources.cpu", "resources.gpu"),
    *("factors.model.norm", "design.generator", "sizes.small", "reference.claims"),
)


def with_value(path: str, value: Any) -> dict[str, Any]:
    """Return the base study with a value at a dotted path."""
    tree: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(BASE)))
    place, parts = tree, path.split(".")
    if parts[0] == "factors" and len(parts) > 1:
        parts = ["factors", ".".join(parts[1:])]
    for part in parts[:-1]:
        place = place.setdefault(part, {})
    place[parts[-1]] = value
    return tree


def study_file(content: str | bytes) -> Setup:
    """Return a setup that writes a study file."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / "s.yaml").write_bytes(data) and None


def value_cases() -> Iterator[Case]:
    """Yield each value at some of the paths, so that each path gets a third of them."""
    for row, path in enumerate(PATHS):
        for column, (name, value) in enumerate(VALUES.items()):
            if (row + column) % 3:
                continue
            verb = ("plan", "s.yaml", "--no-time") if (row + column) % 2 else ("validate", "s.yaml")
            text = yaml.safe_dump(with_value(path, value), allow_unicode=False)
            yield Case(f"study {path}: {name} ({verb[0]})", verb, study_file(text))


LAUGHS = "a: &a [1,2,3,4,5,6,7,8,9]\n" + "".join(
    f"{one}: &{one} [{','.join(['*' + before] * 9)}]\n" for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)
GOOD = "name: x\nfactors: {model.norm: [none]}\n"
TEXTS: Mapping[str, str | bytes] = {
    "aliases": LAUGHS,
    "a circle": "a: &a [*a]",
    "deep": "a: " + "[" * 5_000,
    "deep mapping": "{a: " * 5_000,
    "a tag": "!!python/object/apply:os.system ['true']",
    "merge keys": "a: &a {b: 1}\nc: {<<: *a}",
    "repeated keys": "name: a\nname: b\n",
    "large": "a: b\n" * 200_000,
    "binary": bytes(range(256)),
    "UTF-16": GOOD.encode("utf-16"),
    "Latin-1": "name: é".encode("latin-1"),
    "NULs": b"\0" * 1000,
    "nothing": "",
    "a list": "- a\n",
    "a scalar": "7",
    "two documents": GOOD + "---\n" + GOOD,
    "digits": "seeds: " + "9" * 5_000,
    "anchors": "".join(f"a{i}: &a{i} 1\n" for i in range(20_000)),
    "40,000 levels": GOOD + "sizes: {}\n" + "f: [" + ",".join(map(str, range(40_000))) + "]",
    "levels": f"name: x\nfactors: {{optimizer.lr: [{','.join(f'0.{i:06d}' for i in range(1, 30_000))}]}}",
    "many sizes": GOOD + "sizes: {" + ", ".join(f"s{i}: {{seeds: {i + 1}}}" for i in range(40)) + "}",
    "a factorial": "name: x\ndesign: full_factorial\nfactors: {"
    + ", ".join(
        f"{f}: [{', '.join(f'0.0{i}' for i in range(1, 10))}]" for f in ("optimizer.lr", "optimizer.weight_decay")
    )
    + "}\nseeds: 2000",
    "a fraction": "name: x\ndesign: {kind: fractional_factorial, generator: '"
    + "a" * 10_000
    + "'}\nfactors: {epochs: [3]}",
    "a long range": "name: x\nmode: search\nspace: {epochs: {int: [1, 1000000000]}}",
    "a long seed range": "name: x\nmode: search\nspace: {batch_size: {int: [1, 9007199254740992]}}",
    "an empty range": "name: x\nmode: search\nspace: {optimizer.lr: {loguniform: [0, 0]}}",
    "no space": "name: x\nmode: search\nspace: {}",
    "many seeds": GOOD + "seeds: 1000000000",
    "bundles": "name: x\nfactors: {'[/b]': {'[/i]': {model.norm: none}, '3²': {epochs: 3}}}",
    "a function": "name: x\ntask: os:system\nfactors: {a: [1]}",
}


def text_cases() -> Iterator[Case]:
    """Yield whole files, for two verbs each."""
    for name, text in TEXTS.items():
        yield Case(f"text {name} (validate)", ("validate", "s.yaml"), study_file(text))
        yield Case(f"text {name} (plan)", ("plan", "s.yaml", "--no-time"), study_file(text))


SETS = (
    *("", "=", "=1", "a", "model.depth", "model.depth=", "model.depth=[", "model.depth=&a [*a]", "[/b]=1", "\x1b[1m=1"),
    *("a.b.c.d.e.f=1", "model..depth=1", ".=1", "model.depth=" + "9" * 500, "seeds=1e9", "seeds=[]", "factors=null"),
    *("factors.x={a: 1}", "name=../x", "name=" + "x" * 300, "design=full", "baseline=7", "sizes=[]", "reference={}"),
)


def option_cases() -> Iterator[Case]:
    """Yield hostile options and arguments, over the verbs."""
    for text in SETS:
        yield Case(f"--set {text[:40]!r}", ("validate", "quickstart", "--set", text))
        yield Case(f"params --set {text[:40]!r}", ("params", "cnn", "--set", text))
    for text in ("[/b]", "\x1b[31m", "\udcff", "x" * 5_000, "~nosuchuser", "/dev/zero", "..", "", "nosuch\nstudy", "-"):
        for verb in ("validate", "plan", "report", "compact", "landscape"):
            yield Case(f"{verb} {text[:20]!r}", (verb, text))
        yield Case(f"compare {text[:20]!r}", ("compare", text, text))
    for words in (["[/b]"], ["--[/b]"], ["params", "[/b]"], ["schema", "[/b]"], ["studies", "--[/i]"], ["plan"]):
        yield Case(f"usage {words}", tuple(words))
    for option in ("--channels", "--classes", "--resolution"):
        for number in ("0", "-1", "1000000000000", "x", "1e9"):
            yield Case(f"params {option} {number}", ("params", "cnn", option, number))
    for url in URLS:
        for verb in ("plan", "report", "compact"):
            more = ("--no-time",) if verb == "plan" else ()
            yield Case(f"{verb} --results {url[:30]!r}", (verb, "quickstart", "--results", url, *more))


URLS = (
    *("zip://x.zip", "zip://x::s3://b", "github://a:b@c/d", "ftp://h/x", "hdfs://h/x", "simplecache::memory://x"),
    *("http://127.0.0.1:9/x", "nosuch://x", "a\x1bb", "x" * 5_000, "/dev/null", "file:///dev/null"),
)
IDS = ("../../nodes", "a/b", "", "a?b", "a#b", "\x1b[31m", "[/b]", "x" * 500, "a%2f..")
ADDRESSES = (
    "http://10.0.0.1:1",
    "ftp://x",
    "x",
    "",
    "http://[::",
    "http://u:p@localhost:1",
    "file:///etc/passwd",
    "[/b]",
)


def job_cases() -> Iterator[Case]:
    """Yield job IDs and addresses that must be refused before anything is sent."""
    for address in ADDRESSES:
        for verb in ("status", "logs", "stop"):
            yield Case(f"{verb} --address {address!r}", (verb, "x", "--address", address))
        submit = ("submit", "quickstart", "--results", "s3://b/r")
        yield Case(f"submit --address {address!r}", (*submit, "--address", address))
    for job in IDS:
        yield Case(f"status {job[:20]!r}", ("status", "--address", "http://10.0.0.1:1", "--", job))


def cases(groups: Sequence[Callable[[], Iterator[Case]]] | None = None) -> list[Case]:
    """Return every case; names are distinct."""
    from hostile import files, stores

    chosen = groups or (value_cases, text_cases, option_cases, job_cases, files.file_cases, stores.store_cases)
    found = [case for group in chosen for case in group()]
    assert len({case.name for case in found}) == len(found)
    return found

"""Mutated studies and stores: each case follows from a seed and its number, so a failure can be made again.

``python tests/hostile/runner.py --fuzz 600 --seed 7`` runs cases for ten minutes; ``--fuzz-case 123 --seed 7`` runs one.
"""

from __future__ import annotations

import copy
import math
import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from hostile.corpus import BASE, VALUES, Case, study_file
from hostile.stores import copied

ROOT = Path(__file__).resolve().parents[2]
TOKENS = (
    *(
        b"[/b]",
        b"\x1b[31m",
        b"\0",
        b"\xff\xfe",
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!python/object ",
        b"---\n",
        b"{",
        b"[",
        b": ",
    ),
    *(b"9" * 50, b"1e999", b".nan", b"-.inf", b"~", b"null", b"\t", b"\r\n", b"'", b'"', b"%", b"|\n", b"? ", b"- "),
    *("\u202e".encode(), "3²".encode(), "é".encode("latin-1"), b"../", b"://", b"=cmd|x", b"<script>"),
)
NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63), 1e308, 5e-324, -0.0, math.inf, -math.inf, math.nan)


def fuzz_case(seed: int, number: int) -> Case:
    """Return the case of that number."""
    dice = random.Random(f"{seed}/{number}")
    make = dice.choices((_study_bytes, _study_tree, _store), (3, 5, 2))[0]
    return make(dice, f"fuzz {seed}/{number}")


@cache
def _studies() -> tuple[bytes, ...]:
    """Return the ready studies and small ones of other kinds, as bytes."""
    ready = sorted((ROOT / "search_spaces" / "studies").glob("*.yaml"))
    small = (
        BASE,
        {"name": "x", "mode": "search", "space": {"optimizer.lr": {"loguniform": [1e-4, 1]}}, "search": {"trials": 3}},
        {"name": "x", "design": "full_factorial", "factors": {"model.norm": ["none"], "batch_size": [32, 64]}},
        {"name": "x", "factors": {"bundle": {"a": {"epochs": 3, "model.norm": "none"}}}, "sizes": {"s": {"seeds": 1}}},
        {
            "name": "x",
            "task": {"run": "a.b:c"},
            "factors": {"args.x": [1]},
            "metrics": {"val_loss": {"better": "lower"}},
        },
    )
    return (*(path.read_bytes() for path in ready), *(yaml.safe_dump(dict(tree)).encode() for tree in small))


def _verb(dice: random.Random) -> tuple[str, ...]:
    return dice.choice((("validate", "s.yaml"), ("plan", "s.yaml", "--no-time"), ("params", "s.yaml")))


def _study_bytes(dice: random.Random, name: str) -> Case:
    return Case(name, _verb(dice), study_file(_mutated(dice, dice.choice(_studies()))))


def _study_tree(dice: random.Random, name: str) -> Case:
    tree = yaml.safe_load(dice.choice(_studies()))
    for _ in range(dice.randint(1, 4)):
        _mutate_tree(dice, tree)
    text = yaml.safe_dump(tree, allow_unicode=dice.random() < 0.5)
    return Case(name, _verb(dice), study_file(text.encode(errors="surrogatepass")))


def _mutated(dice: random.Random, data: bytes) -> bytes:
    """Return bytes after one to eight changes: bits, spans that go, come twice or change places, words of a list."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 8)):
        at, length = dice.randrange(len(changed) + 1), min(dice.choice((1, 4, 30, 300)), len(changed))
        match dice.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << dice.randrange(8)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length] * dice.choice((1, 2, 50))
            case 3:
                del changed[at:]
            case _:
                changed[at:at] = dice.choice(TOKENS)
    return bytes(changed)


def _value(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.randrange(7)
    if kind == 0 and depth < 3:
        return [_value(dice, depth + 1) for _ in range(dice.choice((0, 1, 3, 40)))]
    if kind == 1 and depth < 3:
        return {str(_value(dice, 9))[:20]: _value(dice, depth + 1) for _ in range(dice.choice((0, 1, 3)))}
    if kind == 2:
        return dice.choice(NUMBERS)
    if kind == 3:
        return "".join(chr(dice.choice((dice.randrange(32, 127), dice.randrange(1, 0x2FFF)))) for _ in range(12))
    if kind == 4:
        return dice.uniform(-10, 10) if dice.random() < 0.5 else dice.randint(-10, 1000)
    return copy.deepcopy(dice.choice(list(VALUES.values())))


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return every container of a tree with each of its keys."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree))) if isinstance(tree, list) else []
    return [(tree, key) for key in keys] + [place for key in keys for place in _places(tree[key])]


def _mutate_tree(dice: random.Random, tree: Any) -> None:
    places = _places(tree)
    if not places:
        return
    (container, key), (other, other_key) = dice.choice(places), dice.choice(places)
    match dice.randrange(5):
        case 0:
            del container[key]
        case 1:
            container[key] = copy.deepcopy(other[other_key])
        case 2 if isinstance(container, dict):
            container[str(_value(dice, 9))[:100]] = container.pop(key)
        case 3 if isinstance(container[key], int | float) and not isinstance(container[key], bool):
            container[key] = container[key] * dice.choice((-1, 0.5, 10, 1e6, 1e30))
        case _:
            container[key] = _value(dice)


def _store(dice: random.Random, name: str) -> Case:
    seeds = [dice.random() for _ in range(dice.randint(1, 3))]
    verb = dice.choices(
        (("compact", "x"), ("report", "x"), ("report", "x", "--partial"), ("factorize", "x")), (8, 2, 1, 1)
    )[0]

    def change(store: Path) -> None:
        for seed in seeds:
            own = random.Random(seed)
            own.choice(CHANGES)(own, store)

    return Case(name, verb, copied(change), slow=verb[0] != "compact")


def _any_file(dice: random.Random, store: Path) -> Path:
    return dice.choice(sorted(path for path in store.rglob("*") if path.is_file() and not path.is_symlink()))


def _change_bytes(dice: random.Random, store: Path) -> None:
    file = _any_file(dice, store)
    file.write_bytes(_mutated(dice, file.read_bytes()))


def _change_document(dice: random.Random, store: Path) -> None:
    file = dice.choice([store / "study.yaml", store / "environment.json"])
    if not file.is_file():
        return
    try:
        tree = yaml.safe_load(file.read_bytes().decode(errors="replace"))
    except (yaml.YAMLError, ValueError, RecursionError):  # an earlier change broke it
        return
    for _ in range(3):
        _mutate_tree(dice, tree)
    file.write_text(yaml.safe_dump(tree))


def _change_column(dice: random.Random, store: Path) -> None:
    """Give a column of a table other values, of its type or of another."""
    file = _table(dice, store)
    table = _read(file) if file else None
    if file is None or table is None or not table.num_columns:
        return
    index = dice.randrange(table.num_columns)
    values = [_value(dice) for _ in range(table.num_rows)]
    for make in (lambda: pa.array(values, table.schema.field(index).type), lambda: pa.array(values), _texts(values)):
        try:
            column = make()
            pq.write_table(table.set_column(index, table.column_names[index], column), file)
        except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError):
            continue
        return


def _texts(values: list[Any]) -> Callable[[], pa.Array]:
    return lambda: pa.array([repr(value) for value in values])


def _change_columns(dice: random.Random, store: Path) -> None:
    """Drop, rename or repeat a column, or repeat the rows."""
    file = _table(dice, store)
    table = _read(file) if file else None
    if file is None or table is None or not table.num_columns:
        return
    index, names = dice.randrange(table.num_columns), list(table.column_names)
    match dice.randrange(4):
        case 0:
            table = table.remove_column(index)
        case 1:
            names[index] = dice.choice([*names, "[/b]", ""])
            table = table.rename_columns(names)
        case 2:
            table = table.append_column(names[index], table.column(index))
        case _:
            table = pa.concat_tables([table] * dice.choice((2, 1000))) if dice.random() < 0.5 else table.slice(0, 0)
    pq.write_table(table, file)


def _swap(dice: random.Random, store: Path) -> None:
    one, other = _any_file(dice, store), _any_file(dice, store)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def _special(dice: random.Random, store: Path) -> None:
    """Put a link, a pipe or a folder in the place of a file."""
    file = _any_file(dice, store)
    file.unlink()
    match dice.randrange(4):
        case 0:
            os.mkfifo(file)
        case 1:
            file.mkdir()
        case 2:
            file.symlink_to(dice.choice(("/dev/zero", "/etc/passwd", file.name, "..", "/nowhere")))
        case _:
            pass


def _table(dice: random.Random, store: Path) -> Path | None:
    files = sorted(path for path in store.glob("*/*.parquet") if path.is_file() and not path.is_symlink())
    return dice.choice(files) if files else None


def _read(file: Path) -> pa.Table | None:
    try:
        return pq.read_table(file)
    except (pa.ArrowException, OSError, ValueError):
        return None


CHANGES = (
    _change_bytes,
    _change_bytes,
    _change_document,
    _change_column,
    _change_column,
    _change_columns,
    _swap,
    _special,
)

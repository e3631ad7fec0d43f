"""What is known of a user's function before it is called."""

import importlib
import sys
from functools import partial

import pytest

from search_spaces.config.function import FunctionConfig
from search_spaces.errors import StudyError
from search_spaces.space import apply_values
from tune_app.signatures import parameters

NESTED = """
from dataclasses import dataclass, field
from pydantic import BaseModel, ConfigDict, Field

@dataclass
class Optim:
    momentum: float = 0.9

class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    depth: int = 1

class Limited(BaseModel):
    rate: float = Field(0.5, gt=0)

@dataclass
class Config:
    optim: Optim = field(default_factory=Optim)
    other: Optim | None = None
    open: Open = Field(default_factory=Open)
    limited: Limited | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    properties: str = ""

def train(config: Config, context): ...
def keywords(context, lr: float = 0.1, optim: Optim = Optim()): ...
"""
LATER = """
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from tune_app import Context
    from nowhere import Rate

@dataclass
class Config:
    width: int = 4

def train(config: Config, context: Context) -> Iterator[Rate]: ...
def keywords(context: Context, lr: float = 1e-3): ...
def unknown(context: Context, lr: Rate = 1e-3): ...

class Net:
    def __init__(self, channels: Context, classes: Context, resolution: Context, width: int = 4): ...

class Child(Net): ...

class Called:
    def __call__(self, lr: float = 1e-3): ...

called = Called()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    def written(text):
        (tmp_path / "own_signatures.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "own_signatures", raising=False)
        return importlib.import_module("own_signatures")

    yield written
    sys.modules.pop("own_signatures", None)


def applied(function, **values):
    kind = type("Described", (FunctionConfig,), {"schemas": {"own:train": parameters(function)}})
    return apply_values(
        kind(run="own:train"), {f"args.{path}": value for path, value in values.items()}, "factors"
    ).args


@pytest.mark.parametrize("name", ["train", "keywords"])
def test_a_misspelt_key_of_a_nested_config_is_refused(module, name):
    function = getattr(module(NESTED), name)
    message = r"`args.optim.momentun` is 0.5, but own:train has no such parameter .did you mean 'momentum'"
    with pytest.raises(StudyError, match=message):
        applied(function, **{"optim.momentun": 0.5})
    assert applied(function, **{"optim.momentum": 1})["optim"] == {"momentum": 1.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"other.momentun": 0.5}, "`args.other.momentun` is 0.5, but own:train has no such parameter"),
        ({"limited.rate": -1.0}, "`args.limited.rate` is -1.0, but must be above 0"),
    ],
)
def test_a_mistake_in_an_optional_config_is_named_at_its_place(module, values, message):
    with pytest.raises(StudyError, match=message):
        applied(module(NESTED).train, **values)


def test_a_nested_config_that_takes_any_key_does_so(module):
    found = applied(module(NESTED).train, **{"open.else": 3, "sizes.any": 2, "properties": "x"})
    assert (found["open"]["else"], found["sizes"], found["properties"]) == (3, {"any": 2}, "x")


@pytest.mark.parametrize(
    ("name", "own"),
    [("train", "width"), ("keywords", "lr"), ("Net", "width"), ("Child", "width"), ("called", "lr")],
)
def test_an_annotation_of_what_the_program_gives_need_not_be_evaluated(module, name, own):
    found = getattr(module(LATER), name)
    for function in (found, partial(found)):
        assert list(parameters(function)["properties"]) == [own]
        with pytest.raises(StudyError, match=rf"`args.{own}` is 'fast', but must be a"):
            applied(function, **{own: "fast"})


def test_an_annotation_that_cannot_be_evaluated_is_refused_with_the_remedy(module):
    with pytest.raises(StudyError, match=r"the parameter 'lr' cannot be evaluated.*'Rate'.*outside `if TYPE_CHECKING`"):
        parameters(module(LATER).unknown)

"""The parameters of a network, one by one: name, kind of layer, shape, count, and role in weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

from tune_app.models.norms import NORM_TYPES

Role = Literal["norm", "bias", "weight"]

KINDS: Mapping[type[nn.Module], str] = {nn.Conv2d: "convolution", nn.Linear: "linear"}
"""Display names of layers; other layers are shown by the name of their type."""


@dataclass(frozen=True)
class ParameterRow:
    """One parameter tensor. Role: "norm" in norm layers, "bias" for biases of other layers, "weight" for the rest."""

    name: str
    kind: str
    shape: tuple[int, ...]
    count: int
    role: Role


def parameter_rows(model: nn.Module) -> list[ParameterRow]:
    """Return every parameter once, in the order of the modules; a shared one under the name that comes first."""
    rows: list[ParameterRow] = []
    seen: set[nn.Parameter] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter not in seen:
                seen.add(parameter)
                full = f"{path}.{name}" if path else name
                shape = tuple(parameter.shape)
                rows.append(
                    ParameterRow(
                        full,
                        KINDS.get(type(module), type(module).__name__),
                        shape,
                        parameter.numel(),
                        _role(module, name),
                    )
                )
    return rows


def is_attention_bias(module: nn.Module, name: str) -> bool:
    """Return whether a direct parameter of a module is a bias of torch's attention, which has those of q, k, v in one.

    The bias of the output is that of a linear layer inside it.
    """
    return isinstance(module, nn.MultiheadAttention) and name in ("in_proj_bias", "bias_k", "bias_v")


def _role(module: nn.Module, name: str) -> Role:
    if isinstance(module, NORM_TYPES):
        return "norm"
    return "bias" if name == "bias" or is_attention_bias(module, name) else "weight"

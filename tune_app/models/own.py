"""Networks of the user's own, and those of timm and torchvision: built, checked once, wrapped like the built-in ones.

Shapes: N images, C channels, H rows, W columns, D features, K classes.
"""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.config.trial import ModelConfig
from search_spaces.errors import StudyError, shown
from tune_app.models.layers import ImageClassifier
from tune_app.models.libraries import library_network
from tune_app.user_code import is_adapter, resolve

_CHECKED_IMAGES = 2


class OwnNetwork(ImageClassifier):
    """A network that is not of a built-in family.

    Where the network returns the output of a linear layer, ``features`` maps images to the input of that layer and
    ``head`` is the layer; otherwise ``features`` maps images to logits and ``head`` returns them. ``forward`` calls the
    network as it is. Parameters have the network's own names after "features.network.".

    A network of the user's own stays in contiguous memory, since code that calls ``view`` fails in channels last;
    networks of libraries take the memory format that the training asks for.
    """

    features: _Features

    def __init__(self, network: nn.Module, reference: str, last_linear: str | None) -> None:
        """Wrap a network; ``last_linear`` names the layer whose output it returns, None where there is none."""
        features = _Features(network, last_linear, contiguous=not is_adapter(reference))
        super().__init__(features, _Head(features))
        self.reference = reference

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the network's logits (N, K); StudyError where it returns no tensor, as in training mode alone."""
        logits = self.features.logits(x_NCHW)
        if not isinstance(logits, Tensor):
            raise StudyError(
                f"`{self.reference}` returned a {type(logits).__name__} in training, but must return logits "
                "(N, classes) as in evaluation; turn off auxiliary outputs"
            )
        return logits

    def to(self, *args: Any, **kwargs: Any) -> OwnNetwork:
        """Move the network as `torch.nn.Module.to` does, except for the memory format of a user's own network."""
        if self.features.contiguous:
            kwargs.pop("memory_format", None)
        return super().to(*args, **kwargs)


class _Features(nn.Module):
    """Maps images (N, C, H, W) to the input of the network's last linear layer (N, D), or else to its logits (N, K)."""

    def __init__(self, network: nn.Module, last_linear: str | None, contiguous: bool) -> None:
        super().__init__()
        self.network = network
        self.last_linear = last_linear
        self.contiguous = contiguous

    def logits(self, x_NCHW: Tensor) -> Any:
        """Return what the network returns."""
        return self.network(x_NCHW.contiguous() if self.contiguous else x_NCHW)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Run the network once and return the features."""
        if self.last_linear is None:
            logits: Tensor = self.logits(x_NCHW)
            return logits
        inputs: list[Tensor] = []
        layer = self.network.get_submodule(self.last_linear)
        hook = layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
        try:
            self.logits(x_NCHW)
        finally:
            hook.remove()
        return inputs[-1]


class _Head(nn.Module):
    """The last linear layer of the network in ``features``; the identity where there is none."""

    def __init__(self, features: _Features) -> None:
        super().__init__()
        self._features = (features,)  # in a tuple, so that its parameters are not registered twice

    def forward(self, features_ND: Tensor) -> Tensor:
        """Return the logits (N, K)."""
        (features,) = self._features
        if features.last_linear is None:
            return features_ND
        logits: Tensor = features.network.get_submodule(features.last_linear)(features_ND)
        return logits


def build_own(config: ModelConfig, channels: int, classes: int, resolution: int) -> OwnNetwork:
    """Return the network that ``config.family`` refers to, called as (channels, classes, resolution, **args).

    Weights are drawn from torch's global generator by the network's own code, on the CPU also where the default device
    is "meta" (then without consuming a draw): a constructor may compute buffers that no checkpoint holds. The network
    is run once on random images in evaluation mode, which consumes no draw.

    Raises StudyError where it is no network or does not return logits; an exception of the user's code propagates.
    """
    reference = config.family
    discards = torch.get_default_device().type == "meta"
    with torch.device("cpu"), torch.random.fork_rng(devices=()) if discards else nullcontext():
        if not is_adapter(reference):
            return _checked(_called(config, channels, classes, resolution), reference, channels, classes, resolution)
        try:
            network = library_network(config, channels, classes, resolution)
            return _checked(network, reference, channels, classes, resolution)
        except StudyError:
            raise
        except Exception as error:  # whatever a library raises for arguments that it does not take
            raise StudyError(
                f"`{reference}` with `model.args` {shown(config.args)} cannot be used for {classes} classes of images "
                f"of {channels} x {resolution} x {resolution}: {type(error).__name__}: {error}; "
                "change `model.args` or `data.resolution`"
            ) from error


def _called(config: ModelConfig, channels: int, classes: int, resolution: int) -> Any:
    make = resolve(config.family)
    given = (channels, classes, resolution)
    try:
        inspect.signature(make).bind(*given, **config.args)
    except TypeError as error:
        arguments = "".join(f", {name}={shown(value)}" for name, value in config.args.items())
        raise StudyError(
            f"`{config.family}` is called as (channels, classes, resolution{arguments}), "
            f"which its signature does not take: {error}"
        ) from None
    except ValueError:  # a callable whose signature cannot be read
        pass
    return make(*given, **config.args)


@dataclass(frozen=True)
class _LinearCall:
    name: str
    given: tuple[Any, ...]
    output: Any
    version: int


def _checked(network: object, reference: str, channels: int, classes: int, resolution: int) -> OwnNetwork:
    """Run the network once and return it wrapped; StudyError that says what came back where it cannot be trained."""
    if not isinstance(network, nn.Module):
        raise StudyError(f"`{reference}` returned a {type(network).__name__}, but must return a torch.nn.Module")
    calls: list[_LinearCall] = []

    def record(name: str, _: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        calls.append(_LinearCall(name, given, output, output._version))

    linears = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    hooks = [module.register_forward_hook(partial(record, name)) for name, module in linears]
    network.eval()
    try:
        with torch.random.fork_rng(devices=()), torch.no_grad():
            logits = network(torch.randn(_CHECKED_IMAGES, channels, resolution, resolution))
    finally:
        for hook in hooks:
            hook.remove()
    network.train()
    _check_logits(logits, reference, (channels, resolution, resolution), classes)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise StudyError(f"`{reference}` has no parameters to train; at least one must have requires_grad")
    return OwnNetwork(network, reference, _last_linear(calls[-1], logits) if calls else None)


def _check_logits(logits: Any, reference: str, image: tuple[int, int, int], classes: int) -> None:
    expected = (_CHECKED_IMAGES, classes)
    if isinstance(logits, Tensor) and tuple(logits.shape) == expected and logits.is_floating_point():
        return
    found = f"a {type(logits).__name__}"
    if isinstance(logits, Tensor):
        found = f"a tensor of shape {tuple(logits.shape)} and type {str(logits.dtype).removeprefix('torch.')}"
    size = " x ".join(map(str, image))
    raise StudyError(
        f"`{reference}` returned {found} for {_CHECKED_IMAGES} images of {size}, but must return logits: "
        f"floating-point numbers of shape {expected}, one for each class"
    )


def _last_linear(call: _LinearCall, logits: Tensor) -> str | None:
    """Return the name of the layer called last, if the network returns its output and does not change it."""
    is_returned = logits is call.output and logits._version == call.version
    is_matrix = len(call.given) == 1 and call.given[0].ndim == 2
    return call.name if is_returned and is_matrix else None

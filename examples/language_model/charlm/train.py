"""Train a character-level language model on the help topics that Python ships (`pydoc_data.topics`)."""

from collections.abc import Iterator, Mapping
from pydoc_data.topics import topics
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor, nn

from charlm.model import LanguageModel, parameter_groups
from tune_app import Context

LENGTH, BATCH_SIZE, STEPS = 48, 16, 30
Norm, Decay = Literal["pre", "post"], Literal["matrices", "all"]


def splits(characters: int = 100_000) -> tuple[Tensor, Tensor, Tensor, int]:
    """Return 80 % for training, 10 % each for validation and test, as codes, and how many characters differ."""
    text = "\n".join(topics[name] for name in sorted(topics))[:characters]
    alphabet = {character: code for code, character in enumerate(sorted(set(text)))}
    codes = torch.tensor([alphabet[character] for character in text])
    tenth = len(codes) // 10
    return codes[: 8 * tenth], codes[8 * tenth : 9 * tenth], codes[9 * tenth :], len(alphabet)


def train(
    context: Context, norm: Norm = "pre", decay: Decay = "matrices", weight_decay: float = 0.1, lr: float = 3e-3
) -> Iterator[Mapping[str, float]]:
    """Train STEPS batches in each epoch and yield losses in nats for each character."""
    text, val, test, symbols = splits()
    net = LanguageModel(symbols, LENGTH, norm).to(context.device)
    optimizer = torch.optim.AdamW(parameter_groups(net, decay), lr, weight_decay=weight_decay)
    first = context.register(net=net, optimizer=optimizer)
    for epoch in range(first, context.epochs + 1):
        generator, began = context.generator(f"batches {epoch}"), perf_counter()
        for _ in range(STEPS):
            starts = torch.randint(len(text) - LENGTH, (BATCH_SIZE, 1), generator=generator)
            loss = cross_entropy(net, text[starts + torch.arange(LENGTH + 1)].to(context.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        speed = STEPS * BATCH_SIZE * LENGTH / (perf_counter() - began)
        yield {"train_loss": loss.item(), "val_loss": evaluate(net, val), "tokens_per_second": speed}
    context.load_best()
    yield context.final({"test_loss": evaluate(net, test)})


def cross_entropy(net: nn.Module, codes: Tensor) -> Tensor:
    """Return the mean cross entropy of each character given those before it, for codes (N, T + 1)."""
    return nn.functional.cross_entropy(net(codes[:, :-1]).flatten(0, 1), codes[:, 1:].flatten())


@torch.no_grad()
def evaluate(net: nn.Module, codes: Tensor) -> float:
    """Return the mean cross entropy over consecutive windows of a split; there is no dropout to turn off."""
    windows = codes.unfold(0, LENGTH + 1, LENGTH)
    return cross_entropy(net, windows.to(next(net.parameters()).device)).item()

"""A character-level transformer whose layer norms come before or after each part of a block."""

from typing import Any

from torch import Tensor, nn


class LanguageModel(nn.Module):
    """Two transformer blocks with a causal mask: codes (N, T), T up to ``length``, to logits (N, T, symbols)."""

    def __init__(self, symbols: int, length: int, norm: str, width: int = 32) -> None:
        super().__init__()
        self.symbol, self.position = nn.Embedding(symbols, width), nn.Embedding(length, width)
        first, last = norm == "pre", nn.LayerNorm(width) if norm == "pre" else None
        layer = nn.TransformerEncoderLayer(width, 2, 4 * width, 0.0, "gelu", batch_first=True, norm_first=first)
        self.blocks = nn.TransformerEncoder(layer, 2, last, enable_nested_tensor=False)
        self.head = nn.Linear(width, symbols)

    def forward(self, codes: Tensor) -> Tensor:
        """Return the logits of the next character at each place."""
        x = self.symbol(codes) + self.position.weight[: codes.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(codes.shape[1], device=codes.device)
        logits: Tensor = self.head(self.blocks(x, mask=mask, is_causal=True))
        return logits


def parameter_groups(net: nn.Module, decay: str) -> list[dict[str, Any]]:
    """Return the optimizer's groups: weight decay on every parameter ("all"), or on matrices alone."""
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for parameter in net.parameters():
        parts[decay == "matrices" and parameter.ndim < 2].append(parameter)
    return [{"params": parts[0]}, {"params": parts[1], "weight_decay": 0.0}]

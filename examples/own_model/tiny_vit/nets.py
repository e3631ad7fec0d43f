"""A small vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) for our training loop."""

import torch
from torch import Tensor, nn


class TinyViT(nn.Module):
    """Patches with learned positions, transformer blocks with norms first, the mean over patches, a linear layer."""

    def __init__(
        self,
        channels: int,
        classes: int,
        resolution: int,
        patch: int = 2,
        dim: int = 48,
        depth: int = 3,
        heads: int = 4,
    ) -> None:
        super().__init__()
        patches = (resolution // patch) ** 2
        self.embed = nn.Conv2d(channels, dim, patch, patch)
        self.position = nn.Parameter(0.02 * torch.randn(patches, dim))
        block = nn.TransformerEncoderLayer(
            dim, heads, 2 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, depth, nn.LayerNorm(dim), enable_nested_tensor=False)
        self.head = nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, channels, resolution, resolution)."""
        tokens = self.embed(images).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.head(self.blocks(tokens).mean(1))
        return logits

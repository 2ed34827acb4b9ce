"""The vision transformer against torch's own attention, on a network small enough to read."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mien.models.features.vit import CLIP_MEAN, CLIP_STD, VisionTransformer, expected_shapes

WIDTH, PATCH, DEPTH = 128, 112, 2  # two heads, four patches


def state(clip: bool) -> dict[str, Tensor]:
    shapes = {key: tuple({768: WIDTH, 3072: 4 * WIDTH, 2304: 3 * WIDTH, 16: PATCH, 197: 5}.get(n, n) for n in shape)
              for key, shape in expected_shapes(16, clip).items()
              if "resblocks" not in key or int(key.split(".")[2]) < DEPTH}
    return {key: torch.randn(shape, generator=torch.Generator().manual_seed(i)) * 0.1
            for i, (key, shape) in enumerate(shapes.items())}


def reference(x: Tensor, s: dict[str, Tensor], clip: bool) -> Tensor:
    """Tokens by torch's own modules."""
    patches = nn.functional.conv2d(x, s["conv1.weight"], s.get("conv1.bias"), stride=PATCH).flatten(2).mT
    x = torch.cat([s["class_embedding"].expand(len(x), 1, -1), patches], dim=1) + s["positional_embedding"]
    eps = 1e-5 if clip else 1e-6
    if clip:
        x = nn.functional.layer_norm(x, (WIDTH,), s["ln_pre.weight"], s["ln_pre.bias"], eps)
    for i in range(DEPTH):
        name = f"transformer.resblocks.{i}"
        attention = nn.MultiheadAttention(WIDTH, WIDTH // 64, batch_first=True)
        attention.load_state_dict({key.removeprefix(f"{name}.attn."): value for key, value in s.items()
                                   if key.startswith(f"{name}.attn.")})
        y = nn.functional.layer_norm(x, (WIDTH,), s[f"{name}.ln_1.weight"], s[f"{name}.ln_1.bias"], eps)
        x = x + attention(y, y, y, need_weights=False)[0]
        y = nn.functional.layer_norm(x, (WIDTH,), s[f"{name}.ln_2.weight"], s[f"{name}.ln_2.bias"], eps)
        y = y @ s[f"{name}.mlp.c_fc.weight"].T + s[f"{name}.mlp.c_fc.bias"]
        y = y * torch.sigmoid(1.702 * y) if clip else nn.functional.gelu(y)
        x = x + y @ s[f"{name}.mlp.c_proj.weight"].T + s[f"{name}.mlp.c_proj.bias"]
    return x


@torch.no_grad()
@pytest.mark.parametrize("clip", [True, False], ids=["clip", "dino"])
def test_tokens_and_embedding(clip: bool) -> None:
    s, x = state(clip), torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(99))
    network = VisionTransformer(s)
    tokens = network.tokens(x)
    assert tokens.shape == (2, 5, WIDTH)
    assert (tokens - reference(x, s, clip)).abs().max() < 1e-5 * tokens.std()
    first = nn.functional.layer_norm(tokens[:, 0], (WIDTH,), s["ln_post.weight"], s["ln_post.bias"],
                                     1e-5 if clip else 1e-6)
    assert (network(x) - (first @ s["proj"] if clip else first)).abs().max() < 1e-6


def test_pictures_of_any_size_are_cut_square_and_normalized() -> None:
    network = VisionTransformer(state(clip=True))
    gray = torch.full((1, 3, 300, 500), 0.5)
    found = network.normalize(gray)
    assert found.shape == (1, 3, 224, 224)
    for i in range(3):
        assert (found[:, i] - (0.5 - CLIP_MEAN[i]) / CLIP_STD[i]).abs().max() < 1e-5

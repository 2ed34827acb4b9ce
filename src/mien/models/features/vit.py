"""Implements vision transformers: CLIP's image towers (FaRL's weights fit the B/16) and DINO's.

Radford et al. 2021 (arXiv 2103.00020), Zheng et al. 2022 (FaRL, arXiv 2112.03109), Caron et al. 2021 (DINO,
arXiv 2104.14294). DINO's weights are kept under CLIP's names, see `from_dino`. The two kinds differ in the first
norm and the projection, which DINO does not have, in the activation and in the norms' epsilon.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import ModelError
from mien.models.features.resize import fit_square
from mien.models.hints import IMPORT
from mien.util.precision import reduced

SIZE = 224
WIDTH, DEPTH = 768, 12
HEAD = 64  # channels of an attention head
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    """Applies one transformer block: [B, T, D] -> [B, T, D]."""

    def __init__(self, state: dict[str, Tensor], name: str, clip: bool) -> None:
        super().__init__()
        self.clip = clip
        for key in ("ln_1.weight", "ln_1.bias", "attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight",
                    "attn.out_proj.bias", "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias",
                    "mlp.c_proj.weight", "mlp.c_proj.bias"):
            self.register_buffer(key.replace(".", "_"), state[f"{name}.{key}"].float())

    ln_1_weight: Tensor
    ln_1_bias: Tensor
    attn_in_proj_weight: Tensor
    attn_in_proj_bias: Tensor
    attn_out_proj_weight: Tensor
    attn_out_proj_bias: Tensor
    ln_2_weight: Tensor
    ln_2_bias: Tensor
    mlp_c_fc_weight: Tensor
    mlp_c_fc_bias: Tensor
    mlp_c_proj_weight: Tensor
    mlp_c_proj_bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attend(_norm(x, self.ln_1_weight, self.ln_1_bias, self.clip))
        y = _norm(x, self.ln_2_weight, self.ln_2_bias, self.clip)
        y = F.linear(y, self.mlp_c_fc_weight, self.mlp_c_fc_bias)  # [B, T, 4 D]
        y = y * torch.sigmoid(1.702 * y) if self.clip else F.gelu(y)
        return x + F.linear(y, self.mlp_c_proj_weight, self.mlp_c_proj_bias)

    def _attend(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        qkv = F.linear(x, self.attn_in_proj_weight, self.attn_in_proj_bias)
        q, k, v = qkv.reshape(b, t, 3, d // HEAD, HEAD).permute(2, 0, 3, 1, 4)  # each [B, heads, T, 64]
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d)
        return F.linear(x, self.attn_out_proj_weight, self.attn_out_proj_bias)


def _norm(x: Tensor, weight: Tensor, bias: Tensor, clip: bool) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-5 if clip else 1e-6)


class VisionTransformer(nn.Module):
    """Turns images [B, 3, 224, 224] into tokens [B, 1 + patches, 768] or embeddings [B, D]; its weights are frozen.

    Args:
        precision: of the blocks; tokens and embeddings are float32.
    """

    conv1: Tensor
    conv1_bias: Tensor | None
    class_embedding: Tensor
    positional_embedding: Tensor
    ln_post_weight: Tensor
    ln_post_bias: Tensor

    def __init__(self, state: dict[str, Tensor], precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.precision = precision
        self.clip = "ln_pre.weight" in state
        self.register_buffer("conv1", state["conv1.weight"].float())
        bias = state.get("conv1.bias")
        self.register_buffer("conv1_bias", None if bias is None else bias.float())
        optional = ("ln_pre.weight", "ln_pre.bias", "proj") if self.clip else ()
        for key in ("class_embedding", "positional_embedding", "ln_post.weight", "ln_post.bias", *optional):
            self.register_buffer(key.replace(".", "_"), state[key].float())
        depth = 1 + max(int(key.split(".")[2]) for key in state if key.startswith("transformer.resblocks."))
        self.blocks = nn.ModuleList(Block(state, f"transformer.resblocks.{i}", self.clip) for i in range(depth))
        mean, std = (CLIP_MEAN, CLIP_STD) if self.clip else (IMAGENET_MEAN, IMAGENET_STD)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        self.eval()

    mean: Tensor
    std: Tensor
    ln_pre_weight: Tensor
    ln_pre_bias: Tensor
    proj: Tensor

    @classmethod
    def from_file(cls, path: Path, precision: torch.dtype = torch.float32) -> Self:
        """Loads converted weights (safetensors).

        Raises:
            ModelError: the file does not hold such a network.
        """
        try:
            return cls(load_file(path), precision)
        except (KeyError, ValueError, OSError, SafetensorError) as error:
            raise ModelError(f"{path} does not hold a vision transformer: {error}", IMPORT) from error

    def tokens(self, x: Tensor) -> Tensor:
        """Computes the tokens after the last block, before the last norm: [B, 1 + patches, 768], class token first."""
        with reduced(x, self.precision):
            x = F.conv2d(x, self.conv1, self.conv1_bias, stride=self.conv1.shape[-1])
            x = x.flatten(2).transpose(1, 2)  # [B, patches, 768]
            x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
            if self.clip:
                x = _norm(x, self.ln_pre_weight, self.ln_pre_bias, True)
            for block in self.blocks:
                x = block(x)
        return x.to(self.class_embedding)

    def finish(self, tokens: Tensor) -> Tensor:
        """Turns tokens [B, T, 768] into embeddings [B, 512] (CLIP, FaRL) or [B, 768] (DINO)."""
        x = _norm(tokens[:, 0], self.ln_post_weight, self.ln_post_bias, self.clip)
        return x @ self.proj if self.clip else x

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(self.tokens(x))

    def normalize(self, image: Tensor) -> Tensor:
        """Crops and normalizes images in 0..1 of any size to the network's input [B, 3, 224, 224]."""
        return (fit_square(image, SIZE) - self.mean) / self.std


def from_dino(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames DINO's tensors to CLIP's names.

    Raises:
        KeyError: a tensor has a name that DINO does not use.
    """
    outer = {"cls_token": "class_embedding", "pos_embed": "positional_embedding", "norm.weight": "ln_post.weight",
             "patch_embed.proj.weight": "conv1.weight", "patch_embed.proj.bias": "conv1.bias",
             "norm.bias": "ln_post.bias"}
    inner = {"norm1": "ln_1", "norm2": "ln_2", "attn.qkv": "attn.in_proj", "attn.proj": "attn.out_proj",
             "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    renamed = {}
    for key, value in state.items():
        if found := re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", key):
            number, layer, kind = found.groups()
            joint = "_" if layer == "attn.qkv" else "."
            renamed[f"transformer.resblocks.{number}.{inner[layer]}{joint}{kind}"] = value
        else:
            name = outer[key]
            renamed[name] = value.flatten() if name == "class_embedding" else (
                value[0] if name == "positional_embedding" else value)
    return renamed


def expected_shapes(patch: int, clip: bool) -> dict[str, tuple[int, ...]]:
    """Returns the tensors' names (CLIP's) and shapes of a ViT-B with patches of 16 or 32 px."""
    d = WIDTH
    shapes: dict[str, tuple[int, ...]] = {
        "class_embedding": (d,), "positional_embedding": (1 + (SIZE // patch) ** 2, d),
        "conv1.weight": (d, 3, patch, patch), "ln_post.weight": (d,), "ln_post.bias": (d,)}
    shapes |= {"ln_pre.weight": (d,), "ln_pre.bias": (d,), "proj": (d, 512)} if clip else {"conv1.bias": (d,)}
    for i in range(DEPTH):
        block = {"ln_1": (d,), "attn.out_proj": (d, d), "ln_2": (d,), "mlp.c_fc": (4 * d, d), "mlp.c_proj": (d, 4 * d)}
        name = f"transformer.resblocks.{i}"
        for layer, shape in block.items():
            shapes |= {f"{name}.{layer}.weight": shape, f"{name}.{layer}.bias": shape[:1]}
        shapes |= {f"{name}.attn.in_proj_weight": (3 * d, d), f"{name}.attn.in_proj_bias": (3 * d,)}
    return shapes

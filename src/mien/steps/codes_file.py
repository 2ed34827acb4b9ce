"""Codes files hold the latent codes of one face as safetensors. Files of other programs are read too, and checked."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mien.errors import UsageError
from mien.models.generators.base import DIM, Generator
from mien.models.generators.stylegan2 import StyleGAN2
from mien.util.files import write_file

REPAIR = "give another codes file, or run again what made it"
AGREE = 1e-2  # how far w_plus may be from what codes say: float16 files are off by about 1e-3


def write_codes(path: Path, codes: Tensor, generator: Generator, styles: list[Tensor] | None = None) -> None:
    """Writes whitened codes [L, 512] as `codes`, and the same face in W+ as `w_plus` [L, 512], atomically.

    Args:
        styles: style vectors, each [C], of a face that no W+ code describes. They are concatenated as `styles`; `codes`
            are then where its optimization started.

    Raises:
        OutputError: the file cannot be written.
    """
    codes = codes.detach().float().contiguous()
    tensors = {"codes": codes, "w_plus": generator.color(codes).cpu().contiguous()}
    write_file(path, save(tensors if styles is None else tensors | {"styles": torch.cat(styles).float()}))


def read_styles(path: Path, generator: StyleGAN2) -> list[Tensor] | None:
    """Reads the style vectors, each [C], of a codes file; None if it has none.

    Raises:
        UsageError: the file is damaged, or its styles have another length or are not finite.
    """
    found = _tensors(path).get("styles")
    if found is None:
        return None
    widths = generator.style_widths
    if found.shape != (sum(widths),) or not found.is_floating_point() or not torch.isfinite(found).all():
        raise UsageError(f"{path}: styles must be {sum(widths)} finite numbers, not {list(found.shape)}",
                         "give the --recipe that the file was made with, or delete styles from the file")
    return list(torch.split(found.float(), widths))


def read_codes(path: Path, generator: Generator) -> Tensor:
    """Reads the whitened codes [L, 512] of a codes file.

    The file holds `codes` (whitened) or `w_plus`, each [L, 512], or [512] for one vector on all layers; leading axes of
    length 1 are dropped.

    Raises:
        UsageError: the file is damaged, holds neither tensor, holds both but they differ, or one has another shape or
            values that are not finite; the message names the file.
    """
    tensors = {name: _checked(path, name, value, generator.n_layers) for name, value in _tensors(path).items()
               if name in ("codes", "w_plus")}
    if not tensors:
        raise UsageError(f"{path} holds neither codes nor w_plus",
                         f"give a file with a tensor codes (whitened) or w_plus of [{generator.n_layers}, {DIM}]")
    if "codes" not in tensors:
        return generator.whiten(tensors["w_plus"]).cpu()
    codes = tensors["codes"]
    if "w_plus" in tensors and not _agree(generator.color(codes).cpu(), tensors["w_plus"]):
        raise UsageError(f"{path}: codes and w_plus are two different faces",
                         "delete the wrong one from the file")
    return codes


def _agree(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= AGREE * (1 + b.abs().max()))


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the codes {path}: {error.strerror}", REPAIR) from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise UsageError(f"{path} is damaged or not a safetensors file: {error}", REPAIR) from error


def _checked(path: Path, name: str, value: Tensor, layers: int) -> Tensor:
    shape = list(value.shape)
    while value.ndim > 1 and len(value) == 1:
        value = value[0]
    if tuple(value.shape) not in ((DIM,), (layers, DIM)):
        raise UsageError(f"{path}: {name} has the shape {shape}, not [{layers}, {DIM}]", REPAIR)
    if not value.is_floating_point():
        kind = str(value.dtype).removeprefix("torch.")
        raise UsageError(f"{path}: {name} holds {kind}, not floating-point numbers", REPAIR)
    if not torch.isfinite(value).all():
        raise UsageError(f"{path}: {name} holds values that are not finite", REPAIR)
    return value.float().expand(layers, DIM).clone()

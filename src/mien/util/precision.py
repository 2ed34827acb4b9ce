"""Chooses the precision that networks compute in: bfloat16 on devices that multiply it several times faster."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from mien.util.devices import CPU

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def fastest(device: torch.device = CPU) -> str:
    """Returns the precision that a device is fastest in: bfloat16 if it has units for that, else float32."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot tell
    units = any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
    return "bfloat16" if device.type == "cpu" and units else "float32"


def reduced(tensor: Tensor, precision: torch.dtype) -> AbstractContextManager[object]:
    """Returns a context in which a network computes on `tensor` in this precision; float32 changes nothing."""
    return nullcontext() if precision is torch.float32 else torch.autocast(tensor.device.type, precision)

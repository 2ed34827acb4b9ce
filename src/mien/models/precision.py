"""Bfloat16 inside the networks of the loops, where the processor multiplies such numbers several times faster."""

from __future__ import annotations

import torch
from torch import Tensor

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def fastest() -> str:
    """The precision that this machine is fastest in: bfloat16 with a GPU or matrix units (AMX), else float32."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot tell
    units = torch.cuda.is_available() or capabilities.get("amx_bf16")
    return "bfloat16" if units else "float32"


def reduced(tensor: Tensor, precision: torch.dtype) -> torch.autocast:
    """A context in which a network that was given `tensor` computes in this precision; float32 changes nothing."""
    return torch.autocast(tensor.device.type, precision, enabled=precision is not torch.float32)

"""Implements what all StyleGAN2 generators share: the mapping network and the whitened space of its output.

Karras et al. 2020 (arXiv 1912.04958); whitening is the PN space of Zhu et al. 2020 (arXiv 2012.09036).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DIM = 512
SQRT2 = 2.0**0.5
MIN_SPREAD = 0.02  # the narrowest directions of the mapping's output contain only rounding errors
_SAMPLES = 49_152
_NAMES = ("mapping_weight", "mapping_bias", "w_mean", "whiten_mean", "whiten_basis", "whiten_spread")


class Generator(nn.Module):
    """Maps z to w, truncates, converts between w and whitened codes, and renders images of W+; its weights are frozen.

    Codes are float32 [..., 512]; `map` takes [B, 512]. The weights have their learning-rate factors applied.
    Codes on another device are moved to the generator's device, and the results stay there.

    Attributes:
        n_layers: L, the number of vectors in its W+.
    """

    n_layers: int

    mapping_weight: Tensor
    mapping_bias: Tensor
    w_mean: Tensor
    whiten_mean: Tensor
    whiten_basis: Tensor
    whiten_spread: Tensor

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for key in _NAMES:
            self.register_buffer(key, state[key])

    @property
    def device(self) -> torch.device:
        """The device that it computes on."""
        return self.w_mean.device

    def map(self, z: Tensor) -> Tensor:
        """Applies the mapping network: z [B, 512] ~ N(0, I) -> w [B, 512]."""
        hidden = last_hidden(self.mapping_weight, self.mapping_bias, z.to(self.device))
        return F.leaky_relu(hidden, 0.2) * SQRT2

    def truncate(self, w: Tensor, psi: float) -> Tensor:
        """Truncates towards the mean w: [..., 512] -> [..., 512]; psi = 1 changes nothing, 0 gives the mean."""
        return self.w_mean + psi * (w.to(self.device) - self.w_mean)

    def whiten(self, w: Tensor) -> Tensor:
        """Whitens: w [..., 512] -> v [..., 512], about unit normal over faces."""
        w = w.to(self.device)
        y = torch.where(w > 0, w / SQRT2, w / (SQRT2 * 0.2))
        return (y - self.whiten_mean) @ self.whiten_basis / self.whiten_spread

    def color(self, v: Tensor) -> Tensor:
        """Inverts `whiten`: v [..., 512] -> w [..., 512]."""
        y = (v.to(self.device) * self.whiten_spread) @ self.whiten_basis.T + self.whiten_mean
        return F.leaky_relu(y, 0.2) * SQRT2

    def forward(self, wp: Tensor) -> Tensor:
        """Synthesizes images: W+ [B, L, 512] -> [B, 3, H, W] in about -1..1."""
        raise TypeError(f"{type(self).__name__} has no synthesis network")


def last_hidden(weights: Tensor, biases: Tensor, z: Tensor) -> Tensor:
    """Computes the mapping's last layer before its activation: z [B, 512] -> [B, 512]."""
    x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = F.leaky_relu(F.linear(x, weight, bias), 0.2) * SQRT2
    return F.linear(x, weights[-1], biases[-1])


@torch.inference_mode()
def fit_whitening(weights: Tensor, biases: Tensor) -> dict[str, Tensor]:
    """Computes the whitening of a mapping network from seeded samples.

    Args:
        weights: [layers, 512, 512]. biases: [layers, 512].

    Returns:
        the mean w, and mean, principal directions and standard deviations of the last layer before its activation.
    """
    z = torch.randn(_SAMPLES, DIM, generator=torch.Generator().manual_seed(0))
    hidden = last_hidden(weights, biases, z)  # [N, 512]
    mean = hidden.mean(dim=0)
    covariance = (hidden - mean).double().T @ (hidden - mean).double() / len(hidden)
    spread, basis = torch.linalg.eigh(covariance)
    order = spread.argsort(descending=True)
    return {"w_mean": (F.leaky_relu(hidden, 0.2) * SQRT2).mean(dim=0), "whiten_mean": mean,
            "whiten_basis": basis[:, order].float().contiguous(),
            "whiten_spread": spread[order].clamp(min=0).sqrt().float().clamp(min=MIN_SPREAD)}

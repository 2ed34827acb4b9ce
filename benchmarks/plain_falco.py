"""The paper's optimization as its reference code does it, to measure against.

One face at a time, the full 1024 px picture at each step, weights modulated for each sample, both targets computed
anew at each step, gradients for all weights of generator and attribute network although nothing uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

LAYERS = 17
State = dict[str, Tensor]
Look = Callable[[Tensor], Tensor]


class PlainStyleGAN2:
    """Synthesis at 1024 px, W+ [1, 18, 512] -> [1, 3, 1024, 1024], from a state under genforce's names."""

    def __init__(self, state: State) -> None:
        self.state = {key: value.clone().requires_grad_() for key, value in state.items()
                      if key.startswith("synthesis.") and not key.endswith(".kernel")}
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.blur = taps[:, None] * taps / 16

    def __call__(self, wp: Tensor) -> Tensor:
        x = self.state["synthesis.early_layer.const"].expand(len(wp), -1, -1, -1)
        image = torch.zeros(())
        for i in range(LAYERS):
            name = f"synthesis.layer{i}"
            x = self._convolve(x, wp[:, i], name, up=i % 2 == 1, demodulate=True)
            x = x + self.state[f"{name}.noise"] * self.state[f"{name}.noise_strength"]
            x = F.leaky_relu(x + self.state[f"{name}.bias"][:, None, None], 0.2) * 2**0.5
            if i % 2 == 0:
                name = f"synthesis.output{i // 2}"
                rgb = self._convolve(x, wp[:, i + 1], name, up=False, demodulate=False)
                rgb = rgb + self.state[f"{name}.bias"][:, None, None]
                image = rgb if i == 0 else rgb + F.conv_transpose2d(image, self._blur(3), stride=2, padding=1, groups=3)
        return image

    def _convolve(self, x: Tensor, w: Tensor, name: str, up: bool, demodulate: bool) -> Tensor:
        batch = len(x)
        style = F.linear(w, self.state[f"{name}.style.weight"] * 512**-0.5, self.state[f"{name}.style.bias"]) + 1
        weight = self.state[f"{name}.weight"]
        weight = (weight * weight[0].numel() ** -0.5)[None] * style[:, None, :, None, None]  # [B, out, in, k, k]
        if demodulate:
            weight = weight * torch.rsqrt(weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
        out, side = weight.shape[1], weight.shape[-1]
        x = x.reshape(1, -1, *x.shape[2:])
        if up:
            weight = weight.flip(3, 4).transpose(1, 2).flatten(0, 1)
            x = F.conv_transpose2d(x, weight, stride=2, groups=batch)
            x = F.conv2d(x, self._blur(batch * out), padding=1, groups=batch * out)
        else:
            x = F.conv2d(x, weight.flatten(0, 1), padding=side // 2, groups=batch)
        return x.reshape(batch, out, *x.shape[2:])

    def _blur(self, channels: int) -> Tensor:
        return self.blur.expand(channels, 1, 4, 4).contiguous()


def plain_loop(generator: Look, recognizer: Look, tokens: Look, weights: Iterable[Tensor], photo: Tensor, real: Tensor,
               paired: Tensor, steps: int, tick: Callable[[], None] = lambda: None) -> Tensor:
    """Optimizes one face with the paper's constants.

    Args:
        generator: W+ -> picture, at full size. recognizer: pictures in -1..1 -> unit vectors. tokens: of the attribute
            network. weights: that gradients are computed for as well.
        photo: [1, 3, 256, 256] in -1..1. real, paired: W+ [1, L, 512]. tick: called after each step.

    Returns:
        W+ [1, L, 512].
    """
    for value in weights:
        value.requires_grad_()
    moving = paired[:, 3:8].clone().requires_grad_()
    optimizer = torch.optim.Adam([moving], lr=0.01)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [int(0.75 * steps), int(0.9 * steps)], gamma=0.8)
    for _ in range(steps):
        image = generator(torch.cat([real[:, :3], moving, real[:, 8:]], dim=1))
        target = recognizer(photo).detach()
        cosine = (recognizer(image) * target).sum(dim=1)
        new, old = tokens(image), tokens(photo)
        loss = 10 * cosine.abs().mean() + 0.1 * (new - old).abs().mean(dim=(0, 2)).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        tick()
    return torch.cat([real[:, :3], moving, real[:, 8:]], dim=1).detach()

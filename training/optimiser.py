"""Muon for matrices, Adam for the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Newton-Schulz quintic of Muon (Jordan et al. 2024): pushes all singular values towards 1 in five steps."""


@torch.compile(dynamic=False)
def orthogonalise(g: Tensor) -> Tensor:
    """Nearest semi-orthogonal matrix of each g [N, rows, cols], in bf16."""
    x = g.bfloat16()
    tall = x.size(-2) > x.size(-1)
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return x.mT if tall else x


class Muon:
    """Orthogonalised momentum, one batch for all parameters of a shape: [rows, cols] or [N, rows, cols].

    Every step has the same size whatever the gradient's, so without weight decay the matrices grow for as long as the
    run lasts, and attention scores with them. With it their norms settle near 1 / weight_decay.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        self.lr, self.weight_decay, self.momentum = lr, weight_decay, momentum
        by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for p in parameters:
            by_shape[p.shape].append(p)
        self.groups = [(ps, torch.zeros((len(ps), *ps[0].shape), device=ps[0].device)) for ps in by_shape.values()]

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One update with learning rate `lr * scale`."""
        for parameters, buffer in self.groups:
            grads = torch.stack([p.grad for p in parameters])  # type: ignore[misc]
            buffer.lerp_(grads, 1 - self.momentum)
            update = grads.lerp(buffer, self.momentum)
            rows, cols = update.shape[-2:]
            update = orthogonalise(update.reshape(-1, rows, cols)).view_as(update)
            step = self.lr * scale * max(1.0, rows / cols) ** 0.5
            torch._foreach_mul_(parameters, 1.0 - self.lr * scale * self.weight_decay)
            torch._foreach_add_(parameters, list(update.to(buffer.dtype).unbind(0)), alpha=-step)

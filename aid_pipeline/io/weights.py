"""Digest of the weights that a pipeline holds in memory, which may be others than its folder's.

A merged LoRA, a swapped VAE, a fine-tuned UNet and a textual inversion all change them after loading.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

SAMPLES = 64  # elements of each tensor


def weights_digests(pipe: Any) -> dict[str, str]:
    """A digest of every model of a pipeline, by component; of names, shapes and samples of its parameters and buffers.

    Samples make it cheap for large models; any training or merging changes them. A component whose weights are not in
    memory between calls (sequential offloading) has none.
    """
    found = {name: _digest(part) for name, part in pipe.components.items() if isinstance(part, nn.Module)}
    return {name: digest for name, digest in sorted(found.items()) if digest is not None}


def changed_weights(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Components whose digests differ, of those that both have."""
    return [name for name in before if name in now and before[name] != now[name]]


@torch.no_grad()
def _digest(module: nn.Module) -> str | None:
    module = getattr(module, "_orig_mod", module)
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict(keep_vars=True).items()):
        if not isinstance(tensor, Tensor):
            continue
        if tensor.device.type == "meta":
            return None
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(_sample(tensor.detach()))
    return digest.hexdigest()[:32]


def _sample(tensor: Tensor) -> bytes:
    count = tensor.numel()
    if not count:
        return b""
    taken = min(SAMPLES, count)
    places = torch.tensor([count * index // taken for index in range(taken)], device=tensor.device)
    values = tensor.reshape(-1)[places]
    return values.contiguous().cpu().view(torch.uint8).numpy().tobytes()

"""The autoencoder's encoder in closed form: principal components of 4x4 patches.

Fitting takes seconds, and the latents are final before any network is trained.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..components import LATENT_CHANNELS

_PATCH = 4
_RANGE = 0.5  # keeps latents where the decoder's tanh is almost linear


def components_of(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (48,), directions (48, channels) and standard deviations (channels,) of the patches of uint8 images.

    A patch is ordered colour, row, column, as ``F.unfold`` does.
    """
    patches = F.unfold(images.double() / 255, _PATCH, stride=_PATCH).transpose(1, 2).reshape(-1, 3 * _PATCH**2)
    mean = patches.mean(0)
    covariance = (patches - mean).T @ (patches - mean) / len(patches)
    values, vectors = torch.linalg.eigh(covariance)
    kept = vectors.flip(1)[:, :LATENT_CHANNELS]
    kept = kept * torch.where(kept.sum(0) < 0, -1.0, 1.0)  # eigenvectors have no sign of their own
    return mean.float(), kept.float(), values.flip(0)[:LATENT_CHANNELS].sqrt().float()


@torch.no_grad()
def fit_encoder(vae, images: Tensor) -> None:
    """Sets the encoder of ``vae`` to the components of ``images`` (n, 3, 64, 64) uint8, halfway to equal variance.

    Two strided convolutions gather a patch into 48 channels; the last one projects. The decoder's first layer and its
    residual blocks start where they pass the patch on.
    """
    mean, directions, deviation = components_of(images)
    project = (directions * (_RANGE / deviation.sqrt())).T  # [channels, 48]
    first, half, quarter, last = vae.encoder.layers
    for layer in (first, half, quarter, last):
        layer.weight.zero_()
    first.bias.zero_()
    for colour in range(3):
        first.weight[colour, colour, 1, 1] = 1
    order = torch.empty(48, dtype=torch.long)  # unfold's index of each gathered channel
    for y in range(2):
        for x in range(2):
            for colour in range(3):
                half.weight[(2 * y + x) * 3 + colour, colour, 1 + y, 1 + x] = 1
            for inner in range(12):
                gathered = (2 * y + x) * 12 + inner
                quarter.weight[gathered, inner, 1 + y, 1 + x] = 1
                position, colour = divmod(inner, 3)
                row, column = 2 * y + position // 2, 2 * x + position % 2
                order[gathered] = colour * _PATCH**2 + row * _PATCH + column
    last.weight[:, :, 1, 1] = project[:, order]
    last.bias.copy_(-project @ mean)

    start = vae.decoder.layers[0]
    start.weight.zero_()
    start.weight[:, :, 1, 1] = (directions * (deviation.sqrt() / _RANGE))[order]
    start.bias.copy_(mean[order])
    for layer in vae.decoder.layers:
        if hasattr(layer, "conv"):
            layer.conv[-1].weight.zero_()
            layer.conv[-1].bias.zero_()

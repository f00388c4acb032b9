"""Denoiser: v-prediction on the autoencoder's latents, conditioned on the text tower, with a read-out of its middle."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...atomic_files import replacing
from ..components import LATENT_CHANNELS, LATENT_SIZE, new_scheduler, new_tokenizer, new_unet
from . import workers
from .data import APPEARANCE, CAPTIONS, SceneData, tokenize
from .loop import TrainingLoop
from .stages import Job, attribute_loss, export_fp16, frozen

CAPTION_DROPOUT = 0.12
READ_OUT_WEIGHT = 0.2  # of the read-out, whose loss is otherwise small beside the denoiser's


def _latents(vae, data: SceneData, runs: Path) -> Tensor:
    """Scaled latents of the whole training set, (n, 12, 16, 16) fp16, kept in ``runs`` for the next stage."""
    from safetensors.torch import load_file, save_file

    weights = b"".join(p.detach().float().numpy().tobytes() for p in vae.encoder.parameters())
    first = data.images[:100].numpy().tobytes()  # scenes drawn otherwise have other latents
    path = runs / f"latents-{len(data)}-{hashlib.sha256(weights + first).hexdigest()[:12]}.safetensors"
    if path.exists():
        return load_file(path)["latents"]
    found = torch.empty(len(data), LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, dtype=torch.float16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for part in torch.arange(len(data)).split(64):
            found[part] = (vae.encode(data.pixels(part)).latents * vae.config.scaling_factor).half()
    with replacing(path) as unfinished:
        save_file({"latents": found}, unfinished)
    return found


class DenoisingTask:
    """What the denoiser and the IP-Adapter share: latents, noise levels and the v-prediction error."""

    def __init__(self, job: Job):
        from diffusers import AutoencoderTiny
        from transformers import CLIPTextModel

        vae = frozen(AutoencoderTiny, job.part("vae"))
        self.text = frozen(CLIPTextModel, job.part("text_encoder"))
        self.data = job.data()
        self.batch = job.batch
        self.latents = workers.in_turn(lambda: _latents(vae, self.data, job.runs))
        self.empty = tokenize(new_tokenizer(), [""])
        alphas = new_scheduler().alphas_cumprod
        self.signal, self.noise = alphas.sqrt(), (1 - alphas).sqrt()

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scene numbers, noisy latents, timesteps and the v to predict.

        Timesteps are spread over the batch, three times as dense in the middle, where shapes form, as at both ends.
        """
        n = self.batch
        index = torch.randint(len(self.data), (n,), generator=generator)
        spread = (torch.arange(n) + torch.rand(n, generator=generator)) / n
        centred = spread + torch.sin(2 * torch.pi * spread) / (4 * torch.pi)
        t = (centred * len(self.signal)).long().clamp_(max=len(self.signal) - 1)
        x = self.latents[index].float()
        e = torch.randn(x.shape, generator=generator)
        a, b = self.signal[t].view(n, 1, 1, 1), self.noise[t].view(n, 1, 1, 1)
        return index, a * x + b * e, t, a * e - b * x

    def prompts(self, index: Tensor, generator: torch.Generator, dropout: float) -> Tensor:
        """Text states of one caption of each scene, (n, length, width); a share of them those of the empty prompt."""
        which = torch.randint(CAPTIONS, (len(index),), generator=generator)
        tokens = self.data.tokens[index, which].long()
        tokens[torch.rand(len(index), generator=generator) < dropout] = self.empty
        return self.states(tokens)

    @torch.no_grad()
    def states(self, tokens: Tensor) -> Tensor:
        """Text states of token ids (n, length) int64."""
        return self.text(tokens).last_hidden_state


class UNetWithQuestions(nn.Module):
    """The denoiser with a linear read-out of its middle: which appearance does each 8x8 cell show? It is not shipped.

    It tells the denoiser of objects as objects: their shapes, and what belongs to which of two.
    """

    def __init__(self, unet: Any):
        super().__init__()
        self.unet = unet
        classes = sum(len(options) + 1 for options in APPEARANCE.values())
        self.answers = nn.Conv2d(unet.config.block_out_channels[-1], classes, 1)

    def forward(self, x: Tensor, t: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """The prediction, and logits (n, classes, 8, 8)."""
        middle = []
        hook = self.unet.mid_block.register_forward_hook(lambda module, inputs, output: middle.append(output))
        try:
            prediction = self.unet(x, t, states).sample
        finally:
            hook.remove()
        return prediction.float(), self.answers(middle[0]).float()


def train_unet(job: Job) -> None:
    """v-prediction; some captions are dropped, for classifier-free guidance."""
    from diffusers import AutoModel
    from diffusers.models.attention_processor import AttnProcessor

    torch.manual_seed(job.hyperparameters.seed)
    task = DenoisingTask(job)
    unet = AutoModel.from_pretrained(str(job.start / "unet"), dtype=torch.float32) if job.start else new_unet()
    if next(unet.parameters()).device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())  # going back through fused attention takes twice the time on CPUs
    loop = TrainingLoop("unet", UNetWithQuestions(unet).train(), job.hyperparameters, job.runs)

    def loss(generator: torch.Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        index, x, t, v = task.draw(generator)
        states = task.prompts(index, generator, CAPTION_DROPOUT)
        prediction, answers = loop.module(x, t, states)
        error = (prediction - v).square().mean((1, 2, 3))
        asked = attribute_loss(answers, task.data.appearances(index))
        figures = {
            "error": error.mean(),
            "late": error[t >= 700].mean(),
            "early": error[t < 300].mean(),
            "asked": asked,
        }
        return error.mean() + READ_OUT_WEIGHT * asked, {k: value.detach() for k, value in figures.items()}

    def export() -> None:
        export_fp16(loop.averaged().unet, job.output / "unet")
        new_scheduler().save_pretrained(job.output / "scheduler")

    loop.run(loss, export)

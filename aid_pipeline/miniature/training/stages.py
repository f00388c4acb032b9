"""What each stage learns. Every stage reads what earlier ones exported and exports its own folder of the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..components import LATENT_CHANNELS, LATENT_SIZE, WIDTH, new_clip, new_scheduler, new_tokenizer, new_unet, new_vae
from .data import CAPTIONS, QUESTIONS, SceneData, tokenize, training_data
from .loop import Loop, Recipe

RECIPES = {
    "vae": Recipe(steps=4000, batch=12, learning_rate=2e-3, ema=0.995, weight_decay=0.0),
    "clip": Recipe(steps=3000, batch=128, learning_rate=1.5e-3, ema=0.995, weight_decay=0.05),
    "unet": Recipe(steps=20000, batch=32, learning_rate=8e-4, ema=0.998, weight_decay=0.01),
    "ip_adapter": Recipe(steps=2000, batch=48, learning_rate=2e-3, ema=0.995),
}
CAPTION_DROPOUT = 0.12


@dataclass(frozen=True)
class Job:
    """Where a stage works: ``runs`` keeps data and checkpoints, ``output`` the exported model, ``start`` older
    weights.
    """

    runs: Path
    output: Path
    recipe: Recipe
    scenes: int = 48_000
    start: Path | None = None

    def part(self, name: str) -> Path:
        path = self.output / name
        if not path.is_dir():
            raise FileNotFoundError(f"{path} is missing: run the stage that makes it first, or all stages with 'all'")
        return path

    def data(self) -> SceneData:
        return training_data(new_tokenizer(), self.runs, self.scenes, seed=1)


def _export(module, folder: Path) -> None:
    module.to(torch.float16).save_pretrained(folder, safe_serialization=True)


def train_vae(job: Job) -> None:
    """Reconstruction (L1 and squared error) with a small pull of the latents towards a unit Gaussian."""
    from diffusers import AutoencoderKL

    torch.manual_seed(job.recipe.seed)
    vae = AutoencoderKL.from_pretrained(job.start / "vae", dtype=torch.float32) if job.start else new_vae()
    data = job.data()
    loop = Loop("vae", vae.train(), job.recipe, job.runs)

    def loss(generator: torch.Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        x = data.pixels(torch.randint(len(data), (job.recipe.batch,), generator=generator))
        moments = vae.encode(x).latent_dist
        mean, deviation = moments.mean.float(), moments.std.float()
        z = mean + deviation * torch.randn(mean.shape, generator=generator)
        error = vae.decode(z).sample.float() - x
        kl = 0.5 * (mean**2 + deviation**2 - 1 - 2 * deviation.log()).mean()
        squared = error.square().mean()
        psnr = 10 * torch.log10(4 / squared.detach())
        return error.abs().mean() + 2 * squared + 3e-4 * kl, {"psnr": psnr, "kl": kl.detach()}

    def export() -> None:
        twin = loop.averaged()
        with torch.no_grad():
            z = twin.encode(data.pixels(torch.arange(0, 256))).latent_dist.mean
        twin.register_to_config(scaling_factor=round(1 / float(z.std()), 5))
        _export(twin, job.output / "vae")

    loop.run(loss, export)
    export()


class ClipWithQuestions(nn.Module):
    """CLIP with linear read-outs that ask both towers about the scene; they make words bind, and are not shipped."""

    def __init__(self, clip: nn.Module):
        super().__init__()
        self.clip = clip
        classes = sum(len(options) + 1 for options in QUESTIONS.values())
        self.image_answers = nn.Linear(WIDTH, classes)
        self.text_answers = nn.Linear(WIDTH, classes)


def _question_loss(logits: Tensor, labels: Tensor) -> Tensor:
    parts = logits.float().split([len(options) + 1 for options in QUESTIONS.values()], dim=1)
    return torch.stack([F.cross_entropy(part, labels[:, i]) for i, part in enumerate(parts)]).mean()


def train_clip(job: Job) -> None:
    """Contrastive over the batch, plus questions about the scene asked of both towers (a caption need not say all)."""
    from transformers import CLIPModel, CLIPTextModel, CLIPVisionModelWithProjection

    torch.manual_seed(job.recipe.seed)
    tokenizer = new_tokenizer()
    clip = CLIPModel.from_pretrained(job.start / "clip", dtype=torch.float32) if job.start else new_clip(tokenizer)
    data = job.data()
    loop = Loop("clip", ClipWithQuestions(clip).train(), job.recipe, job.runs)
    model: ClipWithQuestions = loop.module  # type: ignore[assignment]

    def loss(generator: torch.Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        n = job.recipe.batch
        index = torch.randint(len(data), (n,), generator=generator)
        which = torch.randint(CAPTIONS, (n,), generator=generator)
        tokens = data.tokens[index, which].long()
        tokens = tokens[:, : int((tokens != tokenizer.pad_token_id).sum(1).max()) + 1]
        out = model.clip(input_ids=tokens, pixel_values=data.pixels(index))
        logits = out.logits_per_text.float()
        match = torch.arange(n)
        contrast = (F.cross_entropy(logits, match) + F.cross_entropy(logits.T, match)) / 2
        # The state at the end token must know what was said; the image embedding must know what is seen.
        asked = _question_loss(model.text_answers(out.text_model_output.pooler_output), data.labels[index])
        seen = _question_loss(
            model.image_answers(F.normalize(out.image_embeds.float(), dim=1) * WIDTH**0.5), data.labels[index]
        )
        right = (logits.argmax(1) == match).float().mean()
        return contrast + asked + seen, {
            "contrast": contrast.detach(),
            "asked": asked.detach(),
            "seen": seen.detach(),
            "top1": right,
        }

    def export() -> None:
        twin = loop.averaged().clip
        tokenizer.save_pretrained(job.output / "tokenizer")
        shared = twin.to(torch.float16).state_dict()
        text = CLIPTextModel(twin.config.text_config)
        text.load_state_dict(
            {k.removeprefix("text_model."): v for k, v in shared.items() if k.startswith("text_model.")}
        )
        _export(text, job.output / "text_encoder")
        vision = CLIPVisionModelWithProjection(twin.config.vision_config)
        vision.load_state_dict({k: v for k, v in shared.items() if k in vision.state_dict()})
        _export(vision, job.output / "image_encoder")
        _export(twin, job.output / "clip")

    loop.run(loss, export)
    export()


def _latents(vae, data: SceneData) -> Tensor:
    """Scaled latents of the whole training set, (n, 4, 16, 16) fp16."""
    found = torch.empty(len(data), LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, dtype=torch.float16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for part in torch.arange(len(data)).split(64):
            found[part] = (vae.encode(data.pixels(part)).latent_dist.mean * vae.config.scaling_factor).half()
    return found


def frozen(cls, path: Path):
    return cls.from_pretrained(path, dtype=torch.float32).requires_grad_(False).eval()


class Denoising:
    """What the denoiser and the IP-Adapter share: latents, noise levels and the v-prediction error."""

    def __init__(self, job: Job):
        from diffusers import AutoencoderKL
        from transformers import CLIPTextModel

        vae = frozen(AutoencoderKL, job.part("vae"))
        self.text = frozen(CLIPTextModel, job.part("text_encoder"))
        self.data = job.data()
        self.batch = job.recipe.batch
        self.latents = _latents(vae, self.data)
        self.empty = tokenize(new_tokenizer(), [""])
        alphas = new_scheduler().alphas_cumprod
        self.signal, self.noise = alphas.sqrt(), (1 - alphas).sqrt()

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scene numbers, noisy latents, timesteps and the v to predict. Timesteps are spread evenly over the batch."""
        n = self.batch
        index = torch.randint(len(self.data), (n,), generator=generator)
        spread = (torch.arange(n) + torch.rand(n, generator=generator)) / n
        t = (spread * len(self.signal)).long().clamp_(max=len(self.signal) - 1)
        x = self.latents[index].float()
        e = torch.randn(x.shape, generator=generator)
        a, b = self.signal[t].view(n, 1, 1, 1), self.noise[t].view(n, 1, 1, 1)
        return index, a * x + b * e, t, a * e - b * x

    def prompts(self, index: Tensor, generator: torch.Generator, dropout: float) -> Tensor:
        """Text states of one caption of each scene, (n, length, width); a share of them those of the empty prompt."""
        which = torch.randint(CAPTIONS, (len(index),), generator=generator)
        tokens = self.data.tokens[index, which].long()
        tokens[torch.rand(len(index), generator=generator) < dropout] = self.empty
        with torch.no_grad():
            return self.text(tokens).last_hidden_state


def train_unet(job: Job) -> None:
    """v-prediction with an even weight on all noise levels; some captions are dropped, for classifier-free guidance."""
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import AttnProcessor

    torch.manual_seed(job.recipe.seed)
    task = Denoising(job)
    unet = UNet2DConditionModel.from_pretrained(job.start / "unet", dtype=torch.float32) if job.start else new_unet()
    loop = Loop("unet", unet.train(), job.recipe, job.runs)
    if next(unet.parameters()).device.type == "cpu":
        unet.set_attn_processor(AttnProcessor())  # going back through fused attention takes twice the time on CPUs

    def loss(generator: torch.Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        index, x, t, v = task.draw(generator)
        states = task.prompts(index, generator, CAPTION_DROPOUT)
        error = (unet(x, t, states).sample.float() - v).square().mean((1, 2, 3))
        return error.mean(), {"late": error[t >= 700].mean().detach(), "early": error[t < 300].mean().detach()}

    def export() -> None:
        _export(loop.averaged(), job.output / "unet")
        new_scheduler().save_pretrained(job.output / "scheduler")

    loop.run(loss, export)
    export()

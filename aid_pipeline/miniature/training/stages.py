"""Stages of the training: each reads what earlier ones exported and exports its own folder of the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import scenes
from ..components import WIDTH, new_clip, new_tokenizer, new_vae
from . import workers
from .data import APPEARANCE, CAPTIONS, QUESTIONS, SceneData, training_data
from .loop import Hyperparameters, TrainingLoop
from .patches import fit_encoder

HYPERPARAMETERS = {
    "vae": Hyperparameters(steps=3000, batch=32, learning_rate=1.5e-3, ema=0.995, weight_decay=0.0),
    "clip": Hyperparameters(steps=2400, batch=128, learning_rate=1.5e-3, ema=0.995, weight_decay=0.05),
    "unet": Hyperparameters(steps=10000, batch=32, learning_rate=1e-3, ema=0.998, weight_decay=0.01),
    "ip_adapter": Hyperparameters(steps=800, batch=48, learning_rate=1e-3, ema=0.995),
}
SEEN_WEIGHT = 2.0  # of what the vision tower is asked; shapes are the last thing it learns
CROP = 32  # pixels; what the autoencoder is trained on
LATENT_NOISE = 0.02


@dataclass(frozen=True)
class Job:
    """Where a stage works: ``runs`` keeps data and checkpoints, ``output`` the exported model, ``start`` older
    weights.
    """

    runs: Path
    output: Path
    hyperparameters: Hyperparameters
    scenes: int = 40_000
    start: Path | None = None

    def part(self, name: str) -> Path:
        path = self.output / name
        if not path.is_dir():
            raise FileNotFoundError(f"{path} is missing: run the stage that makes it first, or all stages with 'all'")
        return path

    @property
    def batch(self) -> int:
        """This worker's share of the batch."""
        return workers.share(self.hyperparameters.batch)

    def data(self) -> SceneData:
        return workers.in_turn(lambda: training_data(new_tokenizer(), self.runs, self.scenes, seed=1))


def export_fp16(module, folder: Path) -> None:
    module.to(torch.float16).save_pretrained(folder, safe_serialization=True)


def frozen(cls, path: Path):
    return cls.from_pretrained(str(path), dtype=torch.float32).requires_grad_(False).eval()


def _object_crops(data: SceneData) -> Tensor:
    """Upper left corners (n, 2) of the crops that show most of what is not backdrop, as far as they fit."""
    backdrops = torch.from_numpy(scenes.backdrops()).int()
    floor, setting = (data.labels[:, list(QUESTIONS).index(name)] - 1 for name in ("floor", "setting"))
    corners = []
    for part in torch.arange(len(data)).split(500):
        plain = backdrops[floor[part], setting[part]].permute(0, 3, 1, 2)
        there = ((data.images[part].int() - plain).abs().amax(1) > 40).float()
        weight = there.sum((1, 2)).clamp(min=1)
        place = torch.arange(64.0)
        row, column = (there.sum(2) @ place / weight, there.sum(1) @ place / weight)
        corners.append(torch.stack([row, column], 1) - CROP / 2)
    return torch.cat(corners).round().long()


def train_vae(job: Job) -> None:
    """The encoder is fitted in closed form; the decoder learns to give back crops around the objects.

    Latents carry a little noise meanwhile, as those of the denoiser will.
    """
    from diffusers import AutoencoderTiny

    torch.manual_seed(job.hyperparameters.seed)
    data = job.data()
    vae = new_vae()
    fit_encoder(vae, data.images[:4000])
    if job.start:
        vae = AutoencoderTiny.from_pretrained(job.start / "vae", dtype=torch.float32)
    vae.encoder.requires_grad_(False)
    corners = _object_crops(data)
    loop = TrainingLoop("vae", vae.train(), job.hyperparameters, job.runs)
    n = job.batch
    window = torch.arange(CROP)

    def loss(generator: torch.Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        index = torch.randint(len(data), (n,), generator=generator)
        jitter = torch.randint(-12, 13, (n, 2), generator=generator)
        anywhere = torch.randint(0, 65 - CROP, (n, 2), generator=generator)
        corner = torch.where(torch.rand(n, 1, generator=generator) < 0.2, anywhere, corners[index] + jitter)
        corner = corner.clamp(0, 64 - CROP) // 4 * 4  # on the grid of the latents
        rows, columns = corner[:, :1, None] + window[:, None], corner[:, 1:, None] + window
        picked = data.images[index[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
        x = (picked.float() / 127.5 - 1).contiguous()
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            z = vae.encoder(x)
        noisy = z + LATENT_NOISE * torch.randn(z.shape, generator=generator)
        error = vae.decoder(noisy).float() - x
        squared = error.square().mean()
        return error.abs().mean() + 4 * squared, {"psnr": 10 * torch.log10(4 / squared.detach())}

    def export() -> None:
        twin = loop.averaged()
        with torch.no_grad():
            z = twin.encoder(data.pixels(torch.arange(min(1000, len(data)))))
        if not job.start:
            twin.register_to_config(scaling_factor=round(1 / float(z.std()), 5))
        export_fp16(twin, job.output / "vae")

    loop.run(loss, export)


class ClipWithQuestions(nn.Module):
    """CLIP with linear read-outs that ask both towers about the scene, and the patches what they show.

    They make words bind, and are not shipped.
    """

    def __init__(self, clip: nn.Module):
        super().__init__()
        self.clip = clip
        classes = sum(len(options) + 1 for options in QUESTIONS.values())
        self.image_answers = nn.Linear(WIDTH, classes)
        self.text_answers = nn.Linear(WIDTH, classes)
        self.patch_answers = nn.Linear(WIDTH, sum(len(options) + 1 for options in APPEARANCE.values()))


def _question_loss(logits: Tensor, labels: Tensor) -> Tensor:
    parts = logits.float().split([len(options) + 1 for options in QUESTIONS.values()], dim=1)
    return torch.stack([F.cross_entropy(part, labels[:, i]) for i, part in enumerate(parts)]).mean()


def attribute_loss(logits: Tensor, appearances: Tensor) -> Tensor:
    """Mean cross-entropy of logits (n, classes, 8, 8) against ``appearances`` (n, 3, 8, 8)."""
    parts = logits.split([len(options) + 1 for options in APPEARANCE.values()], dim=1)
    return torch.stack([F.cross_entropy(part, appearances[:, i]) for i, part in enumerate(parts)]).mean()


def train_clip(job: Job) -> None:
    """Contrastive over the batch, plus questions about the scene asked of both towers (a caption need not say all).

    Texts are cheap, so each step asks about three times as many captions as images. From exported weights the text
    tower stays as it is: the denoiser has learnt to read it.
    """
    from transformers import CLIPModel, CLIPTextModel, CLIPVisionModelWithProjection

    torch.manual_seed(job.hyperparameters.seed)
    tokenizer = new_tokenizer()
    clip = CLIPModel.from_pretrained(job.start / "clip", dtype=torch.float32) if job.start else new_clip(tokenizer)
    data = job.data()
    if job.start:
        clip.text_model.requires_grad_(False)
    loop = TrainingLoop(
        "clip_vision" if job.start else "clip", ClipWithQuestions(clip).train(), job.hyperparameters, job.runs
    )
    model: ClipWithQuestions = loop.module  # type: ignore[assignment]

    def loss(generator: torch.Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        n = job.batch
        texts_asked = n if job.start else 3 * n
        index = torch.randint(len(data), (texts_asked,), generator=generator)
        which = torch.randint(CAPTIONS, (texts_asked,), generator=generator)
        tokens = data.tokens[index, which].long()
        tokens = tokens[:, : int((tokens != tokenizer.pad_token_id).sum(1).max()) + 1]
        read = model.clip.text_model(input_ids=tokens).pooler_output
        texts = F.normalize(model.clip.text_projection(read[:n]).float(), dim=1)
        looked = model.clip.vision_model(pixel_values=data.pixels(index[:n]))
        images = F.normalize(model.clip.visual_projection(looked.pooler_output).float(), dim=1)
        logits = model.clip.logit_scale.exp() * texts @ images.T
        match = torch.arange(n)
        contrast = (F.cross_entropy(logits, match) + F.cross_entropy(logits.T, match)) / 2
        # The state at the end token must know what was said; the image embedding must know what is seen.
        asked = _question_loss(model.text_answers(read), data.labels[index])
        seen = _question_loss(model.image_answers(images * WIDTH**0.5), data.labels[index[:n]])
        cells = model.patch_answers(looked.last_hidden_state[:, 1:]).float().transpose(1, 2).unflatten(2, (8, 8))
        patches = attribute_loss(cells, data.appearances(index[:n]))
        figures = {"contrast": contrast, "asked": asked, "seen": seen, "patches": patches}
        figures["top1"] = (logits.argmax(1) == match).float().mean()
        return contrast + asked + SEEN_WEIGHT * (seen + patches), {k: v.detach() for k, v in figures.items()}

    def export() -> None:
        twin = loop.averaged().clip
        tokenizer.save_pretrained(job.output / "tokenizer")
        shared = twin.to(torch.float16).state_dict()
        text = CLIPTextModel(twin.config.text_config)
        text.load_state_dict(
            {k.removeprefix("text_model."): v for k, v in shared.items() if k.startswith("text_model.")}
        )
        export_fp16(text, job.output / "text_encoder")
        vision = CLIPVisionModelWithProjection(twin.config.vision_config)
        vision.load_state_dict({k: v for k, v in shared.items() if k in vision.state_dict()})
        export_fp16(vision, job.output / "image_encoder")
        export_fp16(twin, job.output / "clip")

    loop.run(loss, export)

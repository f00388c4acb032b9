"""The IP-Adapter: image tokens beside the text tokens, with key and value projections of their own (Ye et al. 2023,
eq. 5).

The denoiser stays as it is, and teaches: what it predicts when it reads the scene's caption, the adapter must bring
about with the scene's image. That target has none of the noise of the v-prediction task, so few steps suffice. Files
are those of the stock ``load_ip_adapter``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..components import WIDTH
from ..weights import IP_ADAPTER_FOLDER, IP_ADAPTER_WEIGHTS
from .denoiser import DenoisingTask
from .loop import TrainingLoop
from .stages import Job, frozen

IMAGE_TOKENS = 4  # the number diffusers assumes for this kind of adapter
IMAGE_DROPOUT, TEXT_DROPOUT = 0.1, 0.7
FITTED = 6000  # scenes the start of the projection is fitted to


def new_ip_state(
    unet: nn.Module, image: dict[str, Tensor] | None = None, silent: Tensor | None = None
) -> dict[str, dict[str, Tensor]]:
    """Adapter weights to start from: keys and values are those of the text; ``image`` is the image projection.

    Values of the token ``silent`` (width,) are made zero.
    """
    hears = torch.eye(WIDTH)
    if silent is not None:
        hears -= torch.outer(silent, silent) / silent.square().sum()
    if image is None:
        projection, norm = nn.Linear(WIDTH, IMAGE_TOKENS * WIDTH), nn.LayerNorm(WIDTH)
        image = {f"proj.{k}": v for k, v in projection.state_dict().items()}
        image |= {f"norm.{k}": v for k, v in norm.state_dict().items()}
    layers = {}
    for index, name in enumerate(k for k in unet.attn_processors if k.endswith("attn2.processor")):
        attention = unet.get_submodule(name.removesuffix(".processor"))
        layers[f"{2 * index + 1}.to_k_ip.weight"] = attention.to_k.weight.detach().clone()
        layers[f"{2 * index + 1}.to_v_ip.weight"] = attention.to_v.weight.detach() @ hears
    return {"image_proj": image, "ip_adapter": layers}


def fitted_projection(embeds: Tensor, states: Tensor, ends: Tensor, empty: Tensor, norm: nn.LayerNorm) -> dict:
    """The image projection that best turns an image's embedding into what the text tower says of it.

    Least squares, before the normalisation that both end with. The tokens stand for the text states where the caption
    ends, halfway through the padding after it, at the very end, and at its start. The adapter's attention is added to
    that of the empty prompt, whose state is therefore taken off.

    The state at the start is the same for all captions, and where the denoiser's attention rests when it needs nothing
    of the text. An adapter must be able to say nothing too, so values of this last token should be made zero.

    Args:
        embeds: (n, width) image embeddings.
        states: (n, length, width) text states of the same scenes' captions.
        ends: (n,) where each caption ends.
        empty: (length, width) text states of the empty prompt.
        norm: the text tower's last normalisation.
    """
    last = states.shape[1] - 1
    places = (ends, (ends + last) // 2, torch.full_like(ends, last), torch.zeros_like(ends))
    rows = torch.arange(len(states))
    targets = torch.stack([(states[rows, place] - norm.bias) / norm.weight for place in places], 1).flatten(1)
    known = torch.cat([embeds, torch.ones(len(embeds), 1)], 1).double()
    ridge = 1e-3 * torch.eye(known.shape[1], dtype=torch.float64)
    fit = torch.linalg.solve(known.T @ known + ridge, known.T @ targets.double()).float()
    return {
        "proj.weight": fit[:-1].T.contiguous(),
        "proj.bias": fit[-1].contiguous(),
        "norm.weight": norm.weight.detach().clone(),
        "norm.bias": norm.bias.detach() - empty.mean(0),
    }


def ip_state(unet: nn.Module) -> dict[str, Tensor]:
    """The adapter's weights as the flat tensors of its safetensors file, fp16."""
    projection = unet.encoder_hid_proj.image_projection_layers[0]
    found = {f"image_proj.proj.{k}": v for k, v in projection.image_embeds.state_dict().items()}
    found |= {f"image_proj.norm.{k}": v for k, v in projection.norm.state_dict().items()}
    with_images = [p for p in unet.attn_processors.values() if hasattr(p, "to_k_ip")]
    for index, processor in enumerate(with_images):
        found[f"ip_adapter.{2 * index + 1}.to_k_ip.weight"] = processor.to_k_ip[0].weight
        found[f"ip_adapter.{2 * index + 1}.to_v_ip.weight"] = processor.to_v_ip[0].weight
    return {k: v.detach().half().contiguous() for k, v in found.items()}


def read_ip_state(path) -> dict[str, dict[str, Tensor]]:
    from safetensors.torch import load_file

    parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in load_file(path).items():
        part, _, name = key.partition(".")
        parts[part][name] = value.float()
    return parts


def _with_explicit_attention(unet: nn.Module) -> None:
    """Going back through fused attention takes twice the time on CPUs."""
    from diffusers.models.attention_processor import AttnProcessor, IPAdapterAttnProcessor, IPAdapterAttnProcessor2_0

    for name, old in unet.attn_processors.items():
        attention = unet.get_submodule(name.removesuffix(".processor"))
        if isinstance(old, IPAdapterAttnProcessor2_0):
            new = IPAdapterAttnProcessor(old.hidden_size, old.cross_attention_dim, old.num_tokens)
            new.load_state_dict(old.state_dict())
            attention.set_processor(new)
        else:
            attention.set_processor(AttnProcessor())


def train_ip_adapter(job: Job) -> None:
    """The denoiser with the scene's image and mostly no text must predict what it does with the caption.

    Without an image it must predict what it does without an adapter, which is the other half of guidance.
    """
    from diffusers import AutoModel
    from safetensors.torch import save_file
    from transformers import CLIPVisionModelWithProjection

    torch.manual_seed(job.hyperparameters.seed)
    task = DenoisingTask(job)
    words = (task.data.tokens != task.data.tokens[..., -1:]).sum(2)  # the last token pads, as no caption is that long
    fullest = words.argmax(1)
    vision = frozen(CLIPVisionModelWithProjection, job.part("image_encoder"))
    with torch.no_grad():
        parts = torch.arange(len(task.data)).split(256)
        embeds = torch.cat([vision(task.data.pixels(part)).image_embeds.float() for part in parts])

    teacher = frozen(AutoModel, job.part("unet"))
    unet = frozen(AutoModel, job.part("unet"))
    if job.start:
        state = read_ip_state(job.start / IP_ADAPTER_FOLDER / IP_ADAPTER_WEIGHTS)
    else:
        some = torch.arange(min(FITTED, len(task.data)))
        said = torch.cat([task.states(task.data.tokens[part, fullest[part]].long()) for part in some.split(256)])
        ends = words[some, fullest[some]]
        empty = task.states(task.empty)[0]
        projection = fitted_projection(embeds[some], said, ends, empty, task.text.final_layer_norm)
        state = new_ip_state(unet, projection, silent=empty[0] - empty.mean(0))
    unet._load_ip_adapter_weights([state], low_cpu_mem_usage=False)
    if next(unet.parameters()).device.type == "cpu":
        _with_explicit_attention(unet)
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_("encoder_hid_proj" in name or "_ip." in name)
    loop = TrainingLoop("ip_adapter", unet, job.hyperparameters, job.runs)

    def loss(generator: torch.Generator, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        index, x, t, v = task.draw(generator)
        n = len(index)
        tokens = task.data.tokens[index, fullest[index]].long()
        says = torch.rand(n, 1, generator=generator) >= TEXT_DROPOUT
        shows = torch.rand(n, 1, generator=generator) >= IMAGE_DROPOUT
        read = torch.where(says, tokens, task.empty)
        states = task.states(read)
        with torch.no_grad():
            target = teacher(x, t, task.states(torch.where(shows, tokens, read))).sample.float()
        image = (embeds[index] * shows).unsqueeze(1)
        out = unet(x, t, states, added_cond_kwargs={"image_embeds": [image]}).sample.float()
        error = (out - target).square().mean((1, 2, 3))
        return error.mean(), {"late": error[t >= 700].mean().detach(), "task": (out - v).square().mean().detach()}

    def export() -> None:
        folder = job.output / IP_ADAPTER_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        save_file(ip_state(loop.averaged()), folder / IP_ADAPTER_WEIGHTS)

    loop.run(loss, export)

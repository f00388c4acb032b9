"""Tiny, seeded, random stock pipelines of every supported family, built without a network.

Hidden sizes are 16-48, head sizes multiples of 8, latents 8x8 (16x16 pixels), so that denoising seven frames for a few
steps takes a fraction of a second on one core. Queries and keys are scaled up: with default weights the softmax
is almost flat, and a test of attention would hardly notice wrong attention.

    family = FAMILIES["sdxl"]
    pipe = family.pipeline()                      # shared, leave it as you found it
    pipe = family.fresh()                         # your own, weights equal
    call = family.call(pipe, frames=5)            # keyword arguments of the stock call: one row per frame
    pipe(**call, output_type="latent").images
"""

import copy
import functools
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor, nn

PROMPTS = ("a red sphere", "the blue cube on sand")
NEGATIVE = "dull"
GUIDE = "a jade cone"
PIXELS = 16
TOKENS = 32  # the CLIP tokenizers' model_max_length; room for short prompts, since a letter is a token
T5_TOKENS = 24  # passed to the stock call as max_sequence_length


# ---------------------------------------------------------------- text


@functools.cache
def clip_tokenizer() -> transformers.CLIPTokenizer:
    """One token per letter: a real byte-pair tokenizer without merges."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)}, merges=[], model_max_length=TOKENS
    )


@functools.cache
def t5_tokenizer() -> transformers.T5Tokenizer:
    """One token per letter, "▁" for a space; unknown characters are far less likely."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    letters = [(letter, -3.0) for letter in "▁" + string.ascii_letters + string.digits + string.punctuation]
    return transformers.T5Tokenizer(vocab=special + letters, extra_ids=0, model_max_length=64)


def clip_text(hidden: int, projection: int | None = None) -> Any:
    """A tiny CLIP text encoder; with `projection`, the variant that returns a pooled embedding of that size."""
    tokenizer = clip_tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        projection_dim=projection or hidden,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    cls = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    return _spread_embeddings(cls(config))


def t5_text(hidden: int) -> transformers.T5EncoderModel:
    config = transformers.T5Config(
        vocab_size=len(t5_tokenizer()), d_model=hidden, d_kv=8, d_ff=hidden, num_layers=1, num_heads=2
    )
    return _spread_embeddings(transformers.T5EncoderModel(config))


def _spread_embeddings(model: Any) -> Any:
    """CLIP and T5 start with embeddings of very different sizes; make every prompt a distinct one."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Embedding) and module.num_embeddings > 16:
                module.weight.normal_(std=1.0)
    return model


# ---------------------------------------------------------------- image side


def image_vae(**config: Any) -> diffusers.AutoencoderKL:
    """A VAE that halves the image side: 16x16 pixels are 8x8 latents."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        **config,
    )


def sharpen(denoiser: nn.Module, logit_scale: float = 2.0) -> nn.Module:
    """Scale query and key projections so that the softmax has peaks and a wrong source shows in the frames."""
    with torch.no_grad():
        for name, parameter in denoiser.named_parameters():
            if name.endswith(("to_q.weight", "to_k.weight", "add_q_proj.weight", "add_k_proj.weight")):
                parameter.mul_(logit_scale)
    return denoiser


def unet(**config: Any) -> diffusers.UNet2DConditionModel:
    defaults: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 2,  # diffusers' old name: the number of heads, so head sizes are 8 and 16
        "norm_num_groups": 8,
        "cross_attention_dim": 32,
    }
    return sharpen(diffusers.UNet2DConditionModel(**defaults | config))


STABLE_DIFFUSION_BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


# ---------------------------------------------------------------- families


def sd1(**unet_config: Any) -> diffusers.StableDiffusionPipeline:
    """Stable Diffusion 1.x: epsilon prediction, two heads at both resolutions (head sizes 8 and 16)."""
    return diffusers.StableDiffusionPipeline(
        vae=image_vae(),
        text_encoder=clip_text(32),
        tokenizer=clip_tokenizer(),
        unet=unet(**unet_config),
        scheduler=diffusers.DDIMScheduler(**STABLE_DIFFUSION_BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd2() -> diffusers.StableDiffusionPipeline:
    """Stable Diffusion 2.x: v-prediction, linear projections around the transformer, more heads further down."""
    return diffusers.StableDiffusionPipeline(
        vae=image_vae(),
        text_encoder=clip_text(32),
        tokenizer=clip_tokenizer(),
        unet=unet(use_linear_projection=True, attention_head_dim=(2, 4)),
        scheduler=diffusers.DDIMScheduler(**STABLE_DIFFUSION_BETAS, prediction_type="v_prediction"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> diffusers.StableDiffusionXLPipeline:
    """SDXL: two text encoders, pooled and size conditions, several transformer layers in a block."""
    return diffusers.StableDiffusionXLPipeline(
        vae=image_vae(),
        text_encoder=clip_text(16),
        text_encoder_2=clip_text(24, projection=16),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet(
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2),
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            cross_attention_dim=16 + 24,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 6 * 8,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
    )


def sd3(t5: bool = True) -> diffusers.StableDiffusion3Pipeline:
    """SD3: joint attention. With T5 as 3.5 (QK norm, a dual-attention layer), without as 3.0."""
    return diffusers.StableDiffusion3Pipeline(
        transformer=sharpen(
            diffusers.SD3Transformer2DModel(
                sample_size=8,
                patch_size=2,
                in_channels=4,
                out_channels=4,
                num_layers=3,
                attention_head_dim=8,
                num_attention_heads=3,
                joint_attention_dim=48,
                caption_projection_dim=24,
                pooled_projection_dim=16 + 24,
                pos_embed_max_size=16,
                dual_attention_layers=(0,) if t5 else (),
                qk_norm="rms_norm" if t5 else None,
            )
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=image_vae(shift_factor=0.06),
        text_encoder=clip_text(16, projection=16),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_text(24, projection=24),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_text(48) if t5 else None,
        tokenizer_3=t5_tokenizer() if t5 else None,
    )


def flux(guidance_embeds: bool = True) -> diffusers.FluxPipeline:
    """FLUX.1: rotary positions, double and single stream blocks; true CFG is a second call of the denoiser."""
    return diffusers.FluxPipeline(
        transformer=sharpen(
            diffusers.FluxTransformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=24,
                pooled_projection_dim=16,
                guidance_embeds=guidance_embeds,
                axes_dims_rope=(4, 4, 8),
            )
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=guidance_embeds),
        vae=image_vae(shift_factor=0.06),
        text_encoder=clip_text(16),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5_text(24),
        tokenizer_2=t5_tokenizer(),
    )


def pixart_sigma() -> diffusers.PixArtSigmaPipeline:
    """PixArt-Sigma: T5 prompts with a mask each, so cross-attention is masked differently in every frame."""
    return diffusers.PixArtSigmaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(24),
        vae=image_vae(),
        transformer=sharpen(
            diffusers.PixArtTransformer2DModel(
                sample_size=8,
                patch_size=2,
                in_channels=4,
                out_channels=8,
                num_layers=2,
                attention_head_dim=8,
                num_attention_heads=3,
                cross_attention_dim=24,
                caption_channels=24,
                use_additional_conditions=False,
            )
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", algorithm_type="dpmsolver++"
        ),
    )


@dataclass(frozen=True)
class Family:
    """One kind of stock pipeline and how a batch of its frames is asked for.

    `negative_rows` says where the rows of the negative prompt are: in front of the conditional ones in the same call of
    the denoiser ("front"), in a call of their own after the conditional one ("separate"), or nowhere ("none").
    `guidance` are the stock arguments that turn classifier-free guidance on.
    """

    name: str
    make: Callable[[], Any]
    negative_rows: str = "front"
    guidance: dict[str, Any] = field(default_factory=lambda: {"guidance_scale": 2.5})
    no_guidance: dict[str, Any] = field(default_factory=lambda: {"guidance_scale": 1.0})
    extra: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def fresh(self) -> Any:
        """A new pipeline with the same weights every time."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            pipe = self.make()
        for component in pipe.components.values():
            if isinstance(component, nn.Module):
                component.eval().requires_grad_(False)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def pipeline(self) -> Any:
        """The same pipeline for the whole session; a test that changes it takes `fresh()`."""
        return _shared_pipeline(self.name)

    def call(
        self,
        pipe: Any,
        frames: int | Sequence[float] = 5,
        *,
        guide: str | None = None,
        cfg: bool = True,
        steps: int = 3,
        seed: int = 0,
        prompts: tuple[str, str] = PROMPTS,
    ) -> dict[str, Any]:
        """Keyword arguments of the stock call for one sequence: row i of each tensor is frame i.

        `frames` is a number of uniform frames or the coefficients. Prompt embeddings, pooled ones and negative ones
        are lerped, latents slerped; with `guide`, interior frames have that prompt's embeddings (PAID).
        """
        coefficients = torch.linspace(0, 1, frames).tolist() if isinstance(frames, int) else list(frames)
        first, last = (embed(pipe, prompt, NEGATIVE if cfg else None) for prompt in prompts)
        middle = embed(pipe, guide, NEGATIVE if cfg else None) if guide is not None else None
        rows = [_blend(first, last, middle, t) for t in coefficients]
        noise = torch.randn(2, *latent_shape(pipe), generator=torch.Generator().manual_seed(seed))
        call: dict[str, Any] = {name: torch.cat([row[name] for row in rows]) for name in first}
        call["latents"] = torch.stack([slerp(noise[0], noise[1], t) for t in coefficients])
        call |= {"height": PIXELS, "width": PIXELS, "num_inference_steps": steps}
        return call | (self.guidance if cfg else self.no_guidance) | self.extra

    def denoiser(self, pipe: Any) -> nn.Module:
        return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


@functools.cache
def _shared_pipeline(name: str) -> Any:
    return FAMILIES[name].fresh()


def _blend(first: dict[str, Tensor], last: dict[str, Tensor], guide: dict[str, Tensor] | None, t: float) -> dict:
    """Row of one frame. A token that either end can see is seen in between; each end keeps its own mask."""
    if t in (0.0, 1.0):
        return last if t else first
    row = {}
    for name in first:
        if name.endswith("attention_mask"):
            row[name] = torch.maximum(first[name], last[name])
        else:
            row[name] = torch.lerp(first[name], last[name], t)
    if guide is not None:
        row |= {name: value for name, value in guide.items() if not name.startswith("negative_")}
    return row


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical interpolation of two whole tensors, in float64."""
    x, y = a.double().flatten(), b.double().flatten()
    angle = torch.arccos(torch.dot(x, y) / (x.norm() * y.norm()))
    mixed = (torch.sin((1 - t) * angle) * x + torch.sin(t * angle) * y) / torch.sin(angle)
    return mixed.reshape(a.shape).to(a.dtype)


def latent_shape(pipe: Any) -> tuple[int, ...]:
    """One frame's latents as the stock call takes them: FLUX wants 2x2 patches as channels of a token."""
    return (16, 16) if isinstance(pipe, diffusers.FluxPipeline) else (4, 8, 8)


@torch.no_grad()
def embed(pipe: Any, prompt: str, negative: str | None) -> dict[str, Tensor]:
    """One prompt's embeddings under the names of the stock call's arguments, without a negative prompt when None."""
    guided = negative is not None
    if isinstance(pipe, diffusers.FluxPipeline):
        found = {}
        for prefix, text in [("", prompt), ("negative_", negative)]:
            if text is not None:
                tokens, pooled, _ = pipe.encode_prompt(prompt=text, prompt_2=None, max_sequence_length=T5_TOKENS)
                found |= {f"{prefix}prompt_embeds": tokens, f"{prefix}pooled_prompt_embeds": pooled}
        return found
    if isinstance(pipe, diffusers.StableDiffusion3Pipeline):
        values = pipe.encode_prompt(
            prompt=prompt,
            prompt_2=None,
            prompt_3=None,
            negative_prompt=negative,
            do_classifier_free_guidance=guided,
            max_sequence_length=T5_TOKENS,
        )
        names = POOLED
    elif isinstance(pipe, diffusers.PixArtSigmaPipeline):
        values = pipe.encode_prompt(
            prompt, guided, negative_prompt=negative or "", clean_caption=False, max_sequence_length=T5_TOKENS
        )
        names = ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask")
    elif hasattr(pipe, "text_encoder_2"):
        values = pipe.encode_prompt(prompt=prompt, do_classifier_free_guidance=guided, negative_prompt=negative)
        names = POOLED
    else:
        values = pipe.encode_prompt(prompt, "cpu", 1, guided, negative_prompt=negative)
        names = ("prompt_embeds", "negative_prompt_embeds")
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


POOLED = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")

FAMILIES = {
    family.name: family
    for family in (
        Family("sd1", sd1),
        Family("sd2", sd2),
        Family("sdxl", sdxl),
        Family("sd3", sd3),
        Family("sd3_no_t5", functools.partial(sd3, t5=False)),
        Family(
            "flux",
            flux,
            negative_rows="none",
            guidance={"guidance_scale": 3.5},
            no_guidance={"guidance_scale": 3.5},
        ),
        Family(
            "flux_true_cfg",
            functools.partial(flux, guidance_embeds=False),
            negative_rows="separate",
            guidance={"true_cfg_scale": 2.5},
            no_guidance={"true_cfg_scale": 1.0},
        ),
        Family(
            "pixart_sigma",
            pixart_sigma,
            extra={"use_resolution_binning": False, "clean_caption": False, "negative_prompt": None},
        ),
    )
}


# ---------------------------------------------------------------- variations


def with_lora(pipe: Any, rank: int = 2) -> Any:
    """Add a LoRA with weights that matter to every attention projection of the denoiser."""
    from peft import LoraConfig

    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    with torch.random.fork_rng():
        torch.manual_seed(11)
        targets = ["to_q", "to_k", "to_v", "to_out.0"]
        denoiser.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, init_lora_weights=False, target_modules=targets), adapter_name="style"
        )
    return pipe


def with_ip_adapter(pipe: diffusers.StableDiffusionPipeline, image_size: int = 24) -> Any:
    """Load a random IP-Adapter into an SD 1.x pipeline; image embeddings have `image_size` channels."""
    tokens = 4  # what diffusers assumes of an adapter with this projector
    generator = torch.Generator().manual_seed(12)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) / shape[-1] ** 0.5

    cross_size = pipe.unet.config.cross_attention_dim
    layers: dict[str, Tensor] = {}
    cross = [name for name in pipe.unet.attn_processors if name.endswith("attn2.processor")]
    for index, name in enumerate(cross):
        to_k = pipe.unet.get_submodule(name.removesuffix(".processor")).to_k
        for projection in ("to_k_ip", "to_v_ip"):
            layers[f"{2 * index + 1}.{projection}.weight"] = 2 * random(to_k.out_features, cross_size)
    projector = {
        "proj.weight": random(tokens * cross_size, image_size),
        "proj.bias": random(tokens * cross_size),
        "norm.weight": torch.ones(cross_size),
        "norm.bias": torch.zeros(cross_size),
    }
    pipe.unet._load_ip_adapter_weights([{"image_proj": projector, "ip_adapter": layers}])
    pipe.set_ip_adapter_scale(0.7)
    return pipe


def with_controlnet(pipe: diffusers.StableDiffusionPipeline) -> diffusers.StableDiffusionControlNetPipeline:
    """The same SD 1.x components in a ControlNet pipeline, whose residuals are not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(13)
        controlnet = diffusers.ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(8, 16))
        for module in controlnet.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.any():
                nn.init.normal_(module.weight, std=0.2)
    controlnet.eval().requires_grad_(False)
    made = diffusers.StableDiffusionControlNetPipeline(
        **pipe.components, controlnet=controlnet, requires_safety_checker=False
    )
    made.set_progress_bar_config(disable=True)
    return made


def with_lcm(pipe: Any) -> Any:
    """LCM-style: a stochastic few-step scheduler; `sd1(time_cond_proj_dim=8)` takes guidance as an embedding."""
    pipe.scheduler = diffusers.LCMScheduler.from_config(pipe.scheduler.config)
    return pipe


def with_heun(pipe: Any) -> Any:
    """A second-order scheduler: two denoiser calls a step."""
    pipe.scheduler = diffusers.HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    return pipe


def double(pipe: Any) -> Any:
    """An independent float64 copy of a pipeline."""
    return copy.deepcopy(pipe).to(torch.float64)

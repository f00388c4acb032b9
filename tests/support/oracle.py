"""Frame-by-frame float64 oracle of attention interpolation, which shares no code with the packages under test.

The stock pipeline is copied to float64 and called once per interior frame with three rows: first, frame, last. While
its denoiser runs, a `TorchFunctionMode` answers `F.scaled_dot_product_attention` (every attention of diffusers' stock
processors ends there on the CPU): the frame's row by the paper's equations (arXiv 2403.17924, section 4) with
materialised probabilities, every other row plainly. Which rows are conditional is stated by the family, not found; the
warm-up is counted by timestep.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tests.support.variations import double

FIRST, FRAME, LAST = range(3)
HIDDEN = -9000.0  # and less: what diffusers writes for a key that is not to be seen


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float) -> Tensor:
    """softmax(query key^T scale + bias) value of one row: (H, Sq, D), (H, Sk, D), (H, Sk, D), (Sk,) -> (H, Sq, D).

    The bias may also have a query axis, (1 or H, Sq, Sk); a query that sees nothing gives zeros.
    """
    probabilities = torch.softmax(query @ key.transpose(-1, -2) * scale + bias, dim=-1)
    return probabilities.masked_fill((bias == -torch.inf).all(dim=-1, keepdim=True), 0) @ value


def interpolated_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    biases: Tensor,
    t: float,
    mode: str,
    fuse_self: bool,
    scale: float,
) -> Tensor:
    """Interpolated attention of one frame; `keys`, `values` (3, H, Sk, D), `biases` (3, .., Sk): first, frame, last."""

    def against(key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        if fuse_self:
            key = torch.cat([key, keys[FRAME]], dim=-2)
            value = torch.cat([value, values[FRAME]], dim=-2)
            bias = torch.cat([bias, biases[FRAME]], dim=-1)
        return attend(query, key, value, bias, scale)

    if mode == "outer":
        first = against(keys[FIRST], values[FIRST], biases[FIRST])
        last = against(keys[LAST], values[LAST], biases[LAST])
        return (1 - t) * first + t * last
    if mode == "inner":
        key = (1 - t) * keys[FIRST] + t * keys[LAST]
        value = (1 - t) * values[FIRST] + t * values[LAST]
        return against(key, value, mixed_bias(biases[FIRST], biases[LAST], t))
    raise ValueError(mode)


def mixed_bias(first: Tensor, last: Tensor, t: float) -> Tensor:
    """Bias of a mixed key: the ends' by weight where both show it, else the one's that does."""
    lerped = (1 - t) * first + t * last
    return torch.where(last <= HIDDEN, first, torch.where(first <= HIDDEN, last, lerped))


@dataclass
class Settings:
    """What is asked of the oracle. Fields after `warmup` are mistakes on purpose: a test must see each of them."""

    mode: str = "outer"
    fuse_self: bool = True
    warmup: float = 0.5
    swap_sources: bool = False
    shift_t: float = 0.0
    extra_steps: int = 0
    guide_negative_rows: bool = False


class AttentionOracle(TorchFunctionMode):
    """Answers attention calls inside `denoiser`, whose conditional rows are first, frame, last, for one frame's t."""

    def __init__(self, denoiser: nn.Module, t: float, steps: int, settings: Settings, negative_rows: str) -> None:
        super().__init__()
        self.t = t + settings.shift_t
        self.settings = settings
        self.negative_rows = negative_rows
        self.active_steps = round(settings.warmup * steps) + settings.extra_steps
        self.image_embeds: list[Tensor] | None = None  # (3, N, C) per IP-Adapter
        self.step, self.calls, self.interpolated = -1, 0, 0
        self.inside = False
        self._timestep: float | None = None
        self._hooks = [
            denoiser.register_forward_pre_hook(self._enter, with_kwargs=True),
            denoiser.register_forward_hook(self._leave),
        ]

    def __exit__(self, *error: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*error)

    def _enter(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        timestep = kwargs["timestep"] if "timestep" in kwargs else args[1]
        timestep = float(torch.as_tensor(timestep).flatten()[0])
        if timestep != self._timestep:
            self._timestep, self.step, self.calls = timestep, self.step + 1, 0
        self.calls += 1
        self.inside = True
        rows = [kwargs[name] for name in ("sample", "hidden_states", "encoder_hidden_states") if name in kwargs]
        self.batch = rows[0].shape[0] if rows and not args else None
        if self.image_embeds is not None:
            conditions = dict(kwargs["added_cond_kwargs"])
            conditions["image_embeds"] = [self._place(embeds) for embeds in self.image_embeds]
            kwargs = kwargs | {"added_cond_kwargs": conditions}
        return args, kwargs

    def _leave(self, *_: Any) -> None:
        self.inside = False

    def _place(self, rows: Tensor) -> Tensor:
        """Image embeddings of one denoiser call: zeros for the negative rows."""
        return torch.cat([torch.zeros_like(rows), rows])

    def conditional_rows(self, rows: int) -> range | None:
        """Rows first, frame, last in a call of `rows` rows; None where the call holds none of them."""
        if rows == 6 and self.negative_rows == "front":
            return range(0, 3) if self.settings.guide_negative_rows else range(3, 6)
        assert rows == 3, rows  # without guidance, or a family without negative rows in the same call
        if self.negative_rows == "separate" and self.calls == 2:
            return None
        return range(0, 3)

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.randn and kwargs.get("dtype") == torch.float64:  # a generator's stream depends on the dtype
            return func(*args, **kwargs | {"dtype": torch.float32}).double()
        if func is not F.scaled_dot_product_attention or not self.inside:
            return func(*args, **kwargs)
        plain = func(*args, **kwargs)
        if self.step >= self.active_steps or self.settings.mode == "none":
            return plain
        return self._interpolate(plain, *args, **kwargs)

    def _interpolate(
        self,
        plain: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        assert query.dtype == torch.float64
        assert not any([dropout_p, is_causal, enable_gqa])
        batch = self.batch or query.shape[0]
        rows = self.conditional_rows(batch)
        if rows is None:
            return plain
        ordered = [rows[LAST], rows[FRAME], rows[FIRST]] if self.settings.swap_sources else list(rows)
        bias = bias_of(attn_mask, query.shape[0], key.shape[2]).to(query)
        out = plain.clone()
        groups = query.shape[0] // batch  # a video's frames, for instance
        for group in range(groups):
            picked = [row * groups + group for row in ordered]
            frame = rows[FRAME] * groups + group
            out[frame] = interpolated_attention(
                query[frame],
                key[picked],
                value[picked],
                bias[picked],
                self.t,
                self.settings.mode,
                self.settings.fuse_self,
                query.shape[-1] ** -0.5 if scale is None else scale,
            )
        self.interpolated += 1
        return out


def bias_of(mask: Tensor | None, rows: int, keys: int) -> Tensor:
    """A stock attention mask as logits to add, (rows, keys) or, with a query axis, (rows, 1 or H, Sq, keys)."""
    if mask is None:
        return torch.zeros(rows, keys)
    mask = mask.expand(rows, *mask.shape[1:])
    assert mask.ndim == 4
    if (mask == mask[:, :1, :1]).all():
        mask = mask[:, 0, 0]
    return torch.zeros(mask.shape).masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else mask


@torch.no_grad()
def oracle_frames(
    pipe: Any,
    call: dict[str, Any],
    coefficients: Sequence[float],
    settings: Settings,
    negative_rows: str,
    *,
    steps: int | None = None,
    images_per_prompt: int = 1,
    image_embeds: list[Tensor] | None = None,
) -> Tensor:
    """Final latents (frames * images_per_prompt, ...) in float64; row i * images_per_prompt + k is image k of frame i.

    `call` are the stock call's arguments with a row per frame; `steps` those it runs (default: what it asks for).
    """
    frames = len(coefficients)
    exact = double(pipe)
    denoiser = exact.unet if hasattr(exact, "unet") else exact.transformer
    steps = steps or call["num_inference_steps"]
    found: dict[int, Tensor] = {}
    for image in range(images_per_prompt):
        for frame in range(1, frames - 1):
            rows = [0, frame, frames - 1]
            three = {
                name: _take(value, rows, frames, images_per_prompt, image)
                for name, value in call.items()
                if name != "num_images_per_prompt"
            }
            oracle = AttentionOracle(denoiser, coefficients[frame], steps, settings, negative_rows)
            if image_embeds is not None:
                oracle.image_embeds = [embeds[rows].double() for embeds in image_embeds]
            with oracle:
                output = exact(**three, output_type="latent")
                latents = output.images if hasattr(output, "images") else output.frames
            assert oracle.step + 1 == steps, f"{oracle.step + 1} steps ran, {steps} were expected"
            assert bool(oracle.interpolated) == (oracle.active_steps > 0 and settings.mode != "none")
            for row, latent in zip(rows, latents, strict=True):
                found[row * images_per_prompt + image] = latent
    return torch.stack([found[row] for row in range(frames * images_per_prompt)])


def _take(value: Any, rows: list[int], frames: int, images_per_prompt: int, image: int) -> Any:
    """The three rows of one argument of the stock call, in float64; anything without a row per frame as it is."""
    if isinstance(value, list) and value and isinstance(value[0], torch.Generator):
        picked = [value[row * images_per_prompt + image] for row in rows]
        return [torch.Generator().manual_seed(generator.initial_seed()) for generator in picked]
    if isinstance(value, list):
        return [_take(item, rows, frames, images_per_prompt, image) for item in value]
    if not isinstance(value, Tensor):
        return value
    if value.is_floating_point():
        value = value.double()
    if value.shape[0] == frames * images_per_prompt and images_per_prompt > 1:
        return value[image::images_per_prompt][rows]
    return value[rows] if value.shape[0] == frames else value

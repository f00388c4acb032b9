"""Inversion of an image by the stock call of one pipeline: its latents at every step of a sequence."""

from __future__ import annotations

import contextlib
import copy
import inspect
import logging
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..conditioning.affine import affine_steps
from ..conditioning.image_latents import encode_image
from ..conditioning.inversion import ReversedSteps
from ..conditioning.latents import FrameNoise
from ..errors import AIDError, InversionError
from ..io.image_files import fitted
from ..io.weights import weights_digests
from ..keyframes import PATHS, Inversion
from .stock_arguments import stock_parameters
from .stock_call import private_copy

logger = logging.getLogger(__name__)

ITERATIONS = 3  # denoiser calls for each step, where nobody says how many
PARTIAL = ("denoising_start", "denoising_end")  # stock arguments that leave steps out
# of the reversed call: no guidance, which an inversion cannot follow
_UNGUIDED = {"guidance_scale": 1.0, "true_cfg_scale": 1.0, "output_type": "latent", "return_dict": True}


def check_inversion(prompt: Any, num_inference_steps: Any, path: Any, iterations: Any) -> None:
    """Raise InversionError for an argument of `invert` of the wrong kind."""
    if not isinstance(prompt, str):
        raise InversionError(f"prompt must be a text, which may be empty, got {prompt!r}")
    if path not in PATHS:
        raise InversionError(f"path must be one of {', '.join(PATHS)}, got {path!r}")
    for name, count in (("num_inference_steps", num_inference_steps), ("iterations", iterations)):
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise InversionError(f"{name} must be a whole number >= 1, got {count!r}")


def scheduler_for(pipe: Any, path: str, num_inference_steps: int, strict: bool = False) -> Any:
    """A copy of the pipeline's scheduler if its steps can be inverted, else DDIM or Euler of its configuration.

    Args:
        strict: raise instead of replacing; the log tells of a replacement.

    Raises:
        InversionError: steps that cannot be inverted, with the reason.
    """
    own = private_copy(pipe).scheduler
    if path == "noised":
        return own
    try:
        affine_steps(_with_timesteps(own, num_inference_steps))
        return private_copy(pipe).scheduler
    except InversionError as error:
        if strict:
            raise InversionError(f"{error}; set another scheduler, or leave strict out") from error
        other = _replacement(own)
        affine_steps(_with_timesteps(other, num_inference_steps))
        logger.warning("%s; %s of its configuration takes its place for this", error, type(other).__name__)
        return other


@torch.no_grad()
def invert_image(
    pipe: Any,
    image: Image.Image,
    prompt: str,
    *,
    path: str,
    iterations: int,
    scheduler: Any,
    seed: int,
    call: dict[str, Any],
    name: str = "the image",
) -> Inversion:
    """The latents of an RGB image before every step and after the last.

    Args:
        path: "inverted", by the denoiser, or "noised", by one noise at all levels.
        iterations: denoiser calls for each step.
        scheduler: as `scheduler_for` returns it.
        seed: of the noise of "noised".
        call: arguments of the stock call, without prompts and guidance.
        name: of the image, for messages.

    Raises:
        InversionError: a pipeline that starts from an image, or what cannot be inverted.
        ImageFileError: an image of quite another shape than the frames'.
    """
    if not FrameNoise.starts_from_noise(pipe):
        raise InversionError(
            f"{type(pipe).__name__} starts from an image of its own, or prepares its latents in a way that is not known"
        )
    partial = [argument for argument in PARTIAL if call.get(argument) is not None]
    if partial:
        raise InversionError(f"{partial[0]} leaves steps out, which an inversion needs; leave it out")
    own = private_copy(pipe)
    own.scheduler = copy.deepcopy(scheduler)
    own.set_progress_bar_config(**getattr(pipe, "_progress_bar_config", {}) | {"disable": True, "leave": False})
    start = _Start(own, image, name, seed)
    own.prepare_latents = start.prepare(own.prepare_latents)
    allowed = stock_parameters(pipe)
    arguments = {key: value for key, value in {**call, **_UNGUIDED, "prompt": prompt}.items() if key in allowed}
    try:
        latents = _noised(own, start, arguments) if path == "noised" else _inverted(own, iterations, arguments)
    except (ValueError, TypeError) as error:
        if start.psnr or isinstance(error, AIDError):  # the stock call began
            raise
        raise InversionError(f"{type(pipe).__name__} refuses the call: {error}") from error
    return Inversion(
        image=start.image,
        latents=latents.cpu().contiguous(),  # a decoder's last bits depend on the layout
        prompt=prompt,
        path=path,
        psnr=start.psnr,
        scheduler=copy.deepcopy(scheduler),
        weights=weights_digests(pipe),
    )


class _Start:
    """Stand-in for `prepare_latents`: the image's own latents, at the size that the stock call settled on."""

    def __init__(self, pipe: Any, image: Image.Image, name: str, seed: int) -> None:
        self.image, self.psnr = image, 0.0
        self.clean = self.noise = torch.empty(0)
        self._pipe, self._name, self._seed = pipe, name, seed

    def prepare(self, stock: Callable[..., Any]) -> Callable[..., Any]:
        def prepare_latents(*args: Any, **kwargs: Any) -> Any:
            values = dict(inspect.signature(stock).bind(*args, **kwargs).arguments)
            self.image = fitted(self.image, values["width"], values["height"], self._name)
            drawn = stock(**values | {"generator": torch.Generator("cpu").manual_seed(self._seed)})
            several = isinstance(drawn, tuple)
            self.noise = (drawn[0] if several else drawn) / getattr(self._pipe.scheduler, "init_noise_sigma", 1.0)
            self.clean, self.psnr = encode_image(self._pipe, self.image, values["device"], values["dtype"])
            if self.clean.shape != self.noise.shape:
                raise InversionError(
                    f"{type(self._pipe).__name__} draws latents {tuple(self.noise.shape[1:])} where its autoencoder "
                    f"encodes an image as {tuple(self.clean.shape[1:])}; how it packs them is not known"
                )
            return (self.clean, *drawn[1:]) if several else self.clean

        return prepare_latents


def _inverted(pipe: Any, iterations: int, arguments: dict[str, Any]) -> Tensor:
    """The latents by the stock call in reverse."""
    steps = ReversedSteps(iterations)
    steps.install(pipe.scheduler)
    pipe(**arguments)
    return steps.trajectory()


class _Prepared(Exception):
    pass


def _noised(pipe: Any, start: _Start, arguments: dict[str, Any]) -> Tensor:
    """The clean latents under one noise at the level of every step; no denoiser call."""

    def stop(*_: Any, **__: Any) -> Any:
        raise _Prepared

    pipe.progress_bar = stop
    with contextlib.suppress(_Prepared):
        pipe(**arguments)
    scheduler = pipe.scheduler
    add_noise = getattr(scheduler, "scale_noise", None) or getattr(scheduler, "add_noise", None)
    if add_noise is None:
        raise InversionError(f"{type(scheduler).__name__} adds noise to no image; use path='inverted'")
    scheduler._begin_index = scheduler._step_index = None  # each level by its timestep
    levels = []
    for timestep in scheduler.timesteps:
        pair = (start.noise, timestep[None]) if add_noise.__name__ == "add_noise" else (timestep[None], start.noise)
        levels.append(add_noise(start.clean, *pair).float())
    return torch.cat([*levels, start.clean.float()])


def _with_timesteps(scheduler: Any, num_inference_steps: int) -> Any:
    """A copy at the timesteps of a call; a shift that depends on the size is 1, which changes no answer."""
    scheduler = copy.deepcopy(scheduler)
    shifted = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
    scheduler.set_timesteps(num_inference_steps, **shifted)
    return scheduler


def _replacement(scheduler: Any) -> Any:
    import diffusers

    config = scheduler.config
    is_flow = hasattr(scheduler, "scale_noise") or config.get("use_flow_sigmas")
    if is_flow or config.get("prediction_type") == "flow_prediction":
        flow: Any = diffusers.FlowMatchEulerDiscreteScheduler
        return flow.from_config(config, stochastic_sampling=False)
    ddim: Any = diffusers.DDIMScheduler
    return ddim.from_config(config, clip_sample=False, thresholding=False)

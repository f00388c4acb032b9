"""Dtypes of a pipeline: what "auto" takes on a device, and a denoiser in bfloat16 beside parts in float32.

On a CPU with AMX the denoiser, nearly all of the work, is faster in bfloat16. Text encoders, VAE and scheduler then
stay float32, and `CastingForward` casts at the denoiser's border, in and out.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MIXED = "mixed-bfloat16"
"""Denoiser bfloat16, all else float32."""
DTYPES = ("auto", "float32", "float16", "bfloat16", MIXED)
"""What `dtype` may be."""
DENOISERS = ("unet", "transformer", "transformer_2")
"""Components of a pipeline that denoise."""

# a timestep of 981 is 980 in bfloat16; positions are made into angles in float32
_KEPT = ("timestep", "guidance", "image_rotary_emb")
_CPU_FLAGS = Path("/proc/cpuinfo")


def has_fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in AMX tiles; its other bfloat16 instructions are no faster than float32."""
    try:
        return bool(torch.cpu.get_capabilities()["amx_bf16"])
    except (AttributeError, KeyError, RuntimeError):  # a torch or a kind of processor that does not say
        try:
            return "amx_bf16" in _CPU_FLAGS.read_text("utf-8").split()
        except OSError:
            return False


def usual_dtype(device: torch.device) -> tuple[str, str]:
    """What "auto" is on a device, and why."""
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return "bfloat16", "this GPU has it"
        return "float16", "this GPU has no bfloat16"
    if device.type != "cpu":
        return "bfloat16", f"usual on {device.type}"
    if has_fast_bfloat16():
        return MIXED, "this CPU has AMX, which makes the denoiser faster in bfloat16; all else is float32"
    return "float32", "this CPU has no AMX, which would make bfloat16 faster"


def loading_dtype(dtype: str) -> Any:
    """A name of `DTYPES` but "auto" as `from_pretrained` takes it."""
    if dtype == MIXED:
        return {"default": torch.float32, **dict.fromkeys(DENOISERS, torch.bfloat16)}
    return getattr(torch, dtype)


def denoiser_dtype(dtype: str) -> torch.dtype:
    """The denoiser's dtype by a name of `DTYPES` but "auto"."""
    found: torch.dtype = torch.bfloat16 if dtype == MIXED else getattr(torch, dtype)
    return found


def cast_at_border(pipe: Any) -> Any:
    """The pipeline, its denoiser given what it gets in its own dtype, and its output given back in the caller's."""
    for module in _denoisers(pipe):
        module.forward = CastingForward(module)  # not a hook: interpolation's own see the caller's dtype
    return pipe


def recorded_dtype(pipe: Any) -> str:
    """A pipeline's dtype by its name in `DTYPES`, or torch's."""
    denoisers = _denoisers(pipe)
    if denoisers and all(_casts(module) and module.dtype == torch.bfloat16 for module in denoisers):
        others = (part for part in pipe.components.values() if isinstance(part, nn.Module) and part not in denoisers)
        if all(part.dtype == torch.float32 for part in others):
            return MIXED
    return str(pipe.dtype).removeprefix("torch.")


def latents_dtype(denoiser: Any) -> torch.dtype:
    """The dtype of latents that a denoiser is called with."""
    found: torch.dtype = torch.float32 if _casts(denoiser) else denoiser.dtype
    return found


class CastingForward:
    """A module's forward in the module's own dtype, whatever its inputs have; its output in that of the first input."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._names = tuple(inspect.signature(type(module).forward).parameters)[1:]
        self.__signature__ = inspect.signature(module.forward)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        named = [*zip(self._names, args, strict=False), *kwargs.items()]
        wide = next((value.dtype for _, value in named if _is_floating(value)), None)
        own: torch.dtype = self._module.dtype  # type: ignore[assignment]
        cast = [_cast(value, own, name) for name, value in named]
        count = len(args)
        output = type(self._module).forward(self._module, *cast[:count], **dict(zip(kwargs, cast[count:], strict=True)))
        return output if wide is None else _cast(output, wide)


def _denoisers(pipe: Any) -> list[Any]:
    found = (getattr(pipe, name, None) for name in DENOISERS)
    return [getattr(module, "_orig_mod", module) for module in found if isinstance(module, nn.Module)]


def _casts(module: Any) -> bool:
    return isinstance(vars(module).get("forward"), CastingForward)


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _cast(value: Any, dtype: torch.dtype, name: str = "") -> Any:
    """The value with its floating-point tensors in `dtype`, but for what denoisers read in float32."""
    if name in _KEPT or name.endswith("_ids"):
        return value
    if _is_floating(value):
        return value.to(dtype)
    if isinstance(value, dict):
        cast = {key: _cast(item, dtype, str(key)) for key, item in value.items()}
        return cast if type(value) is dict else type(value)(**cast)  # an output of diffusers
    if type(value) in (list, tuple):
        return type(value)(_cast(item, dtype) for item in value)
    return value

"""Tiny pipelines: every component of a stock class made from what its `__init__` asks for."""

from __future__ import annotations

import enum
import inspect
import sys
import types
import typing
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from . import processors, text, tokenizers
from .by_pipeline import ATTRIBUTES, CALLABLES, options_of
from .denoisers import tiny
from .templates import fit_templates

STABLE_DIFFUSION_BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
NEVER = ("safety_checker", "feature_extractor", "watermarker", "image_encoder", "add_watermarker")
# made although the signature allows None
NEEDED = ("transformer", "vae", "unet", "text_encoder", "tokenizer", "scheduler", "controlnet")


def make(name: str, seed: int = 0, **more: dict[str, Any]) -> Any:
    """A pipeline of a class of diffusers by its name, with the same random weights for the same seed.

    Args:
        more: by component, further arguments of its configuration.

    Raises:
        LookupError: a component that nothing here knows how to make.
    """
    cls = getattr(diffusers, name)
    _mend_text_cleaning(cls)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pipe = cls(**_components(cls, more))
    for component in pipe.components.values():
        if isinstance(component, nn.Module):
            component.eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    fit_templates(pipe)
    for attribute, value in ATTRIBUTES.get(name, {}).items():
        setattr(pipe, attribute, value)
    return pipe


def _mend_text_cleaning(cls: Any) -> None:
    """Some pipelines ask ftfy to mend mangled letters of a prompt; where it is not installed, none is mended."""
    module = sys.modules[cls.__module__]
    if hasattr(module, "is_ftfy_available") and not hasattr(module, "ftfy"):
        module.__dict__["ftfy"] = types.SimpleNamespace(fix_text=lambda text: text)


def _components(cls: Any, more: dict[str, Any]) -> dict[str, Any]:
    options = options_of(cls.__name__)
    for component, arguments in more.items():
        options[component] = {**options.get(component, {}), **arguments}
    signature = inspect.signature(cls.__init__).parameters
    names = {name: _named(parameter.annotation) for name, parameter in signature.items() if name != "self"}
    made: dict[str, Any] = {}
    # tokenizers first: the text encoders take their tokens' numbers
    for name in sorted(names, key=lambda name: "tokenizer" not in name and "processor" not in name):
        parameter, given = signature[name], options.get(name, {})
        if given is None or (name in NEVER and name not in options):
            made[name] = None
        elif name == "requires_safety_checker":
            made[name] = False
        elif not isinstance(given, dict):
            made[name] = given
        elif _left_out(name, parameter, names[name]) and name not in options:
            continue
        else:
            made[name] = _component(cls.__name__, name, names, made, given)
    return made


def _left_out(name: str, parameter: inspect.Parameter, candidates: list[Any]) -> bool:
    """Whether the signature's own default does."""
    if parameter.default is inspect.Parameter.empty:
        return False
    plain = all(candidate in (bool, int, float, str, list, tuple) for candidate in candidates)
    return plain or (parameter.default is None and name not in NEEDED)


def _named(annotation: Any) -> list[Any]:
    """The classes that an annotation allows, None aside."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [part for inner in typing.get_args(annotation) for part in _named(inner)]
        return [part for part in parts if part is not type(None)]
    return [typing.get_origin(annotation) or annotation]


def _component(pipeline: str, name: str, names: dict[str, list[Any]], made: dict[str, Any], given: dict) -> Any:
    given = dict(given)
    chosen = given.pop("cls", None) or names[name][0]
    kind = chosen if isinstance(chosen, str) else getattr(chosen, "__name__", str(chosen))
    if kind in CALLABLES:
        return CALLABLES[kind](**given)
    if "ImageProcessor" in kind:
        return processors.image(kind)
    if "scheduler" in name:
        return _scheduler(chosen, given)
    if "tokenizer" in name or "processor" in name:
        encoder = names.get(name.replace("tokenizer", "text_encoder"), names.get("text_encoder", [kind]))[0]
        if kind.startswith("Qwen") and kind.endswith("Processor"):
            return processors.qwen(kind)
        own = kind.removesuffix("Pil").removesuffix("Fast")
        automatic = own in ("AutoTokenizer", "PreTrainedTokenizerBase", "TokenizersBackend", "AutoProcessor", "Any")
        return tokenizers.named(_name_of(encoder) if automatic else own)
    model = getattr(diffusers, kind, None) if isinstance(chosen, str) else chosen
    if hasattr(transformers, text.STANDS_FOR.get(kind, kind)):
        tokenizer = made.get(name.replace("text_encoder", "tokenizer"), made.get("tokenizer"))
        return text.encoder(kind, getattr(tokenizer, "tokenizer", tokenizer), **given)
    if inspect.isclass(model) and issubclass(model, nn.Module):
        return tiny(model, **_from_others(name, kind, names, given))
    raise LookupError(f"{pipeline} needs {name}, {kind}, which nothing here makes")


def _name_of(candidate: Any) -> str:
    name = getattr(candidate, "__name__", str(candidate))
    return "Qwen" if name == "PreTrainedModel" else name


def _scheduler(chosen: Any, given: dict[str, Any]) -> Any:
    if inspect.isclass(chosen) and issubclass(chosen, enum.Enum):  # any of the old ones
        return diffusers.DDIMScheduler(**STABLE_DIFFUSION_BETAS | given)
    if isinstance(chosen, str):
        chosen = getattr(diffusers, chosen)
    if getattr(chosen, "__name__", "") in ("SchedulerMixin", "Any"):
        chosen = diffusers.FlowMatchEulerDiscreteScheduler
    return chosen(**given)


def _from_others(name: str, kind: str, names: dict[str, list[Any]], given: dict[str, Any]) -> dict[str, Any]:
    """What other components decide of one: an image's latents have as many channels as the denoiser takes."""
    decided: dict[str, Any] = {}
    if kind == "AutoencoderKL":
        denoiser = next((names[part][0] for part in ("transformer", "unet") if part in names), None)
        taken = inspect.signature(denoiser.__init__).parameters if inspect.isclass(denoiser) else {}
        channels = taken["in_channels"].default if "in_channels" in taken else 4
        if channels in (16, 64):
            decided = {"latent_channels": 16, "shift_factor": 0.1}
    if kind in ("UNet2DConditionModel", "ControlNetModel", "ControlNetUnionModel") and "text_encoder_2" in names:
        decided |= {
            "cross_attention_dim": 2 * text.WIDTH,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": text.WIDTH + 6 * 8,
        }
    return decided | given

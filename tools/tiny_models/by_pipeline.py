"""What single pipelines need beside their signatures: options of components, and components made by a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .text import WIDTH

CALLABLES: dict[str, Callable[..., Any]] = {}
SD3 = {
    "transformer": {"joint_attention_dim": 2 * WIDTH, "pooled_projection_dim": 2 * WIDTH},
    "controlnet": {"joint_attention_dim": 2 * WIDTH, "pooled_projection_dim": 2 * WIDTH},
    "text_encoder_3": {"d_model": 2 * WIDTH},
}
# by pipeline and component: arguments of its configuration ("cls" names another class); None leaves it out
OPTIONS: dict[str, dict[str, Any]] = {
    "StableDiffusion3Pipeline": SD3,
}

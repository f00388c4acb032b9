"""Arguments of `interpolate` for the tiny pipelines of `families.py`."""

from typing import Any

from aid_pipeline import AIDConfig

from .families import NEGATIVE, PIXELS, T5_TOKENS, StockFamily

STEPS = 3
TEI = AIDConfig(mode="none")
FULL = AIDConfig(mode="outer", warmup=1.0)


def arguments(family: StockFamily, cfg: bool = True, **more: Any) -> dict[str, Any]:
    """Arguments of `interpolate` that make the same stock call as `family.call`."""
    made = {"num_inference_steps": STEPS, "height": PIXELS, "width": PIXELS, "output_type": "pt", **more}
    made |= family.guidance if cfg else family.no_guidance
    made.setdefault("guidance_scale", 1.0)
    if cfg and family.negative_rows != "none":
        made["negative_prompt"] = NEGATIVE
    if "text_encoder_3" in family.pipeline().components or "flux" in family.name or "pixart" in family.name:
        made["max_sequence_length"] = T5_TOKENS
    return made | {name: value for name, value in family.extra.items() if name != "negative_prompt"}

"""`guidance_scale` goes only to stock calls that take one, such as not FLUX.2 Klein's or Qwen-Image's."""

import diffusers
import pytest

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.errors import ArgumentError
from tests.support.replayed_pipelines import fresh

CALL = {"num_inference_steps": 2, "height": 16, "width": 16, "output_type": "latent", "frames": 3}


class WithoutGuidance(diffusers.BriaPipeline):
    """A stock call without the argument, as of distilled models."""

    def __call__(self, prompt=None, height=None, width=None, num_inference_steps=30, generator=None, output_type="pil"):
        return super().__call__(
            prompt,
            height,
            width,
            num_inference_steps,
            guidance_scale=1.0,
            generator=generator,
            output_type=output_type,
        )


def test_the_default_is_left_out_and_another_is_refused():
    pipe = fresh("bria")
    pipe.__class__ = WithoutGuidance
    config = AIDConfig(warmup=1.0, impl="sdpa")
    assert interpolate(pipe, "a red sphere", "the blue cube", config=config, **CALL).images.isfinite().all()
    with pytest.raises(ArgumentError, match="WithoutGuidance takes no guidance_scale, got 3; leave it out"):
        interpolate(pipe, "a red sphere", "the blue cube", config=config, guidance_scale=3.0, **CALL)

"""The processor that is set by hand."""

import pytest
import torch

from aid_kernels import InterpolationPlan
from aid_pipeline import AIDConfig, apply_aid
from aid_pipeline.attention.processors import InterpolatedAttnProcessor
from aid_pipeline.errors import UnsupportedPipelineError
from tests.support.families import FAMILIES
from tests.support.oracle import Settings, oracle_frames
from tests.support.running import TOLERANCE, UNEVEN, describe, distance, stock

SD1 = FAMILIES["sd1"]


@pytest.mark.parametrize("mode", ["outer", "inner"])
@pytest.mark.parametrize("fuse_self", [True, False], ids=["fused", "alone"])
def test_the_processor_set_by_hand_matches_the_oracle(mode, fuse_self):
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    plan = InterpolationPlan.concat([InterpolationPlan.plain(len(UNEVEN)), InterpolationPlan.sequence(UNEVEN)])
    config = AIDConfig(mode=mode, fuse_self=fuse_self, impl="sdpa")
    plain, processor = stock(pipe, call), InterpolatedAttnProcessor(plan, config)
    pipe.unet.set_attn_processor(processor)
    settings = Settings(mode=mode, fuse_self=fuse_self, warmup=1.0)
    expected = oracle_frames(SD1.pipeline(), call, UNEVEN, settings, "front")
    assert distance(stock(pipe, call), expected) < TOLERANCE
    processor.plan = None
    assert torch.equal(stock(pipe, call), plain)


def test_it_is_not_rebound():
    pipe = SD1.fresh()
    pipe.unet.set_attn_processor(InterpolatedAttnProcessor(None, AIDConfig()))
    with pytest.raises(UnsupportedPipelineError, match="InterpolatedAttnProcessor"):
        apply_aid(pipe, AIDConfig(), describe(SD1.call(pipe, UNEVEN), UNEVEN))

"""Cross-attention that inner interpolation leaves plain, because it is the same."""

import torch

from aid_pipeline import AIDConfig, aid
from tests.support.families import FAMILIES
from tests.support.oracle import Settings, oracle_frames
from tests.support.running import TOLERANCE, UNEVEN, describe, distance, interpolated, stock

SD1 = FAMILIES["sd1"]


def test_inner_cross_attention_is_skipped_only_for_lerped_embeddings():
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    config = AIDConfig(mode="inner", warmup=1.0, impl="sdpa")
    skipped = interpolated(pipe, call, UNEVEN, config)
    forced = interpolated(pipe, call, UNEVEN, config, has_guide=True)
    assert not torch.equal(skipped, forced)
    assert distance(skipped, forced) < 1e-5
    bent = call | {"prompt_embeds": call["prompt_embeds"] ** 2}
    with aid(pipe, config, describe(bent, UNEVEN)) as handle:
        stock(pipe, bent)
        assert handle.report().startswith("8 layers: sdpa 8")


def test_embeddings_of_ones_own_are_not_taken_for_a_lerp():
    """Inner mode leaves cross-attention plain only where that is the same: nobody said that these are a lerp."""
    pipe = SD1.pipeline()
    call = SD1.call(pipe, UNEVEN, steps=2)
    call["prompt_embeds"] = call["prompt_embeds"].clone()
    call["prompt_embeds"][1, 3:] += 0.5
    frames = interpolated(pipe, call, UNEVEN, AIDConfig(mode="inner", warmup=1.0, impl="sdpa"), has_guide=False)
    expected = oracle_frames(pipe, call, UNEVEN, Settings(mode="inner", warmup=1.0), "front")
    assert distance(frames, expected) < TOLERANCE

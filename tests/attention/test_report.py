"""Report of what serves each attention layer."""

from aid_pipeline import AIDConfig, apply_aid
from tests.support.families import FAMILIES
from tests.support.running import UNEVEN, describe, stock


def test_report():
    pipe = FAMILIES["sd1"].fresh()
    call = FAMILIES["sd1"].call(pipe, UNEVEN, steps=2)
    handle = apply_aid(pipe, AIDConfig(mode="inner", warmup=1.0, impl="sdpa"), describe(call, UNEVEN))
    before = handle.report().splitlines()
    assert before[0] == "8 layers: sdpa 4, plain 4"
    assert "expected" in before[1]
    stock(pipe, call)
    after = handle.report().splitlines()
    assert after[0] == before[0]
    assert "expected" not in after[1]
    assert "guide" in after[2]
    assert "  mid_block.attentions.0.transformer_blocks.0.attn2: plain" in after
    guide = apply_aid(pipe, AIDConfig(mode="inner", warmup=1.0), describe(call, UNEVEN, has_guide=True))
    assert guide.report().startswith("8 layers: sdpa 8")
    off = apply_aid(pipe, AIDConfig(mode="none"), describe(call, UNEVEN))
    assert off.report().startswith("8 layers: plain 8")
    off.remove()

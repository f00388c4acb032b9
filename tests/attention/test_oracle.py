"""The oracle itself, against loops over single numbers and on a denoiser of one layer."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support.families import FAMILIES
from tests.support.oracle import FIRST, FRAME, LAST, AttentionOracle, Settings, interpolated_attention, oracle_frames


def by_hand(query, keys, values, visible, t, mode, fuse_self, scale):
    """One frame's interpolated attention in Python floats: no softmax, no matmul, no concatenation."""
    heads, length, size = query.shape
    out = torch.zeros_like(query)
    own = [(keys[FRAME], values[FRAME], visible[FRAME])] if fuse_self else []
    if mode == "outer":
        terms = [
            (1 - t, [(keys[FIRST], values[FIRST], visible[FIRST])]),
            (t, [(keys[LAST], values[LAST], visible[LAST])]),
        ]
    else:
        mixed = (
            (1 - t) * keys[FIRST] + t * keys[LAST],
            (1 - t) * values[FIRST] + t * values[LAST],
            [a or b for a, b in zip(visible[FIRST], visible[LAST], strict=True)],
        )
        terms = [(1.0, [mixed])]
    for head, position in itertools.product(range(heads), range(length)):
        for weight, segments in terms:
            total, mean = 0.0, [0.0] * size
            for key, value, seen in segments + own:
                for index in range(key.shape[1]):
                    if not seen[index]:
                        continue
                    dot = sum(query[head, position, c].item() * key[head, index, c].item() for c in range(size))
                    mass = math.exp(dot * scale)
                    total += mass
                    for c in range(size):
                        mean[c] += mass * value[head, index, c].item()
            out[head, position] += weight * torch.tensor(mean, dtype=torch.float64) / total
    return out


@pytest.mark.parametrize("masked", [False, True], ids=["seen", "masked"])
@pytest.mark.parametrize("fuse_self", [False, True], ids=["alone", "fused"])
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_equations_by_hand(mode, fuse_self, masked):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    keys, values = torch.randn(2, 3, 2, 5, 4, generator=generator, dtype=torch.float64)
    visible = [[True] * 5 for _ in range(3)]
    if masked:
        visible = [[True, True, False, False, True], [True, False, True, True, False], [True, False, True, False, True]]
    biases = torch.zeros(3, 5, dtype=torch.float64).masked_fill(~torch.tensor(visible), -10000.0)
    arguments = {"t": 0.3, "mode": mode, "fuse_self": fuse_self, "scale": 0.7}
    expected = by_hand(query, keys, values, visible, **arguments)
    actual = interpolated_attention(query, keys, values, biases, **arguments)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


class OneLayer(nn.Module):
    """A denoiser of one attention layer that shows what the oracle made of it."""

    def forward(self, qkv, timestep):
        return F.scaled_dot_product_attention(*qkv)


@pytest.mark.parametrize(("negative_rows", "rows", "frame"), [("front", 6, 4), ("none", 3, 1), ("separate", 3, 1)])
def test_only_the_frames_row_of_active_steps_changes(negative_rows, rows, frame):
    layer = OneLayer()
    qkv = torch.randn(3, rows, 2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain = layer(qkv, 0)
    q, k, v = qkv[:, frame - 1 : frame + 2]
    visible = [[True] * 3] * 3
    with AttentionOracle(layer, 0.3, steps=4, settings=Settings(warmup=0.5), negative_rows=negative_rows) as oracle:
        for step, timestep in enumerate([9.0, 5.0, 3.0, 1.0]):
            out = layer(qkv, timestep)
            assert oracle.step == step
            if step < 2:
                expected = by_hand(q[1], k, v, visible, 0.3, "outer", True, 0.5)
                torch.testing.assert_close(out[frame], expected, rtol=1e-12, atol=1e-12)
                others = [row for row in range(rows) if row != frame]
                assert torch.equal(out[others], plain[others])
            else:
                assert torch.equal(out, plain)
            if negative_rows == "separate":
                assert torch.equal(layer(qkv, timestep), plain)
        outside = F.scaled_dot_product_attention(*qkv)
    assert torch.equal(outside, plain)
    assert torch.equal(layer(qkv, 9.0), plain)


def test_a_frame_equal_to_both_ends_is_plain_generation():
    """Concatenating copies of one's own keys leaves softmax unchanged: an end-to-end check."""
    family = FAMILIES["sd1"]
    pipe = family.pipeline()
    call = family.call(pipe, 3, steps=2)
    for name, value in call.items():
        if isinstance(value, torch.Tensor):
            call[name] = value[[0, 0, 0]]
    stock = pipe(**call, output_type="latent").images
    for settings in (Settings(), Settings(mode="inner"), Settings(fuse_self=False)):
        frames = oracle_frames(pipe, call, [0.0, 0.3, 1.0], settings, family.negative_rows)
        torch.testing.assert_close(frames[1], frames[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(frames.float(), stock, rtol=0, atol=3e-5)

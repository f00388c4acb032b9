"""Rows per chunk that `chunk="auto"` takes."""

import pytest
import torch

from aid_pipeline import AIDConfig, AIDError
from aid_pipeline.attention.memory import CPU_ROWS, auto_chunk
from tests.support.families import FAMILIES
from tests.support.running import distance, interpolated

CPU = torch.device("cpu")


def test_chunks_are_as_many_as_needed_and_about_equal():
    assert auto_chunk(7, CPU) == 7
    assert auto_chunk(CPU_ROWS, CPU) == CPU_ROWS
    assert auto_chunk(2 * CPU_ROWS + 1, CPU) == (2 * CPU_ROWS + 1 + 2) // 3
    with pytest.raises(AIDError, match="bytes_per_row"):
        auto_chunk(7, torch.device("cuda"))


def test_auto_on_a_cpu():
    pipe, config = FAMILIES["sd1"].pipeline(), AIDConfig(warmup=1.0, impl="sdpa")
    coefficients = torch.linspace(0, 1, 11).tolist()
    call = FAMILIES["sd1"].call(pipe, coefficients, steps=2)
    whole = interpolated(pipe, call, coefficients, config)
    seen = []
    hook = pipe.unet.conv_in.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    try:
        frames = interpolated(pipe, call, coefficients, config, chunk="auto")
    finally:
        hook.remove()
    assert seen == [11, 11, 11, 11]
    assert distance(frames, whole) < 1e-4

"""Denoiser and throughput parts at toy size: what they time is what they say, and every row is there."""

import json
import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from aid_kernels import InterpolationPlan
from benchmarks.common.settings import BenchmarkSettings
from benchmarks.denoiser import steps, throughput, unets
from benchmarks.denoiser.step_timing import Times, peak_mib, time_call
from benchmarks.operator.shapes import LayerShape

CPU = BenchmarkSettings(torch.device("cpu"), torch.float32, smoke=True)


@pytest.fixture(scope="module")
def toy() -> torch.nn.Module:
    """One resolution, two heads of 8."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16,),
        down_block_types=("CrossAttnDownBlock2D",),
        mid_block_type=None,
        up_block_types=("CrossAttnUpBlock2D",),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=16,
        norm_num_groups=4,
    )
    return unet.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def rows(toy: torch.nn.Module) -> dict[str, list[dict]]:
    """What a smoke run of either part gives, on the toy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "peak_mib", lambda call, unet, device: call().nbytes / 2**20)  # has a test of its own
        patch.setattr(throughput, "SMALL_SHAPES", (LayerShape("tiny", 2, 16, 16, 8),))
        for module in (steps, throughput):
            patch.setattr(module, "build", lambda name, device, dtype, seed: toy.to(device, dtype))
        return {"denoiser": list(steps.run(CPU)), "throughput": list(throughput.run(CPU))}


@pytest.fixture
def small(toy: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """The toy wherever a model is built."""
    for module in (steps, throughput):
        monkeypatch.setattr(module, "build", lambda name, device, dtype, seed: toy.to(device, dtype))
    return toy


@pytest.mark.parametrize(("name", "parameters"), [("sd15-512", 859_520_964), ("sdxl-1024", 2_567_463_684)])
def test_configurations_are_the_real_ones(name: str, parameters: int) -> None:
    """The published numbers of parameters."""
    from diffusers import AutoModel
    from diffusers.models.attention_processor import Attention

    with torch.device("meta"):
        unet = AutoModel.from_config(unets.CONFIGS[name])
    assert sum(parameter.numel() for parameter in unet.parameters()) == parameters
    head_dims = {module.inner_dim // module.heads for module in unet.modules() if isinstance(module, Attention)}
    assert head_dims == ({40, 80, 160} if name == "sd15-512" else {64})


def test_batched_step_makes_the_frame_of_the_public_schedule(toy: torch.nn.Module) -> None:
    step = unets.make_step(toy, 4, 0)
    processors = toy.attn_processors
    with torch.no_grad():
        with steps.public(toy, step, interpolate=True) as call:
            expected = call()
        with steps.interpolating(toy, step, "sdpa"):
            actual = step.batch.run(toy)[4:][[0, 1, 3]]
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
        stock = step.batch.run(toy)[4:][[0, 1, 3]]
        with steps.public(toy, step, interpolate=False) as call:
            torch.testing.assert_close(call(), stock, rtol=1e-4, atol=1e-5)
    assert (stock[1] - expected[1]).abs().max() > 1e-3
    assert all(toy.attn_processors[name] is processor for name, processor in processors.items())


def test_users_do_not_mix(toy: torch.nn.Module) -> None:
    """A user's frames are what they are alone, whoever shares the batch."""
    step = unets.make_step(toy, 3, 0, users=2)
    assert len(step.described.plan) == 6
    assert step.described.plan.host_sources[4].tolist() == [3, 5]
    second = [3, 4, 5, 9, 10, 11]
    alone = unets.Step(
        step.batch.select(second),
        unets.Frames(InterpolationPlan.sequence([0, 0.5, 1]), step.described.prompt_embeds[3:], num_steps=1),
        frames=3,
        users=1,
    )
    with torch.no_grad():
        with steps.interpolating(toy, step, "auto"):
            together = step.batch.run(toy)[second]
        with steps.interpolating(toy, alone, "auto"):
            torch.testing.assert_close(together, alone.batch.run(toy), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_denoiser_rows(rows: dict[str, list[dict]]) -> None:
    assert not [row for row in rows["denoiser"] if "problem" in row]
    kinds = [(row["compiled"], row["peer"], row["what"]) for row in rows["denoiser"]]
    expected = [("stock", "plain step"), ("auto", "warm-up step"), ("auto", "50 steps")]
    expected += [("public", "plain step"), ("public", "warm-up step"), ("public", "50 steps")]
    expected += [("sdpa", "warm-up step"), ("sdpa", "50 steps")]
    assert kinds == [(compiled, *kind) for compiled in ("no", "eager") for kind in expected]
    for row in rows["denoiser"]:
        json.dumps(row)
        times = ("low_s", "extrapolated_s", "high_s") if "extrapolated_s" in row else ("p20_ms", "median_ms", "p80_ms")
        assert 0 < row[times[0]] <= row[times[1]] <= row[times[2]]
        assert row["peak_mib"] > 0


def test_a_peer_that_fails_or_computes_something_else_is_not_timed(small, monkeypatch: pytest.MonkeyPatch) -> None:
    right = steps.interpolating
    monkeypatch.setattr(steps, "interpolating", lambda *given: nullcontext() if given[2] == "sdpa" else right(*given))
    monkeypatch.setattr(steps, "PEERS", ("auto", "sdpa", "nobody"))
    monkeypatch.setattr(steps, "peak_mib", lambda call, unet, device: 1.0)
    rows = list(steps.run(CPU))
    problems = {row["peer"]: row["problem"] for row in rows if "problem" in row}
    assert problems.keys() == {"sdpa", "nobody"}
    assert all(problem.endswith("not timed") for problem in problems.values())
    assert problems["nobody"].startswith("ConfigError: impl must be one of")
    assert {row["peer"] for row in rows if "problem" not in row} == {"stock", "auto"}


def test_time_runs_out_cleanly(small: torch.nn.Module) -> None:
    over = BenchmarkSettings(torch.device("cpu"), torch.float32, smoke=True, deadline=0.0)
    rows = list(steps.run(over))
    assert rows
    assert all(row["problem"] == "out of time" for row in rows)
    assert all(row["problem"] == "out of time" for row in throughput.run(over))


def test_sequence_is_the_sum_of_its_steps() -> None:
    first, rest = (Times(80.0, 100.0, 130.0), 5.0), (Times(40.0, 50.0, 60.0), 4.0)
    row = steps.sequence(first, rest, 1, 7)
    assert row["extrapolated_s"] == pytest.approx(25 * 0.1 + 25 * 0.05)
    assert (row["low_s"], row["high_s"]) == pytest.approx((25 * 0.12, 25 * 0.19))
    assert row["frames_per_second"] == pytest.approx(7 / 3.75)
    assert row["seconds_per_frame"] == pytest.approx(3.75 / 7)
    assert row["peak_mib"] == 5
    assert steps.sequence(first, rest, 5, 7)["extrapolated_s"] == pytest.approx(5 * 3.75)


@pytest.mark.slow
def test_throughput_rows(rows: dict[str, list[dict]]) -> None:
    assert not [row for row in rows["throughput"] if "problem" in row]
    attention = [row for row in rows["throughput"] if row["level"] == "attention"]
    assert [(row["users"], row["peer"]) for row in attention] == [
        (users, peer) for users in (1, 2) for peer in (throughput.TOGETHER, throughput.APART)
    ]
    for row in attention:
        assert row["frames_per_second"] == pytest.approx(1e3 * row["users"] * 7 / row["median_ms"])
    assert [row["users"] for row in rows["throughput"] if row["level"] == "denoiser"] == [1, 2]


@pytest.mark.slow
def test_alone_on_a_cpu(rows: dict[str, list[dict]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--smoke", "--threads", str(torch.get_num_threads()), "--out", str(tmp_path)]
    for module, name in ((steps, "denoiser"), (throughput, "throughput")):
        monkeypatch.setattr(module, "run", lambda settings, name=name: rows[name])
        module.main(arguments)
        result = json.loads((tmp_path / f"{name}.json").read_text())
        assert result["smoke"]
        assert result["sources"]["aid_kernels/interpolated_attention/impl/sdpa.py"]
        assert result["command"] == f"python -m benchmarks.{name}"
        page = (tmp_path / f"{name}.md").read_text()
        assert page.count("\n| ") == (1 + 6 if name == "denoiser" else 2 + 4)
    with pytest.raises(ValueError, match="no result"):
        throughput.main(arguments[:-2])


def test_times_and_memory() -> None:
    linear, rows = torch.nn.Linear(1024, 1024), torch.ones(1024, 1024)
    times = time_call(lambda: linear(rows), torch.device("cpu"), 3, repeats=2)
    assert 0 < times.p20 <= times.median <= times.p80 < math.inf
    with torch.no_grad():
        assert 8 <= peak_mib(lambda: linear(rows), linear, torch.device("cpu")) < 8.1  # weights and result

"""Every family of stock pipeline: off is stock, endpoints are stock, and frames in between are the oracle's."""

import dataclasses

import pytest
import torch

from aid_pipeline.attention.apply import apply_aid
from aid_pipeline.config import AIDConfig
from tests.support.families import FAMILIES, GUIDE
from tests.support.oracle import Settings, oracle_frames
from tests.support.running import TOLERANCE, UNEVEN, describe, distance, interpolated, processors, stock

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())


def first_of_each_mode_is_fast(cases):
    """Parameters of which all but the first case of each mode are marked slow."""
    first = {case.mode: case for case in reversed(cases)}
    return [case if first[case.mode] is case else pytest.param(case, marks=pytest.mark.slow) for case in cases]


@dataclasses.dataclass(frozen=True)
class InterpolationCase:
    mode: str = "outer"
    fuse_self: bool = True
    guide: bool = False
    cfg: bool = True
    warmup: float = 0.5
    steps: int = 3

    def __str__(self) -> str:
        return "-".join(
            [
                self.mode,
                "fused" if self.fuse_self else "alone",
                "guide" if self.guide else "lerp",
                "cfg" if self.cfg else "nocfg",
                f"warmup{self.warmup}",
            ]
        )

    def config(self, impl: str = "sdpa") -> AIDConfig:
        return AIDConfig(mode=self.mode, fuse_self=self.fuse_self, warmup=self.warmup, impl=impl)

    def settings(self, **mistakes: object) -> Settings:
        return Settings(mode=self.mode, fuse_self=self.fuse_self, warmup=self.warmup, **mistakes)

    def call(self, family, pipe, frames=UNEVEN):
        return family.call(pipe, frames, guide=GUIDE if self.guide else None, cfg=self.cfg, steps=self.steps)


COVERING = [
    InterpolationCase(),
    InterpolationCase(fuse_self=False, guide=True, cfg=False, warmup=1.0),
    InterpolationCase(mode="inner", guide=True, warmup=1.0),
    InterpolationCase(mode="inner", fuse_self=False),
    InterpolationCase(mode="inner", cfg=False, warmup=1.0),
    InterpolationCase(mode="inner", fuse_self=False, guide=True),
]
EVERY = [
    InterpolationCase(mode, fuse_self, guide, cfg, warmup)
    for mode in ("outer", "inner")
    for fuse_self in (True, False)
    for guide in (True, False)
    for cfg in (True, False)
    for warmup in (0.5, 1.0)
]


# ---------------------------------------------------------------- off is stock


@families
@pytest.mark.parametrize(
    "config",
    [AIDConfig(warmup=0.0), AIDConfig(mode="inner", warmup=0.0), AIDConfig(mode="none", warmup=1.0)],
    ids=["outer-warmup0", "inner-warmup0", "none"],
)
def test_off_is_bit_equal_to_stock(family, config):
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN)
    assert torch.equal(interpolated(pipe, call, UNEVEN, config), stock(pipe, call))


@families
def test_removed_is_bit_equal_to_stock(family):
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN)
    before = stock(pipe, call)
    installed = processors(family.denoiser(pipe))
    handle = apply_aid(pipe, AIDConfig(warmup=1.0), describe(call, UNEVEN))
    during = stock(pipe, call)
    handle.remove()
    assert torch.equal(stock(pipe, call), before)
    assert distance(during, before) > 1e-3
    after = processors(family.denoiser(pipe))
    assert installed.keys() == after.keys()
    assert all(installed[name] is after[name] for name in installed)


# ---------------------------------------------------------------- endpoints


@families
@pytest.mark.parametrize("case", COVERING, ids=str)
def test_endpoints_are_bit_equal_to_stock(family, case):
    pipe = family.pipeline()
    call = case.call(family, pipe)
    plain, frames = stock(pipe, call), interpolated(pipe, call, UNEVEN, case.config(), has_guide=case.guide)
    assert torch.equal(frames[0], plain[0])
    assert torch.equal(frames[-1], plain[-1])
    assert distance(frames[1:-1], plain[1:-1]) > 1e-3


# ---------------------------------------------------------------- frames in between


def check_against_oracle(family, case, impl="sdpa"):
    pipe = family.pipeline()
    call = case.call(family, pipe)
    frames = interpolated(pipe, call, UNEVEN, case.config(impl), has_guide=case.guide)
    expected = oracle_frames(pipe, call, UNEVEN, case.settings(), family.negative_rows)
    assert distance(frames, expected) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("case", EVERY, ids=str)
def test_every_combination_matches_the_oracle_on_sd1(case):
    check_against_oracle(FAMILIES["sd1"], case)


@families
@pytest.mark.parametrize("case", first_of_each_mode_is_fast(COVERING), ids=str)
def test_family_matches_the_oracle(family, case):
    check_against_oracle(family, case)


@pytest.mark.parametrize("family", ["sd1", "pixart_sigma", "flux"])
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_the_reference_implementation_matches_the_oracle(family, mode):
    check_against_oracle(FAMILIES[family], InterpolationCase(mode=mode, guide=True), impl="reference")


@pytest.mark.slow
@families
def test_the_oracle_sees_mistakes(family):
    """What the tolerance is worth: each mistake moves the frames by far more."""
    pipe, case, coefficients = family.pipeline(), InterpolationCase(guide=True, steps=2), [0.0, 0.3, 1.0]
    call = case.call(family, pipe, coefficients)
    expected = oracle_frames(pipe, call, coefficients, case.settings(), family.negative_rows)
    mistakes = [{"swap_sources": True}, {"shift_t": 0.02}, {"extra_steps": 1}]
    if family.negative_rows == "front":
        mistakes.append({"guide_negative_rows": True})
    for mistake in mistakes:
        wrong = oracle_frames(pipe, call, coefficients, case.settings(**mistake), family.negative_rows)
        assert distance(wrong[1:-1], expected[1:-1]) > 20 * TOLERANCE, mistake
        assert distance(wrong[[0, -1]], expected[[0, -1]]) < 1e-9, mistake
    for other in [InterpolationCase(mode="inner", guide=True), InterpolationCase(fuse_self=False, guide=True)]:
        wrong = oracle_frames(pipe, call, coefficients, other.settings(), family.negative_rows)
        assert distance(wrong[1:-1], expected[1:-1]) > 20 * TOLERANCE, str(other)


# ---------------------------------------------------------------- chunks


@families
@pytest.mark.parametrize(
    "case",
    first_of_each_mode_is_fast(
        [InterpolationCase(warmup=1.0), InterpolationCase(mode="inner", guide=True), InterpolationCase(cfg=False)]
    ),
    ids=str,
)
def test_any_chunk_size_gives_the_same_frames(family, case):
    pipe = family.pipeline()
    call = case.call(family, pipe)
    whole = interpolated(pipe, call, UNEVEN, case.config(), has_guide=case.guide)
    for chunk in range(1, len(UNEVEN) + 1):
        frames = interpolated(pipe, call, UNEVEN, case.config(), has_guide=case.guide, chunk=chunk)
        assert distance(frames, whole) < 1e-4, f"chunk={chunk}"


@families
def test_chunks_never_hold_more_rows_than_asked(family):
    """Seen from inside the denoiser: the batch of every attention call."""
    pipe = family.pipeline()
    coefficients = torch.linspace(0, 1, 7).tolist()
    call = family.call(pipe, coefficients, steps=2)
    rows = []
    attention = next(m for _, m in family.denoiser(pipe).named_modules() if hasattr(m, "processor"))
    with_rows = attention.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append((args[0] if args else kwargs["hidden_states"]).shape[0]),
        with_kwargs=True,
    )
    try:
        interpolated(pipe, call, coefficients, AIDConfig(warmup=1.0), chunk=3)
    finally:
        with_rows.remove()
    assert max(rows) <= 3
    total = 14 if family.negative_rows in ("front", "separate") else 7
    assert sum(rows) == 2 * total  # no row is computed twice

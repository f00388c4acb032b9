"""Putting interpolation on and taking it off: restoring, replacing, refusing, threads, the report."""

import copy
import itertools
import threading

import diffusers
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import nn

from aid_kernels import InterpolationPlan
from aid_kernels.interpolated_attention.impl.triton import support as triton_support
from aid_pipeline import AIDConfig, AIDError, Frames, aid, apply_aid
from aid_pipeline.attention.processors import InterpolatedAttnProcessor
from aid_pipeline.attention.rebinding import is_rebound
from aid_pipeline.errors import BusyError, ConfigError, UnsupportedPipelineError
from tests.support import stock_pipelines
from tests.support.families import FAMILIES
from tests.support.running import UNEVEN, describe, distance, interpolated, stock

CONFIG = AIDConfig(warmup=1.0, impl="sdpa")


@pytest.fixture
def pipe():
    return FAMILIES["sd1"].fresh()


@pytest.fixture
def call(pipe):
    return FAMILIES["sd1"].call(pipe, UNEVEN, steps=2)


def processors(denoiser):
    return {name: module.processor for name, module in denoiser.named_modules() if hasattr(module, "processor")}


def contents(denoiser):
    """Everything that could have been left behind: processors, their state, hooks, own attributes."""
    found = processors(denoiser)
    states = {name: dict(vars(processor)) for name, processor in found.items()}
    return found, states, dict(denoiser._forward_pre_hooks), dict(denoiser._forward_hooks), "forward" in vars(denoiser)


# ---------------------------------------------------------------- restoring


def test_everything_comes_back(pipe, call):
    before = contents(pipe.unet)
    handle = apply_aid(pipe, CONFIG, describe(call, UNEVEN))
    assert all(is_rebound(processor) for processor in processors(pipe.unet).values())
    stock(pipe, call)
    handle.remove()
    assert contents(pipe.unet) == before
    handle.remove()
    assert contents(pipe.unet) == before


def test_applying_again_replaces(pipe, call):
    before = contents(pipe.unet)
    plain = stock(pipe, call)
    first = apply_aid(pipe, AIDConfig(mode="inner", warmup=1.0), describe(call, UNEVEN))
    second = apply_aid(pipe, CONFIG, describe(call, UNEVEN))
    once = stock(pipe, call)
    first.remove()  # over already: must not touch the second
    assert torch.equal(stock(pipe, call), once)
    second.remove()
    assert contents(pipe.unet) == before
    assert torch.equal(interpolated(pipe, call, UNEVEN, CONFIG), once)
    assert not torch.equal(once, plain)


def test_an_exception_restores(pipe, call):
    before = contents(pipe.unet)
    with pytest.raises(ZeroDivisionError), aid(pipe, CONFIG, describe(call, UNEVEN)):
        raise ZeroDivisionError
    assert contents(pipe.unet) == before


@pytest.mark.parametrize("chunk", [None, 2])
def test_a_failing_denoiser_leaves_no_state_and_the_next_call_is_right(pipe, call, chunk):
    right = interpolated(pipe, call, UNEVEN, CONFIG, chunk=chunk)
    broken = pipe.unet.up_blocks[1].attentions[0].register_forward_pre_hook(failing_at(2, ZeroDivisionError))
    with aid(pipe, CONFIG, describe(call, UNEVEN, chunk=chunk)) as handle:
        with pytest.raises(ZeroDivisionError):
            stock(pipe, call)
        state = handle._state
        assert state.current is None
        assert not any(layer.bank or layer.saved for layer in handle._layers.values())
        broken.remove()
        assert torch.equal(stock(pipe, call), right)


@pytest.mark.parametrize(("chunk", "when"), [(None, 2), (2, 2), (2, 4), (2, 7)])
def test_an_interrupted_call_can_be_made_again(pipe, call, chunk, when):
    """Ctrl-C passes by the hooks that run after a call; in chunks of 2 a denoiser call runs the layers four times."""
    right = interpolated(pipe, call, UNEVEN, CONFIG, chunk=chunk)
    with aid(pipe, CONFIG, describe(call, UNEVEN, chunk=chunk)):
        broken = pipe.unet.up_blocks[1].attentions[0].register_forward_pre_hook(failing_at(when, KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stock(pipe, call)
        broken.remove()
        assert torch.equal(stock(pipe, call), right)


def failing_at(when, error):
    """A hook that raises when it is called for the `when`-th time."""
    calls = itertools.count(1)

    def hook(*_):
        if next(calls) == when:
            raise error

    return hook


@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_half_precision_autocast_and_inference_mode(pipe, call, mode):
    config = AIDConfig(mode=mode, warmup=1.0, impl="sdpa")
    expected = interpolated(pipe, call, UNEVEN, config)
    with torch.inference_mode():
        assert torch.equal(interpolated(pipe, call, UNEVEN, config), expected)
    with torch.autocast("cpu", torch.bfloat16):
        plain, frames = stock(pipe, call), interpolated(pipe, call, UNEVEN, config, chunk=3)
    assert distance(frames[[0, -1]], plain[[0, -1]]) < 0.05
    assert distance(frames, expected) < 0.2
    pipe.to(torch.bfloat16)
    call = {name: value.bfloat16() if isinstance(value, torch.Tensor) else value for name, value in call.items()}
    plain, frames = stock(pipe, call), interpolated(pipe, call, UNEVEN, config)
    assert torch.equal(frames[[0, -1]], plain[[0, -1]])
    assert distance(frames.float(), expected) < 0.2


def test_a_refusal_leaves_the_denoiser_as_it_was(pipe, call):
    layer = pipe.unet.up_blocks[1].attentions[0].transformer_blocks[0].attn1
    layer.set_processor(AttnProcessor())
    before = contents(pipe.unet)
    with pytest.raises(UnsupportedPipelineError, match="AttnProcessor does not call"):
        apply_aid(pipe, CONFIG, describe(call, UNEVEN))
    assert contents(pipe.unet) == before
    layer.set_processor(AttnProcessor2_0())
    apply_aid(pipe, CONFIG, describe(call, UNEVEN)).remove()


def test_one_processor_shared_by_all_layers(pipe, call):
    expected = interpolated(pipe, call, UNEVEN, CONFIG, chunk=3)
    pipe.unet.set_attn_processor(AttnProcessor2_0())
    assert torch.equal(interpolated(pipe, call, UNEVEN, CONFIG, chunk=3), expected)


def test_processors_exchanged_in_between_are_noticed(pipe, call):
    with aid(pipe, CONFIG, describe(call, UNEVEN)):
        pipe.unet.fuse_qkv_projections()
        with pytest.raises(UnsupportedPipelineError, match="replaced during the sequence"):
            stock(pipe, call)
    # what was installed meanwhile is not ours to take away
    assert (
        type(pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.processor).__name__
        == "FusedAttnProcessor2_0"
    )


def test_a_copied_denoiser_is_free(pipe, call):
    apply_aid(pipe, CONFIG, describe(call, UNEVEN)).remove()
    twin = copy.deepcopy(pipe.unet)
    assert twin.__dict__["_aid_state"] is not pipe.unet.__dict__["_aid_state"]
    assert torch.equal(interpolated(pipe, call, UNEVEN, CONFIG), interpolated(_with(pipe, twin), call, UNEVEN, CONFIG))


def _with(pipe, unet):
    return diffusers.StableDiffusionPipeline(**pipe.components | {"unet": unet}, requires_safety_checker=False)


# ---------------------------------------------------------------- refusing


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "middle"}, "mode must be one of outer, inner, none"),
        ({"warmup": 1.5}, "warmup .* got 1.5"),
        ({"warmup": float("nan")}, "warmup .* got nan"),
        ({"warmup": True}, "warmup"),
        ({"fuse_self": 1}, "fuse_self"),
        ({"impl": "cuda"}, "impl must be one of auto, triton, sdpa, reference"),
    ],
    ids=str,
)
def test_bad_config(fields, message):
    with pytest.raises(ConfigError, match=message):
        AIDConfig(**fields)


EMBEDS = torch.zeros(3, 4, 8)
PLAN = InterpolationPlan.sequence([0.0, 0.3, 1.0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"plan": None}, "plan must be an InterpolationPlan"),
        ({"prompt_embeds": EMBEDS[0]}, "frames, tokens, channels"),
        ({"prompt_embeds": EMBEDS[:2]}, "3 frames but prompt_embeds 2 rows"),
        ({"prompt_embeds": EMBEDS + torch.inf}, "NaN or infinity"),
        ({"plan": InterpolationPlan(torch.full((3, 1), 7), torch.ones(3, 1))}, "reads frame 7 of 3"),
        (
            {"plan": InterpolationPlan(torch.tensor([[0], [0], [1]]), torch.tensor([[0.0], [1.0], [1.0]]))},
            "mixtures themselves",
        ),
        ({"num_steps": 0}, "num_steps .* got 0"),
        ({"num_images_per_prompt": 1.0}, "num_images_per_prompt"),
        ({"chunk": 0}, "chunk .* got 0"),
        ({"chunk": "all"}, "chunk .* got 'all'"),
        ({"image_embeds": [torch.zeros(2, 1, 8)]}, r"image_embeds\[0\]"),
        ({"image_embeds": [torch.zeros(3, 1, 8)], "negative_image_embeds": []}, "negative_image_embeds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_frames(fields, message):
    with pytest.raises(ConfigError, match=message):
        Frames(**{"plan": PLAN, "prompt_embeds": EMBEDS, "num_steps": 2} | fields)


def test_unfit_pipelines(call):
    frames = describe(call, UNEVEN)
    with pytest.raises(UnsupportedPipelineError, match="neither a unet nor a transformer"):
        apply_aid(object(), CONFIG, frames)
    with pytest.raises(UnsupportedPipelineError, match="no attention layers"):
        apply_aid(nn.Linear(2, 2), CONFIG, frames)
    with pytest.raises(UnsupportedPipelineError, match="heads of 4 channels"):
        apply_aid(stock_pipelines.unet(attention_head_dim=4), CONFIG, frames)
    assert issubclass(UnsupportedPipelineError, AIDError)
    assert issubclass(AIDError, ValueError)


def test_pag_pipelines(pipe, call):
    pag = diffusers.StableDiffusionPAGPipeline(**pipe.components, requires_safety_checker=False)
    with pytest.raises(UnsupportedPipelineError, match="PAG"):
        apply_aid(pag, CONFIG, describe(call, UNEVEN))


# ---------------------------------------------------------------- threads


def test_the_second_thread_gets_an_error_at_once(pipe, call):
    expected = interpolated(pipe, call, UNEVEN, CONFIG)
    started, over, errors = threading.Event(), threading.Event(), []

    def second():
        started.wait()
        for attempt in (lambda: interpolated(pipe, call, UNEVEN, CONFIG), lambda: stock(pipe, call)):
            try:
                attempt()
            except AIDError as error:
                errors.append(type(error))
        over.set()

    def wait(*_):
        started.set()
        assert over.wait(60)
        return {}

    other = threading.Thread(target=second)
    other.start()
    frames = interpolated(pipe, call | {"callback_on_step_end": wait}, UNEVEN, CONFIG)
    other.join()
    assert errors == [BusyError, BusyError]
    assert torch.equal(frames, expected)
    assert torch.equal(interpolated(pipe, call, UNEVEN, CONFIG), expected)


def test_a_thread_that_died_does_not_keep_the_denoiser(pipe, call):
    thread = threading.Thread(target=lambda: apply_aid(pipe, AIDConfig(mode="inner"), describe(call, UNEVEN)))
    before = contents(pipe.unet)
    thread.start()
    thread.join()
    apply_aid(pipe, CONFIG, describe(call, UNEVEN)).remove()
    assert contents(pipe.unet) == before


def test_two_pipelines_never_see_each_other(pipe, call):
    twin = FAMILIES["sd1"].fresh()
    config = AIDConfig(mode="inner", warmup=1.0, impl="sdpa")
    alone, plain = interpolated(twin, call, UNEVEN, config), stock(twin, call)
    with aid(pipe, CONFIG, describe(call, UNEVEN)):
        assert torch.equal(stock(twin, call), plain)
        with aid(twin, config, describe(call, UNEVEN)):
            between = stock(pipe, call)
            assert torch.equal(stock(twin, call), alone)
        assert torch.equal(stock(twin, call), plain)
    assert torch.equal(between, interpolated(pipe, call, UNEVEN, CONFIG))


# ---------------------------------------------------------------- the kernel


@pytest.mark.slow
@pytest.mark.skipif(
    not triton_support.interpreting(), reason="needs TRITON_INTERPRET=1; GPUs run the kernel in tests/kernels"
)
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_the_kernel_serves_a_chunked_sequence(pipe, mode):
    """The strides, banks and plans that pipelines make, under Triton's interpreter."""
    coefficients = [0.0, 0.3, 1.0]
    call = FAMILIES["sd1"].call(pipe, coefficients, steps=1)
    by_kernel, by_stock = (
        interpolated(pipe, call, coefficients, AIDConfig(mode=mode, warmup=1.0, impl=impl), chunk=2)
        for impl in ("triton", "sdpa")
    )
    assert distance(by_kernel, by_stock) < 1e-5


# ---------------------------------------------------------------- report and the explicit processor


def test_report(pipe, call):
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
    guided = apply_aid(pipe, AIDConfig(mode="inner", warmup=1.0), describe(call, UNEVEN, guided=True))
    assert guided.report().startswith("8 layers: sdpa 8")
    off = apply_aid(pipe, AIDConfig(mode="none"), describe(call, UNEVEN))
    assert off.report().startswith("8 layers: plain 8")
    off.remove()


def test_inner_cross_attention_is_skipped_only_for_lerped_embeddings(pipe, call):
    config = AIDConfig(mode="inner", warmup=1.0, impl="sdpa")
    skipped = interpolated(pipe, call, UNEVEN, config)
    forced = interpolated(pipe, call, UNEVEN, config, guided=True)
    assert not torch.equal(skipped, forced)
    assert distance(skipped, forced) < 1e-5
    bent = call | {"prompt_embeds": call["prompt_embeds"] ** 2}
    with aid(pipe, config, describe(bent, UNEVEN)) as handle:
        stock(pipe, bent)
        assert handle.report().startswith("8 layers: sdpa 8")


@pytest.mark.parametrize(
    "config", [AIDConfig(warmup=1.0), AIDConfig(mode="inner", fuse_self=False, warmup=1.0)], ids=["outer", "inner"]
)
def test_the_explicit_processor_does_the_same(pipe, call, config):
    expected = interpolated(pipe, call, UNEVEN, config)
    plain = stock(pipe, call)
    plan = InterpolationPlan.concat([InterpolationPlan.plain(len(UNEVEN)), InterpolationPlan.sequence(UNEVEN)])
    processor = InterpolatedAttnProcessor(plan, config)
    pipe.unet.set_attn_processor(processor)
    assert distance(stock(pipe, call), expected) < 1e-5
    processor.plan = None
    assert torch.equal(stock(pipe, call), plain)
    with pytest.raises(UnsupportedPipelineError, match="InterpolatedAttnProcessor"):
        apply_aid(pipe, config, describe(call, UNEVEN))

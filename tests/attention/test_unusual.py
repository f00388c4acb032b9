"""Unusual things people do with a stock pipeline, which must still come out right."""

import diffusers
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from aid_pipeline import AIDConfig, interpolate
from tests.support.families import FAMILIES, PIXELS, PROMPTS
from tests.support.oracle import Settings, oracle_frames
from tests.support.running import TOLERANCE, UNEVEN, distance, interpolated, processors, stock

SD1 = FAMILIES["sd1"]
FULL = AIDConfig(warmup=1.0, impl="sdpa")
M = len(UNEVEN)


@pytest.mark.parametrize("chunk", [None, 2], ids=["batch", "chunks"])
def test_one_processor_object_for_all_layers(chunk):
    pipe = SD1.fresh()
    shared = AttnProcessor2_0()
    pipe.unet.set_attn_processor(shared)
    call = SD1.call(pipe, UNEVEN)
    expected = interpolated(SD1.pipeline(), call, UNEVEN, FULL, chunk=chunk)
    assert torch.equal(interpolated(pipe, call, UNEVEN, FULL, chunk=chunk), expected)
    assert all(processor is shared for processor in processors(pipe.unet).values())


def test_weights_at_rest_in_another_dtype():
    """Layerwise casting keeps them in float8 between calls; attention still runs in float32, and is reported."""
    pipe = SD1.fresh()
    pipe.unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    wanted = {"frames": 3, "num_inference_steps": 2, "height": 16, "width": 16, "output_type": "pt"}
    made = interpolate(pipe, "a", "b", config=AIDConfig(impl="sdpa"), **wanted)
    assert made.images.isfinite().all()
    assert "layers: sdpa" in made.report.splitlines()[0]


def test_offloaded_weights():
    """Between calls they are on no device that says what will serve; what a call showed is reported all the same."""
    accelerate = pytest.importorskip("accelerate")
    pipe = SD1.fresh()
    wanted = {"frames": 3, "num_inference_steps": 2, "height": 16, "width": 16, "output_type": "pt"}
    expected = interpolate(pipe, "a", "b", config=AIDConfig(impl="sdpa"), **wanted)
    accelerate.cpu_offload(pipe.unet, execution_device=torch.device("cpu"))
    assert next(pipe.unet.parameters()).device.type == "meta"
    made = interpolate(pipe, "a", "b", config=AIDConfig(impl="sdpa"), **wanted)
    assert torch.equal(made.images, expected.images)
    assert made.report == expected.report


def test_a_scheduler_that_starts_with_steps_of_its_own():
    """PNDM with its Runge-Kutta start shows more timesteps than steps, though it says that its order is 1."""
    pipe = SD1.fresh()
    pipe.scheduler = diffusers.PNDMScheduler.from_config(pipe.scheduler.config, skip_prk_steps=False)
    options = {"height": PIXELS, "width": PIXELS, "output_type": "latent", "num_inference_steps": 5, "frames": 3}
    made = interpolate(pipe, *PROMPTS, config=FULL, **options).images
    plain = interpolate(pipe, *PROMPTS, config=AIDConfig(mode="none"), **options).images
    assert torch.equal(made[[0, -1]], plain[[0, -1]])
    assert distance(made[1], plain[1]) > 1e-3


@pytest.mark.parametrize("chunk", [None, 3], ids=["batch", "chunks"])
def test_guidance_that_ends_half_way(chunk):
    """The documented trick with `callback_on_step_end`: later steps have no negative rows."""
    pipe = SD1.fresh()

    def end_guidance(pipe, step, timestep, tensors):
        if step == 0:
            pipe._guidance_scale = 0.0
            tensors["prompt_embeds"] = tensors["prompt_embeds"].chunk(2)[-1]
        return tensors

    call = SD1.call(pipe, UNEVEN)
    call |= {"callback_on_step_end": end_guidance, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    frames = interpolated(pipe, call, UNEVEN, FULL, chunk=chunk)
    expected = oracle_frames(pipe, call, UNEVEN, Settings(warmup=1.0), "front")
    assert distance(frames, expected) < TOLERANCE


def test_skip_layer_guidance():
    """SD3 calls its transformer once more each step, for the conditional rows only and with fewer layers."""
    family = FAMILIES["sd3"]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN)
    call |= {"skip_guidance_layers": [1], "skip_layer_guidance_start": 0.0, "skip_layer_guidance_stop": 1.0}
    frames = interpolated(pipe, call, UNEVEN, FULL)
    expected = oracle_frames(pipe, call, UNEVEN, Settings(warmup=1.0), "front")
    assert distance(frames, expected) < TOLERANCE
    assert distance(interpolated(pipe, call, UNEVEN, FULL, chunk=3), frames) < 1e-4


def test_positions_are_not_cut_into_rows():
    """As many frames as FLUX has image tokens: `img_ids` looks like a batch."""
    family, coefficients = FAMILIES["flux"], torch.linspace(0, 1, 16).tolist()
    pipe = family.pipeline()
    call = family.call(pipe, coefficients, steps=2)
    whole = interpolated(pipe, call, coefficients, FULL)
    assert call["latents"].shape[1] == 16
    assert distance(interpolated(pipe, call, coefficients, FULL, chunk=5), whole) < 1e-4


@pytest.mark.parametrize("chunk", [None, 3], ids=["batch", "chunks"])
def test_t2i_adapter(chunk):
    """Its features are popped off a list inside the UNet's forward."""
    pipe = SD1.fresh()
    with torch.random.fork_rng():
        torch.manual_seed(14)
        adapter = diffusers.T2IAdapter(in_channels=3, channels=[16, 32], num_res_blocks=1, downscale_factor=2)
    components = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    pipe = diffusers.StableDiffusionAdapterPipeline(
        **components, adapter=adapter.eval().requires_grad_(False), requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    call = SD1.call(pipe, UNEVEN)
    call["image"] = torch.rand(M, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(15))
    frames = interpolated(pipe, call, UNEVEN, FULL, chunk=chunk)
    expected = oracle_frames(pipe, call, UNEVEN, Settings(warmup=1.0), "front")
    assert distance(frames, expected) < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_half_precision(mode, dtype):
    """Frames are found although the pipeline casts embeddings, and stay near those of single precision."""
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    config = AIDConfig(mode=mode, warmup=1.0, impl="sdpa")
    single, plain = interpolated(pipe, call, UNEVEN, config), stock(pipe, call)
    pipe = pipe.to(dtype)
    halved = {k: v.to(dtype) if isinstance(v, torch.Tensor) else v for k, v in call.items()}
    frames = interpolated(pipe, halved, UNEVEN, config)
    rounding = distance(stock(pipe, halved), plain)
    assert frames.dtype == dtype
    assert distance(frames, single) < 3 * rounding
    assert torch.equal(frames[[0, -1]], stock(pipe, halved)[[0, -1]])


@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_autocast_and_inference_mode(mode):
    pipe = SD1.fresh()
    call = SD1.call(pipe, UNEVEN, steps=2)
    config = AIDConfig(mode=mode, warmup=1.0, impl="sdpa")
    expected = interpolated(pipe, call, UNEVEN, config)
    with torch.inference_mode():
        assert torch.equal(interpolated(pipe, call, UNEVEN, config), expected)
    with torch.autocast("cpu", torch.bfloat16):
        plain, frames = stock(pipe, call), interpolated(pipe, call, UNEVEN, config, chunk=3)
    assert distance(frames[[0, -1]], plain[[0, -1]]) < 0.05
    assert distance(frames, expected) < 0.2

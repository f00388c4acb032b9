"""`interpolate` on video pipelines: every frame is a clip."""

import diffusers
import pytest
import torch

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.errors import ArgumentError, LatentsError, UnsupportedPipelineError
from aid_pipeline.spec import InterpolationSpec
from aid_pipeline.studies.comparison.methods import sample_methods
from tests.support.oracle import Settings, oracle_frames
from tests.support.variations import double
from tests.support.video_pipelines import CALL, MAKERS, TOKENS, fresh

A, B, GUIDE, NEGATIVE = "a red sphere", "the blue cube", "a jade cone", "dull"
FULL = AIDConfig(warmup=1.0, impl="sdpa")
T = (0.0, 0.2, 0.7, 1.0)
NEGATIVE_ROWS = {"wan": "separate", "ltx": "front", "cogvideox": "front"}
names = pytest.mark.parametrize("name", MAKERS)


def clips(pipe, *prompts, config=FULL, output_type="latent", **more):
    given = {"coefficients": T, "guidance_scale": 4.0, **more}
    return interpolate(pipe, *(prompts or (A, B)), config=config, output_type=output_type, **CALL | given).images


def alone(pipe, prompt, seed=0, output_type="latent", **more):
    generator = torch.Generator().manual_seed(seed)
    given = {"guidance_scale": 4.0, "output_type": output_type, **more}
    return pipe(prompt, generator=generator, **CALL | given).frames[0]


def apart(a, b):
    return float((a - b).abs().max()) / max(1.0, float(b.abs().max()))


@names
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_endpoints_are_the_stock_call_s_clips_and_interior_ones_are_interpolated(name, mode):
    pipe = fresh(name)
    made = clips(pipe, config=AIDConfig(mode=mode, warmup=1.0))
    assert apart(made[0], alone(pipe, A)) < 1e-5
    assert apart(made[-1], alone(pipe, B)) < 1e-5
    assert apart(made[1:-1], clips(pipe, config=AIDConfig(mode="none"))[1:-1]) > 1e-4
    assert torch.isfinite(made).all()


def rows_for_oracle(pipe, negative):
    """The stock call's embeddings of all frames: both prompts encoded by themselves, and lerped."""
    names = ["prompt_embeds", "negative_prompt_embeds"]
    if hasattr(pipe.transformer, "caption_projection"):  # LTX has a mask beside each
        names = ["prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask"]
    encoded = [
        dict(
            zip(
                names,
                pipe.encode_prompt(prompt, negative_prompt=negative, max_sequence_length=TOKENS),
                strict=True,
            )
        )
        for prompt in (A, B)
    ]
    rows = {}
    for name in names:
        first, last = (values[name] for values in encoded)
        mixed = [torch.maximum(first, last) if "mask" in name else (1 - t) * first + t * last for t in T[1:-1]]
        rows[name] = torch.cat([first, *mixed, last])
    return rows


@names
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_interior_clips_are_the_oracle_s(name, mode):
    """Text read by cross-attention (Wan, LTX) and by joint attention (CogVideoX), in float64."""
    pipe = double(fresh(name))
    call = {"guidance_scale": 4.0, **CALL, **rows_for_oracle(pipe, NEGATIVE)}
    call["generator"] = [torch.Generator().manual_seed(0) for _ in T]
    expected = oracle_frames(pipe, call, T, Settings(mode=mode, warmup=1.0), NEGATIVE_ROWS[name])
    made = clips(fresh(name), config=AIDConfig(mode=mode, warmup=1.0), negative_prompt=NEGATIVE)
    assert apart(made[1:-1].double(), expected[1:-1]) < 1e-4
    swapped = oracle_frames(pipe, call, T, Settings(mode=mode, warmup=1.0, swap_sources=True), NEGATIVE_ROWS[name])
    assert apart(swapped[1:-1], expected[1:-1]) > 1e-3  # the test sees a wrong source


@names
def test_any_chunk_gives_the_same_clips(name):
    whole = clips(fresh(name), chunk=100)
    for chunk in range(1, len(T) + 1):
        assert apart(clips(fresh(name), chunk=chunk), whole) < 1e-4


@names
def test_a_seed_for_each_endpoint(name):
    pipe = fresh(name)
    made = clips(pipe, seed=(0, 3))
    assert apart(made[0], alone(pipe, A)) < 1e-5
    assert apart(made[-1], alone(pipe, B, seed=3)) < 1e-5
    assert apart(made[-1], alone(pipe, B)) > 1e-3


@names
def test_given_latents(name):
    pipe, shape = fresh(name), clips(fresh(name)).shape[1:]
    given = torch.randn(2, *shape, generator=torch.Generator().manual_seed(5))
    made = clips(pipe, latents=given)
    scaled = given * pipe.scheduler.init_noise_sigma if name == "cogvideox" else given
    assert apart(made[-1], alone(pipe, B, latents=scaled[1:])) < 1e-5
    with pytest.raises(LatentsError, match="shape"):
        clips(pipe, latents=given[:, :-1])


@names
def test_a_guide_and_negative_prompts(name):
    pipe = fresh(name)
    made = clips(pipe, guide=GUIDE, config=AIDConfig(mode="none"), negative_prompt=("dull", "grey sky"))
    assert apart(made[0], alone(pipe, A, negative_prompt="dull")) < 1e-5
    assert apart(made[-1], alone(pipe, B, negative_prompt="grey sky")) < 1e-5
    same = clips(pipe, guide=[GUIDE, B], config=AIDConfig(mode="none"))
    assert apart(same[1], alone(pipe, GUIDE)) < 1e-5
    guided = clips(pipe, guide=GUIDE)
    assert apart(guided[1], same[1]) > 1e-4


@names
def test_clips_of_every_output_type(name):
    pipe = fresh(name)
    tensors = clips(pipe, output_type="pt")
    stock = alone(pipe, A, output_type="pt")
    assert tensors.shape[1:] == stock.shape
    assert apart(tensors[0], stock) < 1e-5
    arrays = torch.as_tensor(clips(pipe, output_type="np"))
    assert torch.equal(arrays, tensors.permute(0, 1, 3, 4, 2))
    images = clips(pipe, output_type="pil")
    assert [len(clip) for clip in images] == [stock.shape[0]] * len(T)


def test_clips_are_decoded_one_at_a_time_also_where_the_vae_knows_the_time():
    """The newer LTX: its VAE is told the timestep, and its own slicing mixes up the rows."""
    pipe = fresh("ltx", timestep_conditioning=True)
    rows, stock = [], pipe.vae._decode

    def look(latents, *more, **named):
        rows.append(len(latents))
        return stock(latents, *more, **named)

    pipe.vae._decode = look
    more = {"decode_timestep": 0.05, "decode_noise_scale": 0.025}
    made = clips(pipe, output_type="pt", **more)
    assert rows == [1] * len(T)
    assert apart(made[0], alone(pipe, A, output_type="pt", **more)) < 1e-5
    assert apart(made[-1], alone(pipe, B, output_type="pt", **more)) < 1e-5
    assert "decode" not in vars(pipe.vae)


def test_clips_that_are_not_finite_are_named():
    pipe = fresh("wan")
    stock, calls = pipe.vae._decode, []

    def spoil(latents, *more, **named):
        calls.append(None)
        output = stock(latents, *more, **named)
        if len(calls) == 2:
            (output[0] if isinstance(output, tuple) else output.sample)[0, 0, 1, 2, 3] = torch.nan
        return output

    pipe.vae._decode = spoil
    with pytest.warns(UserWarning, match="NaN"):
        made = interpolate(pipe, A, B, coefficients=T, config=FULL, output_type="pt", **CALL)
    assert made.not_finite == (1,)


def test_what_compares_images_is_refused_for_clips():
    pipe = fresh("wan")
    with pytest.raises(UnsupportedPipelineError, match="select compares images"):
        clips(pipe, coefficients=None, frames=4, select="dynamic", output_type="pt")
    with pytest.raises(UnsupportedPipelineError, match="comparison"):
        next(sample_methods(pipe, InterpolationSpec.between(A, B, **CALL), {}))
    with pytest.raises(ArgumentError, match="num_videos_per_prompt"):
        clips(pipe, num_videos_per_prompt=2)
    assert clips(pipe, num_videos_per_prompt=1).shape[0] == len(T)


def test_two_denoisers_are_refused_by_name():
    pipe = fresh("wan")
    both = diffusers.WanPipeline(**pipe.components | {"transformer_2": fresh("wan").transformer}, boundary_ratio=0.5)
    with pytest.raises(ValueError, match="two denoisers"):
        clips(both)


def test_the_pipeline_comes_back_as_it_was():
    pipe = fresh("wan")
    before, vae, step = dict(vars(pipe)), dict(vars(pipe.vae)), pipe.scheduler.step
    clips(pipe, output_type="pt")
    assert {name for name in vars(pipe) if not name.startswith("_")} == {n for n in before if not n.startswith("_")}
    assert vars(pipe.vae).keys() == vae.keys()
    assert pipe.scheduler.step == step

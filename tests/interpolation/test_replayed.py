"""`interpolate` on tiny pipelines of further kinds: text encodings and rows in other shapes."""

import pytest
import torch

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.errors import AIDError, ArgumentError, LatentsError, PromptError
from tests.support.replayed_pipelines import MAKERS, TOKENS, fresh

A, B, GUIDE = "a red sphere", "the blue cube", "a jade cone"
FULL = AIDConfig(warmup=1.0, impl="sdpa")
CALL = {"num_inference_steps": 3, "height": 16, "width": 16, "output_type": "latent", "max_sequence_length": TOKENS}
UNGUIDED = {"z_image": 0.0}  # where it is not 1
names = pytest.mark.parametrize("name", MAKERS)


def frames(pipe, *prompts, config=FULL, **more):
    return interpolate(pipe, *(prompts or (A, B)), frames=5, config=config, **CALL | more).images


def alone(pipe, prompt, seed=0, **more):
    generator = torch.Generator().manual_seed(seed)
    return pipe(prompt, generator=generator, **CALL | {"guidance_scale": 5.0} | more).images[0]


def apart(a, b):
    return float((a - b).abs().max()) / max(1.0, float(b.abs().max()))


@names
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_endpoints_are_the_stock_call_s_and_interior_frames_are_interpolated(name, mode):
    pipe = fresh(name)
    made = frames(pipe, config=AIDConfig(mode=mode, warmup=1.0, impl="sdpa"))
    assert apart(made[0], alone(pipe, A)) < 1e-5
    assert apart(made[-1], alone(pipe, B)) < 1e-5
    assert apart(made[1:-1], frames(pipe, config=AIDConfig(mode="none"))[1:-1]) > 1e-6
    assert torch.isfinite(made).all()


@names
@pytest.mark.parametrize("mode", ["outer", "inner", "denoising"])
def test_any_chunk_gives_the_same_frames(name, mode):
    config = AIDConfig(mode=mode, warmup=1.0, impl="sdpa")
    whole = frames(fresh(name), config=config, chunk=100)
    for chunk in (1, 3):
        assert apart(frames(fresh(name), config=config, chunk=chunk), whole) < 1e-4


@names
def test_two_seeds_and_given_latents(name):
    """Each endpoint is the stock call of its seed; noise is given as it is drawn, before a pipeline packs it."""
    pipe = fresh(name)
    made = frames(pipe, seed=(3, 5))
    assert apart(made[0], alone(pipe, A, seed=3)) < 1e-5
    assert apart(made[-1], alone(pipe, B, seed=5)) < 1e-5
    noise = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (3, 5)])
    assert apart(frames(pipe, latents=noise), made) < 1e-5
    with pytest.raises(LatentsError, match="must have shape"):
        frames(pipe, latents=noise[..., :3])


@pytest.mark.parametrize("name", sorted(MAKERS.keys() - {"z_image"}))
def test_text_between_the_endpoints_is_the_lerp_of_their_encodings(name):
    """What the encoder gives the stock call: its own rows for the endpoints, their lerp in between."""
    pipe = fresh(name)
    stock, seen = pipe.encode_prompt, []
    alone_rows = [stock(prompt, max_sequence_length=TOKENS)[0] for prompt in (A, B)]
    handle = pipe.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["encoder_hidden_states"]), with_kwargs=True
    )
    frames(pipe, config=AIDConfig(mode="none"), guidance_scale=1.0)
    handle.remove()
    if alone_rows[0].shape == alone_rows[1].shape:
        assert torch.equal(seen[0][0], alone_rows[0][0])
        assert torch.equal(seen[0][-1], alone_rows[1][0])
        assert torch.allclose(seen[0][1], torch.lerp(*alone_rows, 0.25)[0], atol=1e-6)
    assert torch.allclose(seen[0][2], (seen[0][0] + seen[0][4]) / 2, atol=1e-6)


@names
def test_a_guide_is_the_text_of_interior_frames(name):
    pipe = fresh(name)
    guided = frames(pipe, guide=GUIDE, config=AIDConfig(mode="none"))
    assert apart(guided[2], alone(pipe, GUIDE)) < 1e-5
    assert apart(guided[0], alone(pipe, A)) < 1e-5
    several = frames(pipe, guide=[A, GUIDE, B], config=AIDConfig(mode="none"), negative_prompt=("dull", "grey sky"))
    assert apart(several[-1], alone(pipe, B, negative_prompt="grey sky")) < 1e-5
    assert apart(several[3], several[-1]) > 1e-5  # its own text, and a negative between both
    same = frames(pipe, guide=[A, GUIDE, B], config=AIDConfig(mode="none"))
    assert apart(same[1], alone(pipe, A)) < 1e-5
    assert apart(same[3], alone(pipe, B)) < 1e-5


@names
def test_negative_prompts_of_the_endpoints(name):
    pipe = fresh(name)
    made = frames(pipe, negative_prompt=("dull", "grey sky"))
    assert apart(made[0], alone(pipe, A, negative_prompt="dull")) < 1e-5
    assert apart(made[-1], alone(pipe, B, negative_prompt="grey sky")) < 1e-5
    assert apart(made[0], alone(pipe, A)) > 1e-5


@names
def test_a_negative_prompt_that_nothing_reads(name):
    with pytest.raises(ArgumentError, match="negative_prompt"):
        frames(fresh(name), negative_prompt="dull", guidance_scale=UNGUIDED.get(name, 1.0))


@names
def test_equal_prompts_and_the_pipeline_afterwards(name):
    pipe = fresh(name)
    before = dict(vars(pipe))
    made = frames(pipe, A, A)
    assert apart(made, alone(pipe, A).expand_as(made)) < 1e-4
    assert set(vars(pipe)) - set(before) <= {name for name in vars(pipe) if name.startswith("_")}
    assert "encode_prompt" not in vars(pipe)


def test_modes_and_arguments_that_are_not_served():
    pipe = fresh("cogview3")
    with pytest.raises(PromptError):
        frames(pipe, "", B)
    with pytest.raises(AIDError):
        frames(pipe, height=17)


@names
def test_prompts_that_switch_between_steps(name):
    """The first prompt's embeddings and then the last one's, masks and other conditions with them."""
    pipe = fresh(name)
    made = frames(pipe, config=AIDConfig(mode="denoising"))
    first, last = alone(pipe, A), alone(pipe, B)
    assert apart(made[0], first) < 1e-5
    assert apart(made[-1], last) < 1e-5
    assert apart(made[1], first) < 1e-5  # t = 0.25 of 3 steps is none of the last prompt
    assert min(apart(made[3], end) for end in (first, last)) > 0.1 * apart(first, last)  # two of them are


@pytest.mark.parametrize("more", [{}, {"guide": GUIDE}], ids=["plain", "guided"])
def test_frames_are_chosen_as_on_other_pipelines(more):
    """Dynamic selection tries other numbers of frames, all with the same texts."""
    pipe = fresh("bria")
    made = frames(pipe, select="dynamic", output_type="pt", **more)
    stock = alone(pipe, A, output_type="pt")
    assert made.shape[0] == 5
    assert apart(made[0], stock) < 1e-4


@names
def test_a_prompt_that_would_be_cut_is_an_error_that_holds_the_words(name):
    far = "red " * 20
    for prompts, more in (
        ((A, far + "cube"), {}),
        ((A, B), {"guide": far + "cone"}),
        ((A, B), {"negative_prompt": far}),
    ):
        with pytest.raises(PromptError, match="would cut"):
            frames(fresh(name), *prompts, **more)


def test_a_text_that_the_call_would_not_hand_on():
    pipe = fresh("cogview3")
    stock = pipe.encode_prompt
    object.__setattr__(pipe, "encode_prompt", lambda prompt, prompt_2=None, **more: stock(prompt, **more))
    with pytest.raises(ArgumentError, match="prompt_2"):
        frames(pipe, prompt_2="a mill")

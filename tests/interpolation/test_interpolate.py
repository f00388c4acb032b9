"""`interpolate` on tiny random pipelines of every family: what goes into the stock call, and what comes back."""

import gc
import json
import logging
import threading
import warnings

import diffusers
import pytest
import torch
import transformers

from aid_pipeline import AIDConfig, BetaPrior, FrameWarning, interpolate
from aid_pipeline.attention.apply import find_denoiser
from aid_pipeline.errors import BusyError

from ..support.families import FAMILIES, GUIDE, NEGATIVE, PIXELS, PROMPTS, T5_TOKENS, Family, embed
from ..support.running import UNEVEN, distance, stock
from ..support.stock_pipelines import sd1
from ..support.variations import with_controlnet, with_lcm

STEPS = 3
TEI = AIDConfig(mode="none")
FULL = AIDConfig(mode="outer", warmup=1.0)


def arguments(family: Family, cfg: bool = True, **more):
    """Arguments of `interpolate` that make the same stock call as `family.call`."""
    made = {"num_inference_steps": STEPS, "height": PIXELS, "width": PIXELS, "output_type": "pt", **more}
    made |= family.guidance if cfg else family.no_guidance
    made.setdefault("guidance_scale", 1.0)
    if cfg and family.negative_rows != "none":
        made["negative_prompt"] = NEGATIVE
    if "text_encoder_3" in family.pipeline().components or "flux" in family.name or "pixart" in family.name:
        made["max_sequence_length"] = T5_TOKENS
    return made | {name: value for name, value in family.extra.items() if name != "negative_prompt"}


@pytest.fixture(params=FAMILIES, ids=str)
def family(request) -> Family:
    return FAMILIES[request.param]


SD1 = FAMILIES["sd1"]


# ---------------------------------------------------------------- what the stock call is given


@pytest.mark.parametrize("guide", [None, GUIDE], ids=["no guide", "guide"])
@pytest.mark.parametrize("cfg", [True, False], ids=["cfg", "no cfg"])
def test_rows_are_those_of_a_call_made_by_hand(family, guide, cfg):
    """Embeddings, pooled and negative ones, masks and slerped latents, against an independent maker of the call."""
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN, guide=guide, cfg=cfg, steps=STEPS)
    made = interpolate(
        pipe,
        *PROMPTS,
        frames=len(UNEVEN),
        coefficients=UNEVEN,
        guide=guide,
        config=TEI,
        latents=call["latents"][[0, -1]],
        **arguments(family, cfg, output_type="latent"),
    )
    assert distance(made.images, stock(pipe, call)) < 1e-4


def test_endpoints_are_the_stock_call_of_their_prompt_and_seed(family):
    pipe = family.pipeline()
    wanted = arguments(family)
    frames = interpolate(pipe, *PROMPTS, frames=4, config=FULL, seed=(3, 5), **wanted).images
    for index, prompt, seed in ((0, PROMPTS[0], 3), (-1, PROMPTS[1], 5)):
        alone = pipe(prompt=prompt, generator=torch.Generator().manual_seed(seed), **wanted).images[0]
        assert (frames[index] - alone).abs().max() < 1e-4
    assert (frames[1] - frames[0]).abs().max() > 1e-3


@pytest.mark.parametrize("mode", ["outer", "inner", "none", "denoising"])
def test_any_chunk_gives_the_same_frames(family, mode):
    pipe, wanted = family.pipeline(), arguments(family, output_type="latent")
    config = AIDConfig(mode=mode, warmup=1.0)
    whole = interpolate(pipe, *PROMPTS, frames=5, config=config, chunk=100, **wanted).images
    for chunk in (1, 3):
        assert (
            distance(interpolate(pipe, *PROMPTS, frames=5, config=config, chunk=chunk, **wanted).images, whole) < 1e-4
        )


@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "pixart_sigma"])
def test_embeddings_are_in_memory_once(name):
    """Those of all frames, and with guidance as many negative ones: the tensor that the denoiser gets, and no other."""
    family, frames = FAMILIES[name], 9
    pipe, found = family.pipeline(), set()

    def look(module, args, kwargs):
        embeds = kwargs["encoder_hidden_states"]
        alive = [value for value in gc.get_objects() if issubclass(type(value), torch.Tensor)]
        alike = [value for value in alive if value.ndim == 3 and value.shape[1:] == embeds.shape[1:]]
        large = [value for value in alike if value.untyped_storage().nbytes() >= frames * embeds[0].nbytes]
        found.update(value.untyped_storage().data_ptr() for value in large)

    handle = find_denoiser(pipe).register_forward_pre_hook(look, with_kwargs=True)
    interpolate(pipe, *PROMPTS, frames=frames, config=FULL, chunk=3, **arguments(family) | {"num_inference_steps": 1})
    handle.remove()
    assert len(found) == 1


def test_one_seed_starts_all_frames_from_the_same_noise():
    pipe = SD1.pipeline()
    wanted = arguments(SD1, output_type="latent") | {"num_inference_steps": 1}
    same = interpolate(pipe, "a", "a", frames=3, config=TEI, seed=4, **wanted).images
    assert distance(same[1:], same[:-1]) < 1e-5
    two = interpolate(pipe, "a", "a", frames=3, config=TEI, seed=(4, 5), **wanted).images
    assert distance(two[:1], same[:1]) < 1e-5
    assert distance(two[1:], same[1:]) > 0.1


def test_noise_of_a_stochastic_scheduler_is_the_same_in_all_frames_and_that_of_the_stock_call():
    pipe = with_lcm(SD1.fresh())
    wanted = arguments(SD1, output_type="latent")
    frames = interpolate(pipe, "a", "a", frames=3, config=TEI, seed=7, **wanted).images
    assert distance(frames[1:], frames[:-1]) < 1e-5
    alone = pipe(prompt="a", generator=torch.Generator().manual_seed(7), **wanted).images
    assert distance(frames[:1], alone) < 1e-4


def test_all_latents_may_be_given():
    pipe = SD1.pipeline()
    call = SD1.call(pipe, UNEVEN, steps=STEPS)
    call["latents"] = torch.randn(call["latents"].shape, generator=torch.Generator().manual_seed(8))
    wanted = arguments(SD1, output_type="latent", latents=call["latents"], coefficients=UNEVEN, frames=4)
    assert distance(interpolate(pipe, *PROMPTS, config=TEI, **wanted).images, stock(pipe, call)) < 1e-4


@pytest.mark.parametrize("scheduler", [diffusers.HeunDiscreteScheduler, diffusers.KDPM2DiscreteScheduler])
def test_schedulers_that_look_between_steps(scheduler):
    pipe = SD1.fresh()
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    wanted = arguments(SD1)
    frames = interpolate(pipe, *PROMPTS, frames=3, config=FULL, **wanted).images
    alone = pipe(prompt=PROMPTS[1], generator=torch.Generator().manual_seed(0), **wanted).images[0]
    assert (frames[-1] - alone).abs().max() < 1e-4


def test_flux_takes_unpacked_latents():
    family = FAMILIES["flux"]
    pipe, wanted = family.pipeline(), arguments(family, output_type="latent")
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    packed = pipe._pack_latents(noise, 2, 4, 8, 8)
    unpacked = interpolate(pipe, *PROMPTS, frames=3, config=TEI, latents=noise, **wanted).images
    assert torch.equal(unpacked, interpolate(pipe, *PROMPTS, frames=3, config=TEI, latents=packed, **wanted).images)


def test_a_guide_for_each_interior_frame():
    pipe, wanted = SD1.pipeline(), arguments(SD1, output_type="latent")
    one = interpolate(pipe, *PROMPTS, frames=4, guide="x", config=FULL, **wanted).images
    each = interpolate(pipe, *PROMPTS, frames=4, guide=["x", "y"], config=FULL, **wanted).images
    assert distance(each[[0, 1, 3]], one[[0, 1, 3]]) < 1e-5
    assert distance(each[2:3], one[2:3]) > 1e-3


# ---------------------------------------------------------------- denoising interpolation


def test_denoising_interpolation_changes_the_prompt_during_the_steps():
    """Frame t has the first prompt for N - floor(t N) steps, then the last one, as a stock callback can do by hand."""
    pipe, steps, t = SD1.pipeline(), 5, (0.0, 0.3, 0.5, 1.0)
    wanted = arguments(SD1, output_type="latent") | {"num_inference_steps": steps}
    frames = interpolate(
        pipe, *PROMPTS, frames=4, coefficients=t, config=AIDConfig(mode="denoising"), seed=2, **wanted
    ).images
    first, last = (pipe.encode_prompt(prompt, "cpu", 1, True, NEGATIVE) for prompt in PROMPTS)
    for index, switch_at in enumerate((5, 4, 3, 0)):

        def change(pipe, step, timestep, tensors, switch_at=switch_at):
            if step + 1 >= switch_at:
                tensors["prompt_embeds"] = torch.cat([last[1], last[0]])
            return tensors

        begin = first if switch_at else last
        by_hand = pipe(
            prompt_embeds=begin[0],
            generator=torch.Generator().manual_seed(2),
            callback_on_step_end=change,
            callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"],
            **wanted,
        ).images
        assert distance(frames[index : index + 1], by_hand) < 1e-4


def test_denoising_interpolation_reads_no_guide():
    with pytest.raises(ValueError, match="reads no guide"):
        interpolate(SD1.pipeline(), *PROMPTS, guide=GUIDE, config=AIDConfig(mode="denoising"), **arguments(SD1))


# ---------------------------------------------------------------- the pipeline comes back as it was


def test_the_pipeline_is_left_as_it_was(family):
    pipe = family.fresh()
    before, scheduler = dict(vars(pipe)), dict(vars(pipe.scheduler))
    denoiser, vae = family.denoiser(pipe), dict(vars(pipe.vae))
    processors = {name: id(value) for name, value in denoiser.attn_processors.items()}
    interpolate(pipe, *PROMPTS, frames=3, config=FULL, **arguments(family))
    assert vars(pipe) == before
    assert vars(pipe.vae) == vae
    assert {name: id(value) for name, value in denoiser.attn_processors.items()} == processors
    assert not denoiser._forward_pre_hooks
    assert not denoiser._forward_hooks
    assert vars(pipe.scheduler).keys() == scheduler.keys()
    for name, value in scheduler.items():
        now = vars(pipe.scheduler)[name]
        assert torch.equal(now, value) if isinstance(value, torch.Tensor) else now == value


def test_a_failing_call_leaves_the_pipeline_usable():
    pipe = SD1.fresh()
    wanted = arguments(SD1)

    def stop(done, total):
        if done == 1:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        interpolate(pipe, *PROMPTS, frames=3, config=FULL, progress=stop, **wanted)
    assert not pipe.unet._forward_pre_hooks
    interpolate(pipe, *PROMPTS, frames=3, config=FULL, **wanted)


def test_two_threads_on_one_pipeline():
    """Both come out right, or the second is told at once."""
    pipe, wanted = SD1.fresh(), arguments(SD1)
    alone = [interpolate(pipe, *PROMPTS, frames=3, config=FULL, seed=seed, **wanted).images for seed in (0, 1)]
    results: dict[int, object] = {}
    inside, may_go_on = threading.Event(), threading.Event()

    def wait(done, total):
        inside.set()
        may_go_on.wait(30)

    def run(seed, progress):
        try:
            results[seed] = interpolate(pipe, *PROMPTS, frames=3, config=FULL, seed=seed, progress=progress, **wanted)
        except BusyError as error:
            results[seed] = error

    first = threading.Thread(target=run, args=(0, wait))
    first.start()
    assert inside.wait(30)
    second = threading.Thread(target=run, args=(1, None))
    second.start()
    second.join(30)
    may_go_on.set()
    first.join(30)
    assert torch.equal(results[0].images, alone[0])
    assert isinstance(results[1], BusyError)
    run(1, None)
    assert torch.equal(results[1].images, alone[1])


# ---------------------------------------------------------------- stock arguments


def test_image_to_image_passes_through():
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**SD1.fresh().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    image = torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))
    wanted = arguments(SD1, image=image, strength=0.5) | {"num_inference_steps": 6}
    del wanted["height"], wanted["width"]
    counted = []
    frames = interpolate(
        pipe, *PROMPTS, frames=3, config=FULL, progress=lambda *step: counted.append(step), **wanted
    ).images
    assert counted[-1] == (3, 3)
    alone = pipe(prompt=PROMPTS[1], generator=torch.Generator().manual_seed(0), **wanted).images[0]
    assert (frames[-1] - alone).abs().max() < 1e-4
    with pytest.raises(ValueError, match="takes no two seeds"):
        interpolate(pipe, *PROMPTS, seed=(0, 1), **wanted)
    with pytest.raises(ValueError, match="takes no height"):
        interpolate(pipe, *PROMPTS, height=PIXELS, **wanted)


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("sdxl", diffusers.StableDiffusionXLImg2ImgPipeline, {}),
        ("sd3", diffusers.StableDiffusion3Img2ImgPipeline, {"height": PIXELS, "width": PIXELS}),
        ("flux", diffusers.FluxImg2ImgPipeline, {"height": PIXELS, "width": PIXELS}),
        ("sd1", diffusers.StableDiffusionInpaintPipeline, {"height": PIXELS, "width": PIXELS, "mask": True}),
    ],
    ids=lambda value: getattr(value, "__name__", "") if isinstance(value, type) else "",
)
def test_pipelines_that_start_from_an_image_give_all_frames_the_same_noise(name, kind, more):
    """The VAE draws from a frame's generator before the noise does, so the image is given once per frame."""
    family = FAMILIES[name]
    pipe = kind(**family.fresh().components, **({"requires_safety_checker": False} if name == "sd1" else {}))
    pipe.set_progress_bar_config(disable=True)
    image = torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))
    wanted = arguments(family, image=image, strength=0.5) | {"num_inference_steps": 6}
    del wanted["height"], wanted["width"]
    wanted |= {key: value for key, value in more.items() if key != "mask"}
    if "mask" in more:
        wanted["mask_image"] = (torch.arange(PIXELS) > 8).float().expand(1, 1, PIXELS, PIXELS)
    frames = interpolate(pipe, *PROMPTS, frames=3, config=FULL, **wanted).images
    for index, prompt in ((0, PROMPTS[0]), (2, PROMPTS[1])):
        alone = pipe(prompt=prompt, generator=torch.Generator().manual_seed(0), **wanted).images[0]
        assert (frames[index] - alone).abs().max() < 1e-4
    with pytest.raises(ValueError, match="one for each of the 3 frames; got 2"):
        interpolate(pipe, *PROMPTS, frames=3, **wanted | {"image": torch.cat([image, image])})


def test_consistency_models_take_guidance_as_an_embedding():
    parts = sd1(time_cond_proj_dim=8).components
    parts["scheduler"] = diffusers.LCMScheduler.from_config(parts["scheduler"].config)
    pipe = diffusers.LatentConsistencyModelPipeline(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    wanted = arguments(SD1, guidance_scale=8.0) | {"guidance_scale": 8.0}
    del wanted["negative_prompt"]
    frames = interpolate(pipe, *PROMPTS, frames=3, config=FULL, **wanted).images
    alone = pipe(prompt=PROMPTS[1], generator=torch.Generator().manual_seed(0), **wanted).images[0]
    assert (frames[-1] - alone).abs().max() < 1e-4
    with pytest.raises(ValueError, match="this model takes none"):
        interpolate(pipe, *PROMPTS, negative_prompt="x", **wanted)


def test_controlnet_passes_through():
    pipe = with_controlnet(SD1.fresh())
    image = torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))
    wanted = arguments(SD1, image=image, controlnet_conditioning_scale=0.8)
    for mode in ("outer", "denoising"):
        frames = interpolate(pipe, *PROMPTS, frames=3, config=AIDConfig(mode=mode), **wanted).images
        alone = pipe(prompt=PROMPTS[1], generator=torch.Generator().manual_seed(0), **wanted).images[0]
        assert (frames[-1] - alone).abs().max() < 1e-4


def test_a_second_prompt_goes_to_the_second_encoder():
    family = FAMILIES["sdxl"]
    pipe, wanted = family.pipeline(), arguments(family)
    frames = interpolate(pipe, *PROMPTS, frames=3, prompt_2="style", **wanted).images
    alone = pipe(prompt=PROMPTS[1], prompt_2="style", generator=torch.Generator().manual_seed(0), **wanted).images[0]
    assert (frames[-1] - alone).abs().max() < 1e-4


# ---------------------------------------------------------------- results


@pytest.mark.parametrize("output_type", ["pil", "pt", "np", "latent"])
def test_output_types_are_those_of_the_stock_call(output_type):
    pipe, wanted = SD1.pipeline(), arguments(SD1) | {"output_type": output_type}
    made = interpolate(pipe, *PROMPTS, frames=3, config=TEI, chunk=100, **wanted).images
    assert len(made) == 3
    alone = pipe(prompt=PROMPTS[0], generator=torch.Generator().manual_seed(0), **wanted).images
    assert type(made) is type(alone)
    assert getattr(made[0], "shape", None) == getattr(alone[0], "shape", None)


@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3", "flux", "pixart_sigma"])
def test_pictures_are_bit_equal_to_a_stock_call_that_decodes_in_slices(name):
    """The two ends, with interpolation on for a third frame: one batch of the same shape, decoded one by one."""
    family = FAMILIES[name]
    pipe, wanted = family.fresh(), arguments(family, cfg=False)
    made = interpolate(pipe, *PROMPTS, frames=3, config=AIDConfig(warmup=1.0, impl="sdpa"), chunk=100, **wanted).images
    pipe.vae.enable_slicing()
    same = [torch.Generator().manual_seed(0) for _ in range(3)]
    each = [embed(pipe, prompt, None) for prompt in (PROMPTS[0], GUIDE, PROMPTS[1])]  # batches differ in last bits
    rows = {key: torch.cat([one[key] for one in each]) for key in each[0]}
    alone = pipe(**rows, generator=same, **wanted).images
    assert torch.equal(made[[0, 2]], alone[[0, 2]])


def test_the_same_call_gives_the_same_bits_and_settings_that_json_holds():
    pipe = SD1.pipeline()
    wanted = arguments(SD1, coefficients=BetaPrior(3, 3), seed=(1, 2), frames=5)
    first, second = (interpolate(pipe, *PROMPTS, config=FULL, **wanted) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert json.loads(json.dumps(first.settings)) == json.loads(json.dumps(second.settings))
    assert first.settings["arguments"]["coefficients"] == {"beta_prior": [3, 3]}
    assert first.settings["chunk_used"] == 10
    assert first.report.startswith("8 layers: sdpa 8")
    assert first.timings["denoise"] > 0
    assert first.coefficients == BetaPrior(3, 3).coefficients(5)
    assert len(first) == 5
    assert "5 frames" in repr(first)


def test_progress_counts_every_step():
    counted = []
    interpolate(
        SD1.pipeline(), *PROMPTS, frames=2, config=TEI, progress=lambda *step: counted.append(step), **arguments(SD1)
    )
    assert counted == [(done, STEPS) for done in range(STEPS + 1)]


def test_an_error_of_the_progress_callback_is_nobody_elses():
    def broken(done, total):
        raise ValueError(f"mine at {done} of {total}")

    with pytest.raises(ValueError, match=r"^mine at 0 of 3$"):
        interpolate(SD1.fresh(), *PROMPTS, progress=broken, **arguments(SD1))


def test_identical_prompts_are_allowed_and_said(caplog):
    with caplog.at_level(logging.WARNING):
        interpolate(SD1.pipeline(), "a", "a", frames=2, **arguments(SD1))
    assert "both prompts are 'a'" in caplog.text


@pytest.mark.parametrize("output_type", ["pt", "latent"])
def test_frames_that_are_not_finite_are_named(output_type):
    pipe = SD1.fresh()

    def overflow(module, inputs, output):
        output[0][[1, 5]] = torch.inf  # frame 1 of four, unconditional and conditional
        return output

    pipe.unet.register_forward_hook(overflow)
    with pytest.warns(FrameWarning, match=r"frame\(s\) 1 hold NaN"):
        made = interpolate(
            pipe, *PROMPTS, frames=4, config=TEI, chunk=100, **arguments(SD1) | {"output_type": output_type}
        )
    assert made.not_finite == (1,)


def test_frames_that_the_safety_checker_blacks_out_are_named():
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=tower, vision_config=tower | {"image_size": 16, "patch_size": 8}, projection_dim=8
    )
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.fill_(-2)  # every picture is far above the threshold
    extractor = transformers.CLIPImageProcessor(size=16, crop_size=16)
    pipe = diffusers.StableDiffusionPipeline(
        **SD1.fresh().components | {"safety_checker": checker, "feature_extractor": extractor}
    )
    pipe.set_progress_bar_config(disable=True)
    with pytest.warns(FrameWarning, match=r"frame\(s\) 0, 1, 2 were blacked out"):
        made = interpolate(pipe, *PROMPTS, frames=3, config=TEI, **arguments(SD1))
    assert made.flagged == (0, 1, 2)


def test_sound_frames_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error", FrameWarning)
        made = interpolate(SD1.pipeline(), *PROMPTS, frames=2, **arguments(SD1))
    assert made.faults == []

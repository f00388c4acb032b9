"""What people do with stock pipelines: other schedulers, several images, adapters, residuals, images to start from."""

import diffusers
import pytest
import torch

from aid_kernels import InterpolationPlan
from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.errors import ArgumentError
from tests.support import stock_pipelines, variations
from tests.support.families import FAMILIES, GUIDE, PIXELS, PROMPTS, StockFamily
from tests.support.oracle import Settings, oracle_frames
from tests.support.running import TOLERANCE, UNEVEN, distance, interpolated, stock

M = len(UNEVEN)
modes = pytest.mark.parametrize("mode", ["outer", "inner"])


def check(pipe, call, mode, negative_rows="front", oracle_pipe=None, oracle=None, far=1e-3, **fields):
    """AID against the oracle, in one batch and in chunks; endpoints bit-equal to stock. Returns the frames."""
    images = fields.get("num_images_per_prompt") or call.get("num_images_per_prompt", 1)
    settings = Settings(mode=mode, warmup=0.5)
    config = AIDConfig(mode=mode, warmup=0.5, impl="sdpa")
    plain = stock(pipe, call)
    frames = interpolated(pipe, call, UNEVEN, config, **fields)
    assert torch.equal(frames[:images], plain[:images])
    assert torch.equal(frames[-images:], plain[-images:])
    assert distance(frames, plain) > far, "attention interpolation changed nothing"
    expected = oracle_frames(
        oracle_pipe or pipe,
        call,
        UNEVEN,
        settings,
        negative_rows,
        steps=fields.get("num_steps"),
        images_per_prompt=images,
        **oracle or {},
    )
    assert distance(frames, expected) < TOLERANCE
    chunked = interpolated(pipe, call, UNEVEN, config, chunk=3, **fields)
    assert distance(chunked, frames) < 1e-4
    return frames


def generators(count=M):
    """Equal seeds: a stochastic scheduler must not add other noise to each frame."""
    return [torch.Generator().manual_seed(5) for _ in range(count)]


# ---------------------------------------------------------------- guidance, images per prompt


@modes
@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl"])
def test_guidance_rescale(name, mode):
    family = FAMILIES[name]
    pipe = family.pipeline()
    check(pipe, family.call(pipe, UNEVEN) | {"guidance_rescale": 0.7}, mode)


@modes
@pytest.mark.parametrize("name", ["sd1", "sdxl", "pixart_sigma"])
def test_two_images_per_prompt(name, mode):
    family = FAMILIES[name]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN)
    other = family.call(pipe, UNEVEN, seed=1)["latents"]
    call["latents"] = torch.stack([call["latents"], other], dim=1).flatten(0, 1)
    frames = check(pipe, call | {"num_images_per_prompt": 2}, mode, family.negative_rows)
    alone = interpolated(pipe, call | {"latents": other}, UNEVEN, AIDConfig(mode=mode, impl="sdpa"))
    assert distance(frames[1::2], alone) < TOLERANCE


@modes
@pytest.mark.parametrize("name", ["sd1", "sd3", "flux_true_cfg"])
def test_two_images_per_prompt_by_repeated_embeddings(name, mode):
    """Stock SD3 and FLUX do not repeat embeddings that they are given."""
    family = FAMILIES[name]
    pipe = family.pipeline()
    call = family.call(pipe, UNEVEN)
    embeds = call["prompt_embeds"]
    latents = [call["latents"], family.call(pipe, UNEVEN, seed=1)["latents"]]
    call = {key: _twice(value) if isinstance(value, torch.Tensor) else value for key, value in call.items()}
    call["latents"] = torch.stack(latents, dim=1).flatten(0, 1)
    check(pipe, call, mode, family.negative_rows, prompt_embeds=embeds, num_images_per_prompt=2)


def _twice(rows):
    return rows.repeat_interleave(2, dim=0)


# ---------------------------------------------------------------- more than two ends


@modes
@pytest.mark.parametrize("name", ["sdxl", "pixart_sigma"])
@pytest.mark.parametrize("plan", ["chain", "triangle"])
def test_three_ends_in_one_batch(name, mode, plan):
    """A -> B -> C is two sequences that share their middle; so is an edge-only walk around a triangle."""
    family = FAMILIES[name]
    pipe = family.pipeline()
    legs = [(0.0, 0.3, 1.0), (0.0, 0.6, 1.0)]
    first = family.call(pipe, legs[0], steps=2)
    second = family.call(pipe, legs[1], steps=2, prompts=(PROMPTS[1], GUIDE), seed=1)
    second["latents"][0] = first["latents"][2]
    call = {k: torch.cat([v, second[k][1:]]) if isinstance(v, torch.Tensor) else v for k, v in first.items()}
    weights = [[1, 0, 0], [0.7, 0.3, 0], [0, 1, 0], [0, 0.4, 0.6], [0, 0, 1]]
    chosen = {
        "chain": InterpolationPlan.keyframes([0.0, 0.3, 1.0, 1.6, 2.0]),
        "triangle": InterpolationPlan.barycentric(weights),
    }[plan]
    config = AIDConfig(mode=mode, warmup=1.0, impl="sdpa")
    settings = Settings(mode=mode, warmup=1.0)
    expected = [
        oracle_frames(pipe, leg, t, settings, family.negative_rows)
        for leg, t in zip((first, second), legs, strict=True)
    ]
    expected = torch.cat([expected[0], expected[1][1:]])
    for chunk in (None, 2, 3):
        frames = interpolated(pipe, call, range(5), config, plan=chosen, chunk=chunk)
        assert distance(frames, expected) < TOLERANCE, f"chunk={chunk}"


def test_a_batch_of_other_peoples_size():
    """Seven frames, other image size than the model's default, prompts swapped."""
    family = FAMILIES["sdxl"]
    pipe = family.pipeline()
    coefficients = [0.0, 0.1, 0.1, 0.4, 0.9, 0.95, 1.0]
    call = family.call(pipe, coefficients, prompts=("zinc", "a"), steps=2)
    call |= {"height": 16, "width": 32, "latents": torch.randn(7, 4, 8, 16, generator=torch.Generator().manual_seed(2))}
    frames = interpolated(pipe, call, coefficients, AIDConfig(warmup=1.0))
    expected = oracle_frames(pipe, call, coefficients, Settings(warmup=1.0), "front")
    assert distance(frames, expected) < TOLERANCE


# ---------------------------------------------------------------- schedulers


@modes
def test_heun_counts_a_step_once(mode):
    family = FAMILIES["sd1"]
    pipe = variations.with_heun(family.fresh())
    check(pipe, family.call(pipe, UNEVEN, steps=4), mode)


def test_flow_matching_heun():
    family = FAMILIES["sd3"]
    pipe = family.fresh()
    pipe.scheduler = diffusers.FlowMatchHeunDiscreteScheduler.from_config(pipe.scheduler.config)
    check(pipe, family.call(pipe, UNEVEN, steps=4), "outer")


@modes
@pytest.mark.parametrize("scheduler", ["PNDMScheduler", "UniPCMultistepScheduler", "EulerAncestralDiscreteScheduler"])
def test_other_schedulers(scheduler, mode):
    """PNDM asks twice at one timestep, too; ancestral Euler draws noise."""
    family = FAMILIES["sd1"]
    pipe = family.fresh()
    options = {"skip_prk_steps": True} if scheduler == "PNDMScheduler" else {}
    pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config, **options)
    call = family.call(pipe, UNEVEN, steps=4) | {"generator": generators()}
    check(pipe, call, mode)


@modes
def test_lcm_without_guidance(mode):
    family = FAMILIES["sd1"]
    pipe = variations.with_lcm(family.fresh())
    check(pipe, family.call(pipe, UNEVEN, cfg=False) | {"generator": generators()}, mode, negative_rows="none")


@modes
def test_lcm_with_guidance_as_an_embedding(mode):
    """`guidance_scale` > 1, yet no unconditional rows."""
    family = StockFamily("lcm", lambda: stock_pipelines.sd1(time_cond_proj_dim=8))
    pipe = variations.with_lcm(family.fresh())
    call = family.call(pipe, UNEVEN, cfg=False) | {"generator": generators(), "guidance_scale": 6.0}
    check(pipe, call, mode, negative_rows="none")


# ---------------------------------------------------------------- images to start from, residuals


@modes
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_image_to_image(mode, strength):
    family = FAMILIES["sd1"]
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**family.pipeline().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    call = family.call(pipe, UNEVEN, steps=5)
    for name in ("latents", "height", "width"):
        call.pop(name)
    image = torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(3)).expand(M, -1, -1, -1)
    call |= {"image": image.clone(), "strength": strength, "generator": generators()}
    check(pipe, call, mode, num_steps=int(5 * strength))


@modes
def test_controlnet_residuals(mode):
    """The ControlNet attends plainly; its residuals, one per row, are split as the rows are."""
    family = FAMILIES["sd1"]
    pipe = variations.with_controlnet(family.fresh())
    image = torch.rand(M, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(4))
    call = family.call(pipe, UNEVEN) | {"image": image}
    check(pipe, call, mode)


@modes
def test_controlnet_guess_mode(mode):
    """Residuals of the conditional rows only, zeros for the others."""
    family = FAMILIES["sd1"]
    pipe = variations.with_controlnet(family.fresh())
    image = torch.rand(M, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(4))
    check(pipe, family.call(pipe, UNEVEN) | {"image": image, "guess_mode": True}, mode)


# ---------------------------------------------------------------- adapters and fused projections


@modes
@pytest.mark.parametrize("name", ["sd1", "sdxl", "flux"])
def test_lora(name, mode):
    family = FAMILIES[name]
    pipe = variations.with_lora(family.fresh())
    call = family.call(pipe, UNEVEN)
    assert distance(stock(pipe, call), stock(family.pipeline(), call)) > 1e-3, "the LoRA does nothing"
    check(pipe, call, mode, family.negative_rows)


@modes
@pytest.mark.parametrize("name", ["sd1", "sdxl", "sd3_no_t5", "flux", "pixart_sigma"])
def test_fused_projections(name, mode):
    family = FAMILIES[name]
    pipe = family.fresh()
    family.denoiser(pipe).fuse_qkv_projections()
    check(pipe, family.call(pipe, UNEVEN), mode, family.negative_rows, oracle_pipe=family.pipeline())


@modes
def test_ip_adapter_with_one_image(mode):
    family = FAMILIES["sd1"]
    pipe = variations.with_ip_adapter(family.fresh())
    call = family.call(pipe, UNEVEN)
    embeds = torch.randn(2, 1, 24, generator=torch.Generator().manual_seed(6))
    check(pipe, call | {"ip_adapter_image_embeds": [embeds]}, mode)


@modes
@pytest.mark.parametrize("guided", [False, True], ids=["lerp", "guide"])
def test_ip_adapter_with_an_image_at_each_end(mode, guided):
    """Image morphing: per-frame image embeddings take the place of the stock call's."""
    family = FAMILIES["sd1"]
    pipe = variations.with_ip_adapter(family.fresh())
    call = family.call(pipe, UNEVEN, guide=GUIDE if guided else None)
    generator = torch.Generator().manual_seed(7)
    ends = torch.randn(2, 1, 24, generator=generator)
    per_frame = torch.stack([torch.lerp(ends[0], ends[1], t) for t in UNEVEN])
    call["ip_adapter_image_embeds"] = [torch.zeros(2, 1, 24)]
    config = AIDConfig(mode=mode, impl="sdpa")
    fields = {"image_embeds": [per_frame], "has_guide": guided}
    frames = interpolated(pipe, call, UNEVEN, config, **fields)
    expected = oracle_frames(pipe, call, UNEVEN, Settings(mode=mode), "front", image_embeds=[per_frame])
    assert distance(frames, expected) < TOLERANCE
    chunked = interpolated(pipe, call, UNEVEN, config, chunk=2, **fields)
    assert distance(chunked, frames) < 1e-4
    shuffled = oracle_frames(pipe, call, UNEVEN, Settings(mode=mode), "front", image_embeds=[per_frame.flip(0)])
    assert distance(shuffled, expected) > 20 * TOLERANCE


@pytest.mark.parametrize(("rows", "guidance_scale"), [(2 * M, 4.0), (4, 4.0), (M, 1.0)])
def test_an_image_per_frame_is_refused_where_stock_would_mix_rows_up(rows, guidance_scale):
    pipe = variations.with_ip_adapter(FAMILIES["sd1"].fresh())
    call = {"height": PIXELS, "width": PIXELS, "guidance_scale": guidance_scale, "frames": M}
    for images, said in ([torch.zeros(rows, 1, 24)], f"got {rows}"), (None, "pass ip_adapter_image"):
        with pytest.raises(ArgumentError, match=said):
            interpolate(pipe, *PROMPTS, ip_adapter_image_embeds=images, **call)


def test_every_layer_is_in_the_report():
    """A dual-attention SD3 block has two attentions; every layer of every family shows up in the report."""
    from aid_pipeline.attention.apply import apply_aid
    from tests.support.running import describe

    for family in FAMILIES.values():
        pipe = family.pipeline()
        call = family.call(pipe, UNEVEN)
        layers = [n for n, m in family.denoiser(pipe).named_modules() if hasattr(m, "processor")]
        handle = apply_aid(pipe, AIDConfig(impl="sdpa", warmup=1.0), describe(call, UNEVEN))
        try:
            stock(pipe, call)
            report = handle.report()
        finally:
            handle.remove()
        first, *lines = report.splitlines()
        assert first.startswith(f"{len(layers)} layers: sdpa {len(layers)}"), first
        assert all(any(layer in line for line in lines) for layer in layers)

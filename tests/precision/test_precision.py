"""What "auto" is on which processor, and a bfloat16 denoiser between parts in float32."""

import copy
import pickle

import pytest
import torch

from aid_pipeline import interpolate, load_model, precision
from aid_pipeline.precision import MIXED, cast_at_border, has_fast_bfloat16, recorded_dtype, usual_dtype

from ..support.families import FAMILIES

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["amx", "no amx"])
def amx(request, monkeypatch) -> bool:
    """A processor with AMX, or one with AVX512-BF16 alone."""
    flags = {"amx_bf16": request.param, "avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    return request.param


def test_auto_goes_by_amx_alone(amx):
    assert has_fast_bfloat16() is amx
    assert usual_dtype(CPU)[0] == (MIXED if amx else "float32")


@pytest.mark.parametrize(
    ("flags", "expected"), [("flags\t: fpu amx_bf16 amx_tile", True), ("flags : avx512_bf16", False)]
)
def test_the_kernel_is_asked_where_torch_does_not_say(flags, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "aarch64"}, raising=False)
    (tmp_path / "cpuinfo").write_text(flags + "\n")
    monkeypatch.setattr(precision, "_CPU_FLAGS", tmp_path / "cpuinfo")
    assert has_fast_bfloat16() is expected
    monkeypatch.setattr(precision, "_CPU_FLAGS", tmp_path / "none")
    assert not has_fast_bfloat16()


def test_only_the_denoiser_is_bfloat16(amx, miniature):
    pipe = load_model(str(miniature), device="cpu")
    assert pipe.unet.dtype == (torch.bfloat16 if amx else torch.float32)
    assert pipe.text_encoder.dtype == pipe.vae.dtype == torch.float32
    assert recorded_dtype(pipe) == (MIXED if amx else "float32")


def test_a_named_dtype_is_of_every_part(amx, miniature):
    for name in ("float32", "bfloat16"):
        pipe = load_model(str(miniature), device="cpu", dtype=name)
        assert {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {getattr(torch, name)}
        assert recorded_dtype(pipe) == name


def test_frames_are_near_those_in_float32():
    """The trained miniature; the scheduler works in float32, so errors are those of each prediction alone."""
    seen = []
    frames = {}
    for dtype in ("float32", MIXED):
        pipe = load_model(device="cpu", dtype=dtype)
        pipe.set_progress_bar_config(disable=True)

        def latents(pipe, step, timestep, values):
            seen.append(values["latents"].dtype)
            return values

        frames[dtype] = interpolate(
            pipe, "a red sphere", "a blue cube", frames=3, num_inference_steps=4, output_type="pt",
            callback_on_step_end=latents,
        ).images  # fmt: skip
    assert set(seen) == {torch.float32}
    difference = (frames[MIXED] - frames["float32"]).abs()
    assert 0 < difference.mean() < 2 / 255


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_runs_with_a_bfloat16_denoiser(name):
    family = FAMILIES[name]
    exact = family.fresh()
    pipe = family.fresh()
    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    denoiser.to(torch.bfloat16)
    cast_at_border(pipe)
    assert recorded_dtype(pipe) == MIXED
    given = dict(frames=3, height=16, width=16, num_inference_steps=2, output_type="latent") | family.extra
    expected, result = (interpolate(one, "a", "b", **given).images for one in (exact, pipe))
    assert result.dtype == torch.float32
    assert (result - expected).abs().max() < 0.1 * expected.abs().max()


def test_the_timestep_is_not_rounded():
    denoiser = FAMILIES["sd1"].fresh().unet
    exact = {}
    sample, text = torch.randn(2, 4, 8, 8), torch.randn(2, 7, denoiser.config.cross_attention_dim)
    denoiser.to(torch.bfloat16)
    for step in (981.0, 980.0):
        exact[step] = denoiser(sample.bfloat16(), step, text.bfloat16()).sample
    cast_at_border(type("Pipe", (), {"unet": denoiser}))
    output = denoiser(sample, torch.tensor(981.0), text).sample
    assert torch.equal(output, exact[981.0].float())
    assert not torch.equal(output, exact[980.0].float())


def _pickled(module):
    return pickle.loads(pickle.dumps(module))  # noqa: S301


def test_outputs_keep_their_kind_and_copies_their_own_module(miniature):
    pipe = load_model(str(miniature), device="cpu", dtype=MIXED)
    for unet in (pipe.unet, copy.deepcopy(pipe.unet), _pickled(pipe.unet)):
        unet.to(torch.float32)
        inputs = torch.zeros(1, unet.config.in_channels, 8, 8)
        text = torch.zeros(1, 4, unet.config.cross_attention_dim)
        named = unet(inputs, 1, text)
        (listed,) = unet(inputs, 1, encoder_hidden_states=text, return_dict=False)
        assert named.sample.dtype == torch.float32
        assert torch.equal(named.sample, listed)
    assert recorded_dtype(pipe) == "float32"

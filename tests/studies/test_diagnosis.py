"""The attention study against attention computed by hand."""

import json

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from aid_pipeline.cli.app import app
from aid_pipeline.errors import UnsupportedPipelineError
from aid_pipeline.spec import InterpolationSpec
from aid_pipeline.studies.diagnosis.replacement import ROWS, replaced_images
from tests.support.families import FAMILIES

pytest.importorskip("matplotlib")
between = InterpolationSpec.between


@pytest.fixture(scope="module")
def pipe():
    return FAMILIES["sd1"].fresh()


def stock(pipe, prompt: str, seed: int) -> torch.Tensor:
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    out = pipe(prompt, latents=noise, num_inference_steps=3, guidance_scale=4.0, output_type="pt")
    return out.images[0]


class Recorder:
    """Stock attention whose keys and values one row takes from another: the study by other means."""

    def __init__(self, target: int, source: int) -> None:
        self.target, self.source = target, source

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            states.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for states in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        key[self.target], value[self.target] = key[self.source].clone(), value[self.source].clone()
        weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
        return attn.to_out[0]((weights @ value).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("kind", ["self", "cross"])
def test_replaced_attention_is_the_other_images(pipe, kind):
    """Against a batch of a and b in which a's conditional row reads b's keys and values."""
    prompts, seeds = ("a red sphere", "the blue cube on sand"), (5, 9)
    images = replaced_images(pipe, between(*prompts, seed=seeds, num_inference_steps=3, guidance_scale=4.0))
    assert images.shape == (4, 3, 16, 16)
    for index in range(2):  # both originals are what the stock call makes
        torch.testing.assert_close(images[index], stock(pipe, prompts[index], seeds[index]), atol=1e-4, rtol=0)
    originals = {name: module.processor for name, module in pipe.unet.named_modules() if hasattr(module, "processor")}
    noise = torch.cat([torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    try:
        for module in pipe.unet.modules():
            if hasattr(module, "is_cross_attention") and module.is_cross_attention == (kind == "cross"):
                module.set_processor(Recorder(2, 3))  # rows: two unconditional ones, a, b
        out = pipe(list(prompts), latents=noise, num_inference_steps=3, guidance_scale=4.0, output_type="pt")
    finally:
        for name, module in pipe.unet.named_modules():
            if name in originals:
                module.set_processor(originals[name])
    found = images[ROWS.index(f"a, {kind} from b")]
    torch.testing.assert_close(found, out.images[0], atol=1e-4, rtol=0)
    assert (found - images[0]).abs().max() > 1e-3


def test_cross_attention_of_equal_noise_is_the_other_image(pipe):
    images = replaced_images(pipe, between("a", "b", seed=(4, 4), num_inference_steps=2))
    torch.testing.assert_close(images[ROWS.index("a, cross from b")], images[1], atol=1e-4, rtol=0)


def test_the_study_leaves_the_pipeline_as_it_was(pipe):
    before = {name: module.processor for name, module in pipe.unet.named_modules() if hasattr(module, "processor")}
    replaced_images(pipe, between("a", "b", seed=(1, 2), num_inference_steps=1, guidance_scale=1.0))
    after = {name: module.processor for name, module in pipe.unet.named_modules() if hasattr(module, "processor")}
    assert all(after[name] is processor for name, processor in before.items())
    assert not pipe.unet._forward_pre_hooks


def test_size_negative_prompt_and_stock_arguments_reach_the_images(pipe):
    """Both originals are what the stock call generates with the same arguments."""
    size, more = {"height": 24, "width": 16}, {"negative_prompt": "a grey box", "guidance_rescale": 0.5}
    call = {**size, **more, "num_inference_steps": 2, "guidance_scale": 4.0}
    images = replaced_images(pipe, between("a red sphere", "a blue cube", seed=(5, 9), **call))
    noise = torch.randn(1, 4, 12, 8, generator=torch.Generator().manual_seed(9))
    alone = pipe("a blue cube", latents=noise, output_type="pt", **call).images[0]
    torch.testing.assert_close(images[1], alone, atol=1e-4, rtol=0)


def test_other_families_are_refused():
    with pytest.raises(UnsupportedPipelineError, match="SD3Transformer2DModel does not have"):
        replaced_images(FAMILIES["sd3"].fresh(), between("a", "b", seed=(1, 2)))


def test_diagnose_on_the_command_line(miniature, tmp_path):
    small = ["--frames", "3", "--num-inference-steps", "1", "--noises", "2", "--guidance-scale", "1"]
    measured_by = ["--distance", f"miniature:{miniature}", "--model", str(miniature)]
    command = ["diagnose", "a red sphere", "a blue cube", "--out", str(tmp_path / "out"), *small, *measured_by]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    assert "not LPIPS" in document["distance"]
    assert {len(values) for values in document["replacement"].values()} == {2}
    assert set(document["profile"]["distances"]) == {"TEI", "AID-O, no Beta", "AID-I, no Beta"}
    for name in ("replacement", "profile", "images"):
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            image.load()
    for wrong, said in (
        (["--noises", "0"], "noises must be at least 1"),
        (["--warmup", "2"], "warmup"),
        (["--seed", "1,2"], "seed must be one number"),
        (["--seed", str(2**63 - 3)], "2**63 - 1"),
        (["--frames", "2"], "at least 3"),
    ):
        result = CliRunner().invoke(app, [*command, *wrong])
        assert result.exit_code == 2
        assert said in result.stderr

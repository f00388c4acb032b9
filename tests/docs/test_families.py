"""Calls of the page of families, each run as it stands there, with tiny models in place of the downloaded ones."""

import json
import re
from pathlib import Path

import diffusers
import pytest
import torch

import aid_pipeline
from aid_pipeline import AIDError
from tools.tiny_models.pipelines import make

PAGE = (Path(__file__).parents[2] / "docs/families.md").read_text("utf-8")
CALLS = dict(re.findall(r"^### (.+?)\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
NAMES = {title: re.search(r"diffusers\.(\w+)\.from_pretrained", call)[1] for title, call in CALLS.items()}
RECORDED = json.loads((Path(__file__).parents[2] / "docs/families.json").read_text("utf-8"))["classes"]
TINY = {"height": 64, "width": 64, "num_inference_steps": 2, "output_type": "latent", "chunk": 5}
# letters are the tiny tokenizers' tokens, so that a system message takes far more than a real one
TOKENS = {"FLUX.2": 512, "Lumina 2": 320, "Qwen-Image": 512}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    """Runs a call of the page; what it gives, the pipeline and the arguments."""

    def executed(title: str):
        name = NAMES[title]
        pipe, given = make(name), {}
        object.__setattr__(pipe, "to", lambda device: pipe)
        object.__setattr__(pipe, "enable_model_cpu_offload", lambda: None)

        def smaller(pipe, *prompts, **arguments):
            given.update({**arguments, **TINY})
            if title == "Sana":  # its sizes are otherwise those of the trained model
                given["use_resolution_binning"] = False
            if title in TOKENS:
                given["max_sequence_length"] = TOKENS[title]
            return aid_pipeline.interpolate(pipe, *prompts, **given)

        monkeypatch.setattr(getattr(diffusers, name), "from_pretrained", lambda *_, **__: pipe)
        space = {"diffusers": diffusers, "torch": torch, "interpolate": smaller}
        exec(CALLS[title], space)  # noqa: S102 the page's own code
        del given["frames"], given["chunk"]
        return space["sequence"], pipe, given

    return executed


def test_there_is_a_call_of_every_family_asked_for() -> None:
    assert set(CALLS) == {"FLUX.2", "Qwen-Image", "Z-Image", "Chroma", "Sana", "Lumina 2"}


@pytest.mark.parametrize("title", CALLS)
def test_a_call_of_the_page(run, title: str) -> None:
    try:
        sequence, pipe, given = run(title)
    except AIDError as refusal:
        if RECORDED[NAMES[title]]["status"] == "works":
            raise
        pytest.xfail(f"the table calls the class {RECORDED[NAMES[title]]['status']}: {refusal}")
    assert sequence.images.shape[0] == 7
    for frame, prompt in ((0, "a red sphere"), (-1, "the blue cube")):
        stock = pipe(prompt=prompt, generator=torch.Generator().manual_seed(0), **given)[0][0]
        assert torch.allclose(sequence.images[frame], stock, atol=1e-4 * max(1.0, float(stock.abs().max())))

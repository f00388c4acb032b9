"""The untrained parts are those that `architecture/` configures, and of the shipped model's kinds and sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aid_pipeline.miniature.components import ARCHITECTURE, new_clip, new_pipeline, new_tokenizer, new_unet, new_vae
from aid_pipeline.miniature.weights import MODEL_PATH

CONFIGURATIONS = sorted(path.relative_to(ARCHITECTURE).as_posix() for path in ARCHITECTURE.rglob("*.json"))


def read(path: Path) -> dict[str, object]:
    return json.loads(path.read_text("utf-8"))


@pytest.mark.skipif(not MODEL_PATH.is_dir(), reason="no weights are shipped yet")
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_shipped_model_has_this_architecture(name: str) -> None:
    wanted, shipped = read(ARCHITECTURE / name), read(MODEL_PATH / name)
    assert {key: shipped.get(key) for key in wanted} == wanted


def test_untrained_parts_make_a_stock_pipeline() -> None:
    from transformers import CLIPTextModel

    tokenizer = new_tokenizer()
    text_encoder = CLIPTextModel(new_clip(tokenizer).config.text_config)
    pipe = new_pipeline(tokenizer=tokenizer, text_encoder=text_encoder, unet=new_unet(), vae=new_vae())
    index = read(ARCHITECTURE / "model_index.json")
    assert type(pipe).__name__ == index["_class_name"]
    for name, part in pipe.components.items():
        assert part is None or [type(part).__module__.partition(".")[0], type(part).__name__] == index[name]
    latents = pipe("a red cube", num_inference_steps=1, output_type="latent").images
    assert latents.shape == (1, 12, 16, 16)

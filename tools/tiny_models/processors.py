"""Processors of prompts with images: a tokenizer, and an image as tokens in its text, without torchvision."""

from __future__ import annotations

from typing import Any

import transformers

from . import tokenizers

IMAGE = "<|image_pad|>"
MERGED = 2  # patches in a row that the vision model makes one token of


class Processor:
    """What pipelines call of a processor: texts to token ids, images to patches, chats to text.

    Args:
        tokenizer: of the texts.
        patch: side of a vision patch, in pixels.
    """

    image_token = IMAGE

    def __init__(self, tokenizer: Any, patch: int = 14) -> None:
        self.tokenizer = tokenizer
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE)
        side = patch * MERGED
        self.image_processor = transformers.Qwen2VLImageProcessorPil(
            patch_size=patch, merge_size=MERGED, min_pixels=side * side, max_pixels=4 * side * side
        )

    def __call__(self, text: Any = None, images: Any = None, videos: Any = None, **more: Any) -> Any:
        texts = [text] if isinstance(text, str) else list(text)
        seen: dict[str, Any] = {}
        if images is not None and (not isinstance(images, list) or images):
            seen = dict(self.image_processor(images=images, return_tensors="pt"))
            counts = iter((seen["image_grid_thw"].prod(-1) // MERGED**2).tolist())
            texts = [self._with_tokens(written, counts) for written in texts]
        more.pop("do_resize", None)
        return transformers.BatchFeature({**self.tokenizer(texts, **more), **seen})

    @staticmethod
    def _with_tokens(written: str, counts: Any) -> str:
        before, *rest = written.split(IMAGE)
        return before + "".join(IMAGE * next(counts) + part for part in rest)

    def apply_chat_template(self, *given: Any, **more: Any) -> Any:
        made = self.tokenizer.apply_chat_template(*given, **more)
        single = isinstance(made, list) and made and isinstance(made[0], int)
        return [made] if single else made  # processors answer for several chats, tokenizers for one

    def decode(self, *given: Any, **more: Any) -> Any:
        return self.tokenizer.decode(*given, **more)

    def batch_decode(self, *given: Any, **more: Any) -> Any:
        return self.tokenizer.batch_decode(*given, **more)


def qwen(name: str) -> Processor:
    """The processor of one of the Qwen vision models."""
    return Processor(tokenizers.qwen2(), patch=16 if "3" in name else 14)


def image(name: str, side: int = 32) -> Any:
    """An image processor by its class's name, for vision models of `side` pixels."""
    kind = getattr(transformers, name.removesuffix("Pil") + "Pil")
    if name.startswith("Siglip2"):
        return kind(patch_size=8, max_num_patches=(side // 8) ** 2)
    size = {"height": side, "width": side}
    return kind(size={"shortest_edge": side}, crop_size=size) if name.startswith("CLIP") else kind(size=size)

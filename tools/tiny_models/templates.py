"""Prompt templates of stock pipelines: how many tokens they drop of them, where a token is one letter."""

from __future__ import annotations

from typing import Any

START = "_start_idx"


def fit_templates(pipe: Any) -> None:
    """Count anew what a pipeline drops by a number of tokens, which holds for its own tokenizer alone."""
    readers = [getattr(pipe, name, None) for name in ("tokenizer", "processor", "text_processor")]
    tokenizer: Any = next((reader for reader in readers if reader is not None), None)
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
    for name in [name for name in vars(pipe) if name.endswith(START)]:
        prefix = name.removesuffix(START)
        names = (prefix, f"{prefix}_prefix", prefix.removesuffix("_encode"))
        template = next((getattr(pipe, name) for name in names if hasattr(pipe, name)), None)
        if isinstance(template, str):
            setattr(pipe, name, len(tokenizer(template.split("{}")[0]).input_ids))
    if hasattr(pipe, "prompt_template_encode_num_suffix_tokens"):
        suffix = tokenizer(pipe.prompt_template_encode_suffix).input_ids
        pipe.prompt_template_encode_num_suffix_tokens = len(suffix)
    if hasattr(pipe, "user_prompt_begin_id"):
        message = [{"role": "user", "content": f"{pipe.system_prompt}@"}]
        whole = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        pipe.user_prompt_begin_id = len(tokenizer(whole.split("@")[0]).input_ids)

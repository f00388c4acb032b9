"""Step caches of diffusers (first-block, TaylorSeer, MagCache, ...): hooks with state from one call to the next.

They compare or reuse whole batches, so a call split into chunks, or one without its endpoints, would read another
chunk's state. With one of them every call runs as one batch.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import ConfigError, UnsupportedPipelineError

HALVES_THE_BATCH = "FasterCache"  # leaves out the unconditional rows inside the denoiser


def step_caches(denoiser: nn.Module) -> list[str]:
    """Names of the step caches that are enabled on a denoiser, of each once."""
    hooks = [
        hook
        for module in denoiser.modules()
        for hook in getattr(getattr(module, "_diffusers_hook", None), "hooks", {}).values()
        if getattr(hook, "_is_stateful", False)
    ]
    if not hooks:
        return []
    config = getattr(denoiser, "_cache_config", None)
    names = [type(hook).__name__ for hook in hooks] if config is None else [type(config).__name__]
    return sorted({name.removesuffix("Config") for name in names})


def check_step_caches(denoiser: nn.Module, chunk: Any, batch: int, shares_endpoints: bool) -> None:
    """Refuse what a step cache of the denoiser would spoil.

    Args:
        chunk: rows per denoiser call at most; "auto" and None run the batch as one with a cache.
        batch: rows of the largest denoiser call.
        shares_endpoints: some calls leave the endpoints' rows out (`select="dynamic"`).

    Raises:
        ConfigError: chunks, or calls without endpoints.
        UnsupportedPipelineError: a cache that drops rows inside the denoiser.
    """
    caches = step_caches(denoiser)
    if not caches:
        return
    named = " and ".join(caches)
    off = f"{type(denoiser).__name__}.disable_cache() takes it off"
    if any(HALVES_THE_BATCH in name for name in caches):
        raise UnsupportedPipelineError(
            f"{named} leaves out unconditional rows inside the denoiser, so the frames cannot be followed; {off}"
        )
    if isinstance(chunk, int) and chunk < batch:
        raise ConfigError(
            f"{named} keeps state from one denoiser call to the next, so {batch} rows cannot run {chunk} at a time; "
            f'use chunk="auto", which runs them as one batch with a cache, or {off}'
        )
    if shares_endpoints:
        raise ConfigError(
            f"{named} keeps state from one denoiser call to the next, so calls cannot leave out the endpoints as "
            f'select="dynamic" does; use select="bayes" or none, or {off}'
        )

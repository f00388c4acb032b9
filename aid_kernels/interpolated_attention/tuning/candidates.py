"""Candidates of a bucket: the stock recipe's routes, the kernel's static configuration and its nearest neighbours."""

from __future__ import annotations

from dataclasses import replace

from .choice import CallBucket, Choice
from .files import launchable, same_order
from .routes import offers_routes
from .tile_sizes import MAX_UNROLLED, LaunchConfig, default_mix, static_config

# every one is compiled on the user's machine, a second or two each
MOST_NEIGHBOURS = 2
# of a thread: so many let two programs be resident on Hopper, for heads of at most so many columns
TWO_FIT, NARROW_HEAD = 128, 64
# columns of a head up to which the split loops of descriptors spill little: 128 columns spill 368 bytes
WIDEST_DESCRIBED = 64
# queries up to which half the rows of a program may pay
FEW_QUERIES = 512
# bank lengths around `MAX_FUSED_KEYS` at which both ways to mix are tried
EITHER_MIX = range(65, 513)


def stock_candidates(bucket: CallBucket, standard: str) -> list[Choice]:
    """The routes of `sdpa` that can serve a bucket, the standard one first."""
    routes = ["merged", "concatenated"] if offers_routes(bucket.mode, bucket.masked, bucket.fuse_self) else ["merged"]
    return [Choice("sdpa", route=route) for route in sorted(routes, key=lambda route: route != standard)]


def triton_candidates(bucket: CallBucket, target: str, agreed: LaunchConfig | None = None) -> list[Choice]:
    """The kernel as it is launched where nothing is tuned, then its most promising neighbours.

    Args:
        target: the chip, as `target_of` names it.
        agreed: configuration of a bucket that differs in the number of sources alone. Only candidates that add in the
            same order are left: batch invariance.
    """
    many = bucket.mode == "outer" and max(1, bucket.sources) > MAX_UNROLLED
    itemsize = 4 if bucket.dtype == "float32" else 2
    static = static_config(
        target, itemsize, bucket.head_dim, many=many, masked=bucket.masked, inner=bucket.mode == "inner",
        queries=bucket.query_length, keys=max(bucket.key_length, bucket.bank_length),
    )  # fmt: skip
    special = [] if itemsize == 4 or many or bucket.masked else _special(bucket, target, static)
    neighbours = [config for config in special + _neighbours(bucket, static) if config != static]
    configs = [static, *neighbours[:MOST_NEIGHBOURS]]
    if agreed is not None:
        registers = 0 if many else agreed.registers
        shared = replace(agreed, slices=static.slices, num_stages=static.num_stages, registers=registers)
        configs = [shared, *(config for config in configs if config != shared and same_order(config, agreed))]
    if bucket.mode == "outer":
        return [Choice("triton", config) for config in configs]
    usual = default_mix(bucket.query_length, bucket.bank_length)
    choices = [Choice("triton", config, usual) for config in configs]
    if bucket.bank_length in EITHER_MIX:
        choices.append(Choice("triton", configs[0], "before" if usual == "fused" else "fused"))
    return choices


def _special(bucket: CallBucket, target: str, static: LaunchConfig) -> list[LaunchConfig]:
    """What one chip alone has, for one or two sources without masks: more accumulators, or a mask, would spill."""
    if target == "sm_90" and bucket.mode == "outer" and static.num_warps == 8 and bucket.head_dim <= NARROW_HEAD:
        block_n = min(64, static.block_n)
        return [replace(static, block_n=block_n, num_stages=3, pad=True, registers=TWO_FIT)]
    if target == "sm_100" and static.num_warps == 8 and bucket.head_dim <= WIDEST_DESCRIBED:
        return [replace(static, block_n=64, slices=1, pad=True, descriptors=True)]
    return []


def _neighbours(bucket: CallBucket, static: LaunchConfig) -> list[LaunchConfig]:
    """One step from the static configuration, the most promising first, as far as a file may hold them."""
    deeper = replace(static, num_stages=static.num_stages + 1)
    narrower = replace(static, block_n=static.block_n // 2, num_stages=max(3, static.num_stages))
    shorter = replace(static, block_m=static.block_m // 2, num_warps=max(1, static.num_warps // 2))
    few = bucket.query_length <= FEW_QUERIES
    ideas = [shorter, deeper, narrower] if few else [deeper, narrower, shorter]
    return [config for config in dict.fromkeys(ideas) if config != static and launchable(config)]

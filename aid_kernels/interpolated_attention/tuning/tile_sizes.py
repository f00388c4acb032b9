"""Static configurations: tiles and launch options of every chip where nothing is tuned; plain data, without Triton.

Batch invariance: `block_n` and `tail` fix the order of a row's sums, so they follow from the chip, the dtype, head_dim,
masks and lengths, never from how many rows or sources a batch has.
`python -m benchmarks.compile_report` compiles every line.
"""

from __future__ import annotations

from dataclasses import dataclass

TARGETS = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", "gfx942")
INTERPRETER = "interpreter"
# inner attention mixes a bank of at most this many keys in the attention kernel itself, README "Inner", where rows
# have at most so many queries: every block of queries mixes all keys again, waiting for each load
MAX_FUSED_KEYS = 128
MAX_FUSED_QUERIES = 128
# a call whose segments all have at most this many keys loads them in blocks of SHORT_BLOCK, each checked for its end
MAX_SHORT_KEYS = 128
SHORT_BLOCK = 32
# rows of at most this many queries are taken by 64, so that more multiprocessors have work
FEW_QUERIES = 512
# blocks of at least this many keys on Hopper leave so many over that tails of 32 pay
WIDE_BLOCK = 64
# rows of at most this many terms have them unrolled, which keeps one accumulator less alive
MAX_UNROLLED = 2
# keys that a program of the mixing kernel makes
LERP_BLOCK = 64


@dataclass(frozen=True)
class Tiles:
    """The tile constants of one specialisation of the kernel.

    Attributes:
        head_dim: D.
        key_main, key_rest: widths of the tiles that cover D in Q K^T; rest 0: one tile.
        value_dim: output columns of one program.
        value_main, value_rest: widths of the tiles that cover `value_dim`.
        slices: programs that share a block of queries, each with `value_dim` columns of its own.
        block_m, block_n: queries and keys of a block.
        tail: keys of a block past the last whole one.
        short: every block may hold the end of its segment, and there is no tail.
        descriptors: keys and values are read by tensor descriptors, in loops whose work is split among warps.
        upcast: multiply in float32, for the interpreter alone.
    """

    head_dim: int
    key_main: int
    key_rest: int
    value_dim: int
    value_main: int
    value_rest: int
    slices: int
    block_m: int
    block_n: int
    tail: int
    short: bool
    descriptors: bool
    upcast: bool


@dataclass(frozen=True)
class FittedConfig:
    """A `LaunchConfig` fitted to a head size: tiles, warps per program, depth of the pipeline of loads, registers."""

    tiles: Tiles
    num_warps: int
    num_stages: int
    registers: int


@dataclass(frozen=True)
class LaunchConfig:
    """How to launch the kernel, as a tuner may choose it.

    Attributes:
        block_m, block_n, slices: as in `Tiles`.
        num_warps, num_stages: as in `FittedConfig`.
        widest: no tile is wider than this.
        pad: cover a head by one power of two, not by two tiles.
        registers: a thread has at most so many, so that more programs are resident; 0 means the compiler's choice.
        descriptors: as in `Tiles`, where the call allows it; a head of at most 128 columns, padded, in one slice.
    """

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int
    slices: int = 1
    widest: int = 256
    pad: bool = False
    registers: int = 0
    descriptors: bool = False


@dataclass(frozen=True)
class _Line:
    """A line of a chip's table, for heads of up to `width` columns; first match wins."""

    width: int
    block_m: int
    block_n: int
    num_warps: int
    num_stages: int
    slices: int = 1
    many_slices: int = 1  # where the number of sources is a run-time one: one accumulator more is alive
    widest: int = 256
    pad: bool = False
    registers: int = 0  # of rows with one or two sources: others hold more
    masked_keys: int = 0  # block_n where a mask is given, which takes registers; 0: half of block_n, 16 at least


def default_mix(query_length: int, bank_length: int) -> str:
    """When inner attention mixes a bank's keys: "before" the attention kernel, or "fused" into it."""
    return "before" if bank_length > MAX_FUSED_KEYS or query_length > MAX_FUSED_QUERIES else "fused"


def kernel_mode(mode: str, query_length: int, bank_length: int, mix: str | None = None) -> str:
    """The attention kernel's MODE: "outer", "inner_premixed" or "inner_fused".

    Args:
        mode: "outer" or "inner".
        query_length: queries of a row.
        bank_length: keys of a bank entry.
        mix: inner only, "before" or "fused"; None means `default_mix`.
    """
    if mode == "outer":
        return "outer"
    return {"before": "inner_premixed", "fused": "inner_fused"}[mix or default_mix(query_length, bank_length)]


def split(width: int, widest: int = 256, pad: bool = False) -> tuple[int, int]:
    """Widths of the one or two power-of-two tiles, each from 16 to `widest`, that cover `width` columns.

    With `pad` two only where one would be over `widest`.
    """
    whole = max(16, 1 << (width - 1).bit_length())
    main = max(16, 1 << (width.bit_length() - 1))
    rest = max(16, 1 << max(0, width - main - 1).bit_length())
    if not pad and main < width and main + rest < whole:
        return main, rest
    return (whole // 2, whole // 2) if whole > widest else (whole, 0)


def is_short(keys: int) -> bool:
    """Whether a call whose longest segment has so many keys takes them in short blocks."""
    return keys <= MAX_SHORT_KEYS


def configure(
    target: str, itemsize: int, head_dim: int, *, many: bool, masked: bool, inner: bool, queries: int, keys: int
) -> FittedConfig:
    """The fitted configuration where nothing is tuned; arguments as in `static_config`."""
    config = static_config(
        target, itemsize, head_dim, many=many, masked=masked, inner=inner, queries=queries, keys=keys
    )
    return fit(target, head_dim, config, keys)


def static_config(
    target: str, itemsize: int, head_dim: int, *, many: bool, masked: bool, inner: bool, queries: int, keys: int
) -> LaunchConfig:
    """The configuration for a chip of TARGETS or the interpreter where nothing is tuned.

    Args:
        itemsize: bytes of an element of the inputs.
        many: rows have a run-time number of sources rather than one or two.
        masked: a mask is given.
        inner: inner attention, which keeps one accumulator less alive.
        queries: of a row.
        keys: of the longest segment.
    """
    table = _INTERPRETER if target == INTERPRETER else (_HALF if itemsize == 2 else _FLOAT)[target]
    if itemsize == 2:
        first = _SHORT if is_short(keys) else _INNER if inner else {}
        table = (*first.get(target, ()), *table)
    line = next(line for line in table if head_dim <= line.width)
    block_n = (line.masked_keys or max(16, line.block_n // 2)) if masked else line.block_n
    halves = queries <= FEW_QUERIES and target in _HALVES and (line.block_m, line.num_warps) == (128, 8)
    return LaunchConfig(
        line.block_m // 2 if halves else line.block_m,
        min(block_n, SHORT_BLOCK) if is_short(keys) else block_n,
        line.num_warps // 2 if halves else line.num_warps,
        line.num_stages,
        line.many_slices if many else line.slices,
        line.widest,
        line.pad,
        0 if many else line.registers,
    )


def fit(target: str, head_dim: int, config: LaunchConfig, keys: int) -> FittedConfig:
    """A configuration with its tiles for a head of `head_dim` columns; `keys` of the longest segment."""
    # slices start in even steps of multiples of 8 columns, and are wide enough to leave no gap
    value_dim = head_dim - (config.slices - 1) * (head_dim // (8 * config.slices) * 8)
    tiles = Tiles(
        head_dim,
        *split(head_dim, config.widest, config.pad),
        value_dim,
        *split(value_dim, config.widest, config.pad),
        config.slices,
        config.block_m,
        config.block_n,
        tail=32 if target == "sm_90" and config.block_n >= WIDE_BLOCK else 16,
        short=is_short(keys) or config.descriptors,
        descriptors=config.descriptors,
        upcast=target == INTERPRETER,
    )
    return FittedConfig(tiles, config.num_warps, config.num_stages, config.registers)


# chips on which half a program is as good as a whole one to the tensor cores
_HALVES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_120")
_INTERPRETER = (_Line(128, 64, 32, 1, 1), _Line(256, 64, 32, 1, 1, slices=2, many_slices=2))

# width, block_m, block_n, num_warps, num_stages, slices, many_slices
_MMA_SYNC = (
    _Line(64, 64, 64, 4, 3),
    _Line(96, 128, 32, 8, 3, 1, 2, masked_keys=32),
    _Line(128, 128, 32, 8, 3, 1, 2),
    _Line(160, 128, 32, 8, 2, 2, 4, masked_keys=32),
    _Line(256, 128, 16, 8, 2, 2, 4),
)
_HALF = {
    "sm_80": _MMA_SYNC,
    "sm_86": _MMA_SYNC,
    "sm_89": _MMA_SYNC,
    "sm_90": (
        _Line(48, 128, 128, 8, 3, 1, 2),
        _Line(64, 128, 128, 8, 3),
        # 128 keys would be a sixth faster for one or two sources, but spill or take two slices for more
        _Line(80, 128, 64, 8, 3, masked_keys=64),
        _Line(128, 128, 64, 8, 3, 1, 2, masked_keys=64),
        _Line(160, 128, 32, 8, 3, 1, 2, masked_keys=32),
        _Line(256, 128, 32, 8, 3, 2, 4, masked_keys=32),
    ),
    "sm_100": (
        _Line(64, 128, 64, 8, 2, masked_keys=64),
        _Line(128, 128, 64, 8, 2, 1, 2),
        _Line(160, 128, 32, 8, 2, 2, 2, masked_keys=32),
        _Line(256, 128, 16, 8, 2, 2, 4),
    ),
    # here the third line as it stands spills 32 bytes
    "sm_120": (*_MMA_SYNC[:2], _Line(128, 128, 16, 8, 2, 1, 2), *_MMA_SYNC[3:]),
    "gfx942": (
        _Line(64, 128, 64, 4, 2),
        _Line(128, 128, 32, 8, 2, 1, 2),
        _Line(160, 64, 32, 4, 2, 2, 2),
        _Line(256, 64, 32, 4, 1, 2, 4),
    ),
}
# for short keys, before the lines above: at most 128 registers let two programs be resident, and one tile has one wait
_SHORT = {"sm_90": (_Line(64, 128, 32, 8, 3, pad=True, registers=128, masked_keys=32),)}
# for inner attention to longer ones: two programs are resident, which hide each other's exponentials and products
_INNER = {"sm_90": (_Line(64, 128, 64, 8, 3, pad=True, masked_keys=64),)}
# IEEE products without a matrix unit hold a tile's whole width in registers, so tiles are narrow
_FMA = (
    _Line(64, 32, 32, 4, 2),
    _Line(128, 16, 32, 8, 1, widest=64),
    _Line(256, 16, 16, 8, 1, 2, 2, widest=128),
)
_FLOAT = dict.fromkeys(TARGETS, _FMA) | {
    "gfx942": (_Line(64, 64, 32, 4, 1), _Line(128, 64, 32, 4, 1), _Line(256, 64, 16, 4, 1, 2, 4)),
}

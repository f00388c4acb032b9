"""Choices: which implementation serves a bucket of calls and how it is launched, to and from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ...constants import IMPLEMENTATIONS, MODES
from ..inputs import AttentionInputs
from .files import DTYPES, MIXES, launch_config
from .tile_sizes import LaunchConfig

# how `sdpa` treats the two segments of a fused call: attended to apart and merged, or their keys concatenated
ROUTES = ("merged", "concatenated")


@dataclass(frozen=True)
class CallBucket:
    """Calls that share one choice. A GPU's lengths are rounded up to powers of two; how many
    rows there are does not count, so that chunks agree.

    Attributes:
        mode: "outer" or "inner".
        dtype: "float16", "bfloat16", "float32" or "float64".
        device: "cpu" or the GPU's name; another device's type.
        head_dim: D.
        query_length, key_length, bank_length: of a row; rounded up on a GPU.
        sources: J, the plan's slots.
        masked: a mask is given.
        fuse_self: interpolated rows attend to their own keys too.
    """

    mode: str
    dtype: str
    device: str
    head_dim: int
    query_length: int
    key_length: int
    bank_length: int
    sources: int
    masked: bool
    fuse_self: bool

    @staticmethod
    def of(mode: str, inputs: AttentionInputs, device: str) -> CallBucket:
        """The bucket of a call on a device of that name."""
        query = inputs.query
        # on the CPU a rule decides by the very lengths
        rounded = int if device == "cpu" else _rounded
        return CallBucket(
            mode=mode,
            dtype=str(query.dtype).removeprefix("torch."),
            device=device,
            head_dim=query.shape[3],
            query_length=rounded(query.shape[2]),
            key_length=rounded(inputs.key.shape[2]),
            bank_length=rounded(inputs.bank_key.shape[2]),
            sources=inputs.plan.num_sources,
            masked=inputs.masked,
            fuse_self=bool(inputs.fuse_self),
        )

    @staticmethod
    def from_json(item: Any) -> CallBucket:
        """Raises ValueError on anything but what `asdict` makes of a bucket."""
        if not isinstance(item, Mapping) or set(item) != {field.name for field in fields(CallBucket)}:
            raise ValueError(f"a bucket must be an object of {_names(CallBucket)}, got {item!r}")
        for name, kind in {field.name: field.type for field in fields(CallBucket)}.items():
            if type(item[name]).__name__ != kind:
                raise ValueError(f"a bucket's {name} must be of type {kind}, got {item[name]!r}")
        if item["mode"] not in MODES or item["dtype"] not in (*DTYPES, "float64"):
            raise ValueError(f"a bucket of mode {item['mode']!r} and dtype {item['dtype']!r} does not exist")
        return CallBucket(**item)

    def siblings(self, other: CallBucket) -> bool:
        """Whether the two differ in the number of sources and in `fuse_self` alone."""
        return asdict(self) | dict(sources=0, fuse_self=False) == asdict(other) | dict(sources=0, fuse_self=False)

    def doublings(self, other: CallBucket) -> int | None:
        """How far apart the lengths of two buckets are; None where anything else differs."""
        lengths = ("query_length", "key_length", "bank_length")
        one, two = asdict(self), asdict(other)
        if any(one[name] != two[name] for name in one if name not in lengths):
            return None
        return max(abs(one[name].bit_length() - two[name].bit_length()) for name in lengths)

    def __str__(self) -> str:
        lengths = f"{self.query_length} x {self.key_length}"
        if self.bank_length != self.key_length:
            lengths += f" + {self.bank_length}"
        notes = ["" if self.fuse_self else ", not fused", ", masked" if self.masked else ""]
        return f"{self.mode}, {self.dtype}, head_dim {self.head_dim}, {lengths}, {self.sources} sources{''.join(notes)}"


@dataclass(frozen=True)
class Choice:
    """An implementation and its configuration.

    Attributes:
        implementation: "triton", "hopper", "sdpa" or "reference".
        config: tiles and options, of "triton" alone; None means the tuned or static ones.
        mix: of "triton" and inner alone: keys mixed "before" the attention kernel or "fused" into it; None: by length.
        route: of "sdpa" alone, one of `ROUTES`; None means the one of the static rule.
    """

    implementation: str
    config: LaunchConfig | None = None
    mix: str | None = None
    route: str | None = None

    @staticmethod
    def from_json(item: Any) -> Choice:
        """Raises ValueError on anything but what `to_json` makes of a choice."""
        if not isinstance(item, Mapping) or set(item) != {field.name for field in fields(Choice)}:
            raise ValueError(f"a choice must be an object of {_names(Choice)}, got {item!r}")
        implementation, config, mix, route = (item[field.name] for field in fields(Choice))
        for name, value, choices in (
            ("implementation", implementation, IMPLEMENTATIONS),
            ("mix", mix, (None, *MIXES)),
            ("route", route, (None, *ROUTES)),
        ):
            if value not in choices:
                raise ValueError(f"a choice's {name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
        if implementation != "triton" and (config is not None or mix is not None):
            raise ValueError(f"{implementation} takes no config and no mix")
        return Choice(implementation, None if config is None else launch_config(config, "a choice"), mix, route)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        if self.implementation != "triton":
            return f"{self.implementation} {self.route}" if self.route else self.implementation
        if self.config is None:
            return "triton"
        tiles = f"{self.config.block_m}x{self.config.block_n}"
        text = f"triton {tiles}, {self.config.num_warps} warps, {self.config.num_stages} stages"
        text += f", {self.config.slices} slices" if self.config.slices > 1 else ""
        text += f", tiles <= {self.config.widest}" if self.config.widest < 256 else ""
        text += f", {self.config.registers} registers" if self.config.registers else ""
        text += ", descriptors" if self.config.descriptors else ""
        return text + (", padded" if self.config.pad else "") + (f", mix {self.mix}" if self.mix else "")


def _rounded(length: int) -> int:
    return 1 << max(0, length - 1).bit_length()


def _names(cls: type) -> str:
    return ", ".join(field.name for field in fields(cls))

"""Specification of one sequence: every argument with its default, its check, and its form in JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Self

from .coefficients import BetaPrior, frame_coefficients, given_coefficients
from .config import DEFAULT_GUIDANCE, DEFAULT_STEPS, AIDConfig
from .errors import ArgumentError, ConfigError, PromptError
from .keyframes import Keyframe, RealEnds, as_keyframe, as_keyframes
from .selection.settings import Selection, as_selection

if TYPE_CHECKING:
    from torch import Tensor

    from .conditioning.prompts import Prompts


class _DefaultCount(int):
    """A count that nobody gave, so that another argument may decide it; 7 as a default is then not the 7 of a user."""


DEFAULT_FRAMES = _DefaultCount(7)  # or as many as there are coefficients
LARGEST = 10**300  # of a number that is an argument; above, a float is infinite
MOST_STEPS = 10_000  # schedulers list all of them before the first
# arguments of `interpolate` or of the class beside its fields; the stock call is not given them
NOT_STOCK = ("pipe", "prompt_a", "prompt_b", "real_a", "real_b", "progress", "keyframes", "stock")
_OF_REAL_ENDS = tuple(entry.name for entry in fields(RealEnds))  # given as stock arguments, if there are such ends
SIZE_DIVISOR = 8  # of height and width, in pixels; every stock call asks that, some models more


@dataclass(frozen=True, eq=False)
class InterpolationSpec:
    """Everything that decides a sequence, but the model: the arguments of `interpolate`, checked.

    Args:
        keyframes: what the first and the last frame show.
        frames: m, both endpoints included. Left out, it follows from the number of `coefficients`.
        config: how to interpolate; None means `AIDConfig()`.
        stock: arguments that the stock call takes and `interpolate` does not name.

    The others are those of `interpolate`. `guide`, `negative_prompt` and `coefficients` become tuples where they are
    several values, `select` a `Selection`. A field with a "help" in its metadata is an option of `aid interpolate` too.

    Raises:
        AIDError: all that can be said of the values before a pipeline is there. `ConfigError`, `ArgumentError`,
            `CoefficientsError`, `PromptError`, `LatentsError`, `SelectionError` name the value.
    """

    keyframes: tuple[Keyframe, ...]
    frames: int = field(default=DEFAULT_FRAMES, metadata={"help": "How many, both endpoints included."})
    config: AIDConfig = field(default_factory=AIDConfig)
    guide: str | tuple[str, ...] | None = field(
        default=None, metadata={"help": "Text of the interior frames; once, or once per such frame."}
    )
    coefficients: BetaPrior | tuple[float, ...] | None = field(
        default=None, metadata={"help": 'Where the frames lie, such as "0,0.3,0.5,0.7,1".'}
    )
    latents: Tensor | None = field(
        default=None, metadata={"help": "safetensors file with the noise of both endpoints, or of all frames."}
    )
    seed: int | tuple[int, int] = field(default=0, metadata={"help": 'Of the noise; "0,1" for one per endpoint.'})
    chunk: int | Literal["auto"] = field(
        default="auto", metadata={"help": "Rows per denoiser call, or auto; less needs less memory."}
    )
    num_inference_steps: int = field(default=DEFAULT_STEPS, metadata={"help": "Denoising steps."})
    guidance_scale: float = field(default=DEFAULT_GUIDANCE, metadata={"help": "Strength of the prompts; 1 is off."})
    negative_prompt: str | tuple[str, str] | None = field(
        default=None, metadata={"help": "What to avoid; once, or once per endpoint."}
    )
    height: int | None = field(default=None, metadata={"help": "Pixels; default: the model's."})
    width: int | None = field(default=None, metadata={"help": "Pixels; default: the model's."})
    output_type: str = "pil"
    select: Selection | None = field(
        default=None, metadata={"help": "Choose the spacing by what the frames look like: dynamic or bayes."}
    )
    stock: Mapping[str, Any] = field(
        default_factory=dict, metadata={"help": "Another argument of the pipeline, NAME=JSON; may be repeated."}
    )

    def __post_init__(self) -> None:
        self._normalise()
        from .conditioning.latents import check_latents
        from .sampling.stock_arguments import check_numbers
        from .selection.checks import check_selection

        if len(self.keyframes) != 2:
            raise PromptError(f"a sequence lies between two keyframes, got {len(self.keyframes)}")
        if not isinstance(self.config, AIDConfig):
            raise ConfigError(f"config must be an AIDConfig, got {self.config!r}; for example AIDConfig(mode='outer')")
        for name in ("num_inference_steps", "guidance_scale", "output_type", "chunk"):
            _check_single(name, getattr(self, name))
        check_numbers(self.num_inference_steps, self.guidance_scale, self.output_type, self.chunk)
        if self.num_inference_steps > MOST_STEPS:
            raise ArgumentError(
                f"num_inference_steps must be at most {MOST_STEPS}, got {self.num_inference_steps}; {DEFAULT_STEPS} "
                "will do"
            )
        for name in ("height", "width"):
            _check_size(name, getattr(self, name))
        _check_stock(self.stock, {*self.names(), *NOT_STOCK})
        self.frame_coefficients()
        self.prompts()
        self.seeds()
        self.real_ends()
        check_latents(self.latents, self.frames)
        if self.select is not None:
            image = self.stock.get("image")
            check_selection(
                self.select, self.frames, self.coefficients, self.latents, self.guide, self.output_type, image
            )
        if self.config.mode == "denoising" and self.guide is not None:
            raise PromptError('mode="denoising" changes from one prompt to the other and reads no guide; leave it out')

    def _normalise(self) -> None:
        values = {
            "keyframes": as_keyframes(self.keyframes),
            "config": AIDConfig() if self.config is None else self.config,
            "guide": _texts(self.guide),
            "negative_prompt": _texts(self.negative_prompt),
            "coefficients": given_coefficients(self.coefficients),
            "seed": tuple(self.seed) if isinstance(self.seed, list) else self.seed,
            "select": as_selection(self.select),
            "stock": dict(self.stock) if isinstance(self.stock, Mapping) else self.stock,
        }
        if isinstance(self.frames, _DefaultCount):  # and stays one, for a copy with other coefficients
            given = values["coefficients"]
            values["frames"] = _DefaultCount(len(given)) if isinstance(given, tuple) else DEFAULT_FRAMES
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def between(cls, prompt_a: str | Keyframe, prompt_b: str | Keyframe, **arguments: Any) -> Self:
        """The specification with two prompts or keyframes and the other arguments of `interpolate`, by name."""
        own = {name: arguments.pop(name) for name in cls.names() if name in arguments}
        ends = as_keyframe("prompt_a", prompt_a), as_keyframe("prompt_b", prompt_b)
        return cls(keyframes=ends, **own, stock=arguments)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the arguments beside the prompts and the stock call's own."""
        return tuple(entry.name for entry in fields(cls) if entry.name not in ("keyframes", "stock"))

    @classmethod
    def from_json(cls, arguments: dict[str, Any], config: dict[str, Any], latents: Tensor | None = None) -> Self:
        """The specification of the "arguments" and "config" of a `sequence.json`.

        Args:
            arguments: with images in place of their files' names.
            latents: the tensor of the file that "latents" names.

        Raises:
            KeyError: a prompt is missing.
            TypeError, AttributeError: a value that is no argument's.
            AIDError: as the class itself.
        """
        values = dict(arguments)
        if isinstance(values.get("coefficients"), dict):
            values["coefficients"] = BetaPrior.from_json(values["coefficients"])
        if isinstance(values.get("select"), dict):
            values["select"] = Selection.from_json(values["select"])
        values |= {"config": AIDConfig(**config), "latents": latents}
        ends = [Keyframe(values.pop(f"prompt_{end}"), values.pop(f"real_{end}", None)) for end in "ab"]
        return cls.between(*ends, **values)

    def to_json(self) -> dict[str, Any]:
        """The "arguments", "unrecorded" and "config" of a `sequence.json`; "unrecorded" names what JSON cannot hold."""
        from .io.provenance import recorded_arguments

        recorded, unrecorded = recorded_arguments(self.arguments())
        return {"arguments": recorded, "unrecorded": unrecorded, "config": asdict(self.config)}

    def arguments(self) -> dict[str, Any]:
        """Arguments of `interpolate` by name, stock ones too; the latents as the name of their file."""
        from .io.end_images import REAL_IMAGES, recorded_image
        from .io.provenance import LATENTS_FILE

        ends = zip(REAL_IMAGES, self.keyframes, strict=True)
        real = {name: recorded_image(name, end.real) for name, end in ends if end.real is not None}
        first, last = self.keyframes
        values = {name: getattr(self, name) for name in self.names() if name != "config"}
        values["frames"] = int(self.frames)  # what is recorded is asked for, whoever reads it
        values["latents"] = None if self.latents is None else LATENTS_FILE
        return {"prompt_a": first.prompt, "prompt_b": last.prompt, **real, **values, **self.stock}

    def frame_coefficients(self) -> tuple[float, ...]:
        """t of every frame, before any selection."""
        return frame_coefficients(self.coefficients, self.frames)

    def prompts(self) -> Prompts:
        """The texts of all frames."""
        from .conditioning.prompts import check_prompts
        from .io.file_names import check_no_files

        first, last = self.keyframes
        ends = {"prompt_a": first, "prompt_b": last}
        may_be_empty = [name for name, end in ends.items() if end.real is not None]
        texts = (first.prompt, last.prompt, self.guide, self.negative_prompt)
        prompts = check_prompts(*texts, self.frames, may_be_empty)
        check_no_files({"prompt_a": prompts.first, "prompt_b": prompts.last})
        return prompts

    def seeds(self) -> tuple[int, int]:
        """Seeds of the first and the last frame's noise."""
        from .conditioning.latents import check_seed

        return check_seed(self.seed)

    def real_ends(self) -> RealEnds | None:
        """How real images are at the ends; None means that there are none.

        Raises:
            ArgumentError: a wrong value, or latents beside the images, which decide the noise.
        """
        if all(keyframe.real is None for keyframe in self.keyframes):
            return None
        if self.latents is not None:
            raise ArgumentError("latents and real images both say what the frames start from; leave latents out")
        real = RealEnds(**{name: self.stock[name] for name in _OF_REAL_ENDS if name in self.stock})
        if real.keep_ends == "file" and self.output_type == "latent":
            raise ArgumentError('keep_ends="file" needs images, got output_type="latent"; use keep_ends="vae"')
        return real

    def stock_arguments(self) -> dict[str, Any]:
        """`stock` without what is of real images."""
        own = () if self.real_ends() is None else _OF_REAL_ENDS
        return {name: value for name, value in self.stock.items() if name not in own}

    def stock_call(self) -> dict[str, Any]:
        """Arguments of the stock call that do not depend on the frames."""
        named = {name: getattr(self, name) for name in ("num_inference_steps", "guidance_scale")}
        sizes = {name: getattr(self, name) for name in ("height", "width") if getattr(self, name) is not None}
        return {**self.stock_arguments(), **named, **sizes}


def _check_single(name: str, value: Any) -> None:
    """Raise ArgumentError for an array, whose comparison is not one answer, and for a number that no float holds."""
    if hasattr(value, "shape") or (isinstance(value, int) and not -LARGEST <= value <= LARGEST):
        raise ArgumentError(f"{name} must be a single value, up to {LARGEST:g}, got {value!r}")


def _check_size(name: str, value: Any) -> None:
    """Raise ArgumentError for a side that no pipeline takes; None means the model's own."""
    if value is None:
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < 1 or value % SIZE_DIVISOR:
        number = whole or (isinstance(value, float) and math.isfinite(value))
        near = max(1, round(value / SIZE_DIVISOR)) * SIZE_DIVISOR if number and value > 0 else 512
        raise ArgumentError(f"{name} must be a multiple of {SIZE_DIVISOR} pixels, got {value!r}; try {near}")


def _check_stock(stock: Any, own: set[str]) -> None:
    """Check what can be said of the stock call's arguments before there is a pipeline.

    Args:
        own: names that are no argument of the stock call.

    Raises:
        ArgumentError: no mapping, a name that is not the stock call's to give, NaN or infinity.
    """
    from .sampling.stock_arguments import ONE_PER_PROMPT, SET_HERE

    if not isinstance(stock, Mapping):
        raise ArgumentError(f'stock must be arguments of the stock call by name, such as {{"eta": 0.5}}, got {stock!r}')
    for name, value in stock.items():
        if not isinstance(name, str):
            raise ArgumentError(f'stock takes names of arguments, such as "eta", got {name!r}')
        if name in own:
            raise ArgumentError(f"stock is for arguments of the pipeline, got {name}={value!r}; pass {name} by itself")
        if name in SET_HERE and not (name in ONE_PER_PROMPT and value == 1):
            raise ArgumentError(f"interpolate sets {name} itself, got {value!r}; {SET_HERE[name]}")
        _check_finite(name, value)


def _check_finite(name: str, value: Any) -> None:
    """Raise ArgumentError for NaN or infinity, on its own or among others."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ArgumentError(f"{name} must be a finite number, got {value!r}")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_finite(f"{name}[{key!r}]", inner)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check_finite(f"{name}[{index}]", inner)


def _texts(value: Any) -> Any:
    """Several texts as a tuple, so that an iterator is read once; anything else as it is, to be checked."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return (value,) if getattr(value, "ndim", 1) == 0 else tuple(value)  # an array of one number is not iterable

"""What `interpolate` does on one pipeline class: frames against stock calls, chunks, modes, guide and two seeds."""

from __future__ import annotations

import functools
import inspect
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import diffusers
import torch
from torch import Tensor

from aid_pipeline import AIDConfig, AIDError, interpolate

from .calls import STEPS, arguments

A, B, GUIDE = "a red sphere", "the blue cube", "a jade cone"
FRAMES = 4
WHOLE = 1000  # rows a call: one batch
CLOSE = 1e-4  # of the larger of 1 and the largest value of the stock frames
EXACT = 1e-5  # in float64
MOVED = 1e-7
NAMED = ("height", "width", "guidance_scale", "num_inference_steps")
OUTPUTS = ("latent", "pt", "np")


class NotTried(Exception):
    """The stock pipeline itself gives nothing to compare with."""


def try_class(name: str) -> dict[str, Any]:
    """The record of one class: "status" is "works", "refused", "wrong", "error" or "not tried"."""
    warnings.simplefilter("ignore")
    record = _try_class(name, torch.float32)
    if record["status"] == "wrong":  # a family may be less exact: what float32 rounds is not in float64
        exact = _try_class(name, torch.float64)
        return {**exact, "float64": True} if exact["status"] == "works" else record
    return record


def _try_class(name: str, dtype: torch.dtype) -> dict[str, Any]:
    try:
        stock = StockCalls(name, dtype)
    except NotTried as reason:
        return {"status": "not tried", "why": str(reason)}
    record: dict[str, Any] = {"output": stock.output_type}
    try:
        whole = stock.frames()
    except Exception as error:  # noqa: BLE001 every exception is a row of the table
        return record | _failure(error)
    record |= _outer(stock, whole)
    record["checks"] = {check: _tried(functools.partial(function, stock, whole)) for check, function in _CHECKS.items()}
    faulty = [check for check, word in record["checks"].items() if word.startswith(("wrong", "error"))]
    if record["status"] == "works" and faulty:
        first = record["checks"][faulty[0]]
        record |= {"status": first.split(":")[0], "why": f"{faulty[0]}: {first}"}
    return record


class StockCalls:
    """A tiny pipeline, its stock frames of both prompts, and `interpolate` on it with the same arguments.

    Raises:
        NotTried: it cannot be built, its stock call fails, or its frames do not depend on the prompt.
    """

    def __init__(self, name: str, dtype: torch.dtype = torch.float32) -> None:
        from tools.tiny_models.pipelines import make

        cls = getattr(diffusers, name)
        self.taken = inspect.signature(cls.__call__).parameters
        self.call = arguments(name, cls)
        self.close = CLOSE if dtype == torch.float32 else EXACT
        try:
            self.pipe = make(name).to(dtype)
        except Exception as error:
            raise NotTried(f"no tiny model: {_said(error)}") from error
        for output_type in OUTPUTS:
            self.output_type = output_type
            try:
                self.ends = {0: (self.stock(A), self.stock(B))}
                break
            except Exception as error:
                if output_type == OUTPUTS[-1]:
                    raise NotTried(f"the stock call: {_said(error)}") from error
        first, last = self.ends[0]
        if not torch.isfinite(first).all() or not torch.isfinite(last).all():
            raise NotTried("the tiny stock model's values are not finite")
        self.scale = max(1.0, float(first.abs().max()), float(last.abs().max()))
        if first.shape == last.shape and self.gap(first, last) < MOVED:
            raise NotTried("the tiny stock model does not show the prompt")

    def stock(self, prompt: Any, seed: int = 0, **more: Any) -> Tensor:
        """Frame of one prompt by the stock call alone; of several as one batch."""
        count = len(prompt) if isinstance(prompt, list) else 1
        generators = [torch.Generator().manual_seed(seed) for _ in range(count)]
        call = self.call | {"output_type": self.output_type, "prompt": prompt}
        call["generator"] = generators if count > 1 else generators[0]
        torch.manual_seed(0)  # some encode an image with noise that no generator reaches
        call = {argument: value for argument, value in {**call, **more}.items() if argument in self.taken}
        with torch.no_grad():
            made = as_tensor(self.pipe(**call))
        return made if count > 1 else made[0]

    def frames(self, mode: Any = "outer", **more: Any) -> Tensor:
        config = AIDConfig(mode=mode, warmup=1.0, impl="sdpa")
        given: dict[str, Any] = {"frames": FRAMES, "chunk": WHOLE, "output_type": self.output_type, "config": config}
        torch.manual_seed(0)
        made = interpolate(self.pipe, A, B, **given | self.call | more)
        return as_tensor(made)

    def draws_in_steps(self) -> bool:
        """Whether the scheduler draws noise in its steps: the generator is elsewhere after more of them."""
        states = []
        for steps in (STEPS - 1, STEPS):
            generator = torch.Generator().manual_seed(0)
            try:
                self.stock(A, generator=generator, num_inference_steps=steps)
            except ValueError:  # a distilled model's, which are few and draw
                return True
            states.append(generator.get_state())
        return not torch.equal(*states)

    def gap(self, frame: Tensor, other: Tensor) -> float:
        """Largest difference, of the stock frames' size; infinite where the shapes differ."""
        if frame.shape != other.shape:
            return float("inf")
        return float((frame.double() - other.double()).abs().max()) / self.scale

    def at_ends(self, frames: Tensor, seeds: tuple[int, int] = (0, 0)) -> float:
        """How far the first and the last frame are from the stock call's, each of its seed."""
        for seed in seeds:
            if seed not in self.ends:
                self.ends[seed] = (self.stock(A, seed), self.stock(B, seed))
        return max(self.gap(frames[0], self.ends[seeds[0]][0]), self.gap(frames[-1], self.ends[seeds[1]][1]))


def as_tensor(output: Any) -> Tensor:
    """Frames of a stock call, or of a sequence, one row a frame."""
    for name in ("images", "frames", "videos", "image_embeds", "image_embeddings"):
        value = getattr(output, name, None)
        if value is not None and not callable(value):
            break
    else:
        value = output[0]
    if isinstance(value, list | tuple):
        value = torch.stack([torch.as_tensor(item) for item in value])
    return torch.as_tensor(value).detach().double()


def _outer(stock: StockCalls, whole: Tensor) -> dict[str, Any]:
    """Status of mode "outer" in one batch."""
    gap = stock.at_ends(whole)
    moved = stock.gap(whole[1:-1], stock.frames("none")[1:-1])
    found = {"endpoints": gap, "moved": moved}
    if not torch.isfinite(whole).all():
        return {"status": "wrong", "why": "frames are not finite", **found}
    if gap > stock.close:
        batch = stock.at_ends(stock.stock([A, B]))
        found["stock_batch"] = batch
        if batch < gap / 2:
            return {"status": "wrong", "why": f"endpoints differ from the stock call by {gap:.1e}", **found}
    if moved < MOVED:
        return {"status": "wrong", "why": 'interior frames are those of mode "none"', **found}
    return {"status": "works", "why": "", **found}


def _chunks(stock: StockCalls, whole: Tensor) -> str:
    gap = max(stock.gap(stock.frames(chunk=chunk), whole) for chunk in (1, 2))
    return "yes" if gap <= stock.close else f"wrong: frames differ from one batch by {gap:.1e}"


def _mode(mode: str, stock: StockCalls, whole: Tensor) -> str:
    frames = stock.frames(mode)
    gap = stock.at_ends(frames)
    if gap > max(stock.close, 2 * stock.at_ends(whole)):
        return f"wrong: endpoints differ from the stock call by {gap:.1e}"
    if mode != "none" and stock.gap(frames[1:-1], whole[1:-1]) < MOVED:
        return "wrong: the same frames as outer"
    return "yes"


def _guide(stock: StockCalls, whole: Tensor) -> str:
    frames = stock.frames(guide=GUIDE)
    gap = stock.at_ends(frames)
    if gap > max(stock.close, 2 * stock.at_ends(whole)):
        return f"wrong: endpoints differ from the stock call by {gap:.1e}"
    return "yes" if stock.gap(frames[1:-1], whole[1:-1]) > MOVED else "wrong: the guide changes nothing"


def _seeds(stock: StockCalls, whole: Tensor) -> str:
    frames = stock.frames(seed=(0, 1))
    if stock.draws_in_steps():  # from the first seed, so the last frame is no stock call's
        gap = stock.gap(frames[0], stock.ends[0][0])
        moved = stock.gap(frames[-1], whole[-1])
        return (
            "yes" if gap <= max(stock.close, 2 * stock.at_ends(whole)) and moved > MOVED else "wrong: no second noise"
        )
    gap = stock.at_ends(frames, (0, 1))
    if gap > max(stock.close, 2 * stock.at_ends(whole)):
        return f"wrong: endpoints differ from the stock calls of their seeds by {gap:.1e}"
    return "yes"


_CHECKS: dict[str, Callable[[StockCalls, Tensor], str]] = {
    "chunk": _chunks,
    "inner": functools.partial(_mode, "inner"),
    "none": functools.partial(_mode, "none"),
    "denoising": functools.partial(_mode, "denoising"),
    "guide": _guide,
    "two seeds": _seeds,
}


def _tried(check: Callable[[], str]) -> str:
    """What a check says: "yes", or "refused", "wrong" or "error" with the reason."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 every exception is a word of the table
        failure = _failure(error)
        return f"{failure['status']}: {failure['why']}"


def _failure(error: Exception) -> dict[str, Any]:
    return {"status": "refused" if isinstance(error, AIDError) else "error", "why": _said(error)}


def _said(error: BaseException) -> str:
    """Class and message of an exception on one line, and where it was raised unless it is one of the package's."""
    message = " ".join(str(error).split())[:300]
    if isinstance(error, AIDError):
        return f"{type(error).__name__}: {message}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {message} (in {last.filename.rsplit('/', 1)[-1]}, {last.name})"

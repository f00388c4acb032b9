"""Trace of what a tree computes: ATen operations in their order, and the bits that come out. Run as a script in it.

`python -P trace.py WORKLOAD OUT OPERATOR.json` with the tree in PYTHONPATH. Imports nothing but torch and the public
names `aid_kernels` and `aid_pipeline`, which every tree has.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# the tensor, or the number in it, as it is: nothing computed
HANDED_ON = ("resolve_conj", "resolve_neg", "detach", "alias", "lift_fresh", "item", "_local_scalar_dense")
PROMPTS = ("a red sphere", "a blue cube")
FIGURES = ("machine", "versions", "seconds", "timings", "folder", "created")  # of a record: no figure is under these


class Operations(TorchDispatchMode):
    """Hands a line for every ATen operation to `write`, with shapes, strides and dtypes, inside other operators too.

    Operations on whole numbers alone (a plan's checks, timesteps) are left to the bits of the results.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self.write = write

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace in ("aten", "prims"):
            values = [*args, *kwargs.values()]
            if func.overloadpacket.__name__ not in HANDED_ON and not (_of_whole_numbers(values) or _on_meta(values)):
                # the default dtype by name is the default dtype
                told = {name: value for name, value in kwargs.items() if value is not torch.get_default_dtype()}
                self.write(f"{func} {_told(args)} {_told(told)}")
            return func(*args, **kwargs)
        if any(isinstance(one, Tensor) and one.device.type != "cpu" for one in args):
            return func(*args, **kwargs)
        with self:  # what an operator of ours does inside; its own name and signature may change
            return func.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), *args, **kwargs)


def _on_meta(values: list[Any]) -> bool:
    """A question about a form, not a computation."""
    devices = [one.device if isinstance(one, Tensor) else one for one in values]
    return any(isinstance(device, torch.device) and device.type == "meta" for device in devices)


def _of_whole_numbers(values: list[Any]) -> bool:
    tensors = [one for value in values for one in (value if isinstance(value, list | tuple) else [value])]
    dtypes = {one.dtype for one in tensors if isinstance(one, Tensor)}
    return bool(dtypes) and all(not dtype.is_floating_point and dtype != torch.bool for dtype in dtypes)


def _told(value: Any) -> str:
    """An argument as it decides the result, tensors by their form."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}{list(value.stride())}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_told, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_told(one)}' for name, one in value.items())}}}"
    plain = bool | int | float | str | torch.dtype | torch.device | torch.layout | torch.memory_format
    return str(value) if value is None or isinstance(value, plain) else type(value).__name__


# -- workloads: each yields the name and the bytes of every result, its operations traced meanwhile -------------------


def operator(traced: Operations, measured: Path) -> Iterator[tuple[str, bytes]]:
    """The stock implementation on the committed cases, then with masks, banks, other plans and scales."""
    from aid_kernels import InterpolationPlan

    for entry in json.loads(measured.read_text("utf-8"))["cases"]:
        case = entry["case"]
        draw = _draws(case["heads"], case["head_dim"], getattr(torch, case["dtype"]), case["transposed"])
        inputs = [draw(case["frames"], case[f"{which}_length"]) for which in ("query", "key", "key")]
        plan = InterpolationPlan.sequence(torch.linspace(0, 1, case["frames"]))
        yield entry["title"], _stock(traced, case["mode"], *inputs, plan)
    draw, two = _draws(2, 40, torch.float32, True), InterpolationPlan.sequence([0, 1])
    plans = {
        "sequence": InterpolationPlan.sequence([0, 0.2, 0.7, 1]),
        "chain": InterpolationPlan.keyframes([0, 0.5, 1, 2]),
        "two users": InterpolationPlan.concat([two, two]),
    }
    inputs, bank = [draw(4, 33), draw(4, 29), draw(4, 29)], (draw(4, 21), draw(4, 21))
    mask, bank_mask = torch.arange(29).expand(4, -1) < 23, torch.arange(21).expand(4, -1) < 17
    more: tuple[dict[str, Any], ...] = ({}, {"key_mask": mask}, {"bank": bank}, {"scale": 0.3})
    more += ({"bank": bank, "bank_mask": bank_mask}, {"bank": bank, "bank_mask": bank_mask, "key_mask": mask})
    for name, mode, fused, added in itertools.product(plans, ("outer", "inner"), (True, False), more):
        result = _stock(traced, mode, *inputs, plans[name], fuse_self=fused, **added)
        yield f"{name}, {mode}, fuse_self={fused}, {', '.join(added) or 'plain'}", result


def sequence(traced: Operations, measured: Path) -> Iterator[tuple[str, bytes]]:
    """Short sequences of the miniature, in both modes, whole and in chunks that share a bank."""
    from aid_pipeline import AIDConfig, interpolate, load_model

    pipe = load_model("miniature", device="cpu", dtype="float32")
    call: dict[str, Any] = {"frames": 4, "seed": 0, "num_inference_steps": 2, "output_type": "pt"}
    chunks: tuple[dict[str, Any], ...] = ({}, {"chunk": 3})
    for mode, more in itertools.product(("outer", "inner"), chunks):
        with traced:
            sequence = interpolate(pipe, *PROMPTS, config=AIDConfig(mode=mode, warmup=0.5), **call | more)
        yield f"{mode}, {more}", _bits(sequence.images)


def selection(traced: Operations, measured: Path) -> Iterator[tuple[str, bytes]]:
    """Coefficients chosen dynamically, in two rounds and in more. Loads its distance, in any order: results alone."""
    from aid_pipeline import Selection, interpolate, load_model

    pipe = load_model("miniature", device="cpu", dtype="float32")
    call: dict[str, Any] = {"frames": 5, "seed": 0, "num_inference_steps": 2, "output_type": "pt"}
    for per_round in (None, 2):
        sequence = interpolate(pipe, *PROMPTS, select=Selection(per_round=per_round), **call)
        yield f"per_round={per_round}", _bits(sequence.images) + repr(list(sequence.coefficients)).encode()


def comparison(traced: Operations, measured: Path) -> Iterator[tuple[str, bytes]]:
    """The paper's methods side by side, and figures of three sequences, by the commands: results alone, likewise."""
    short = ["--frames", "4", "--num-inference-steps", "2", "--device", "cpu", "--dtype", "float32"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _command("compare", *PROMPTS, "--out", str(place / "compare"), "--seed", "0", *short)
        yield "aid compare", (place / "compare" / "comparison.png").read_bytes()
        lines = ["prompt_a,prompt_b,seed", *(f"{','.join(PROMPTS)},{seed}" for seed in range(3))]
        (place / "prompts.csv").write_text("\n".join(lines) + "\n")
        measures = ["--no-plots", "--resamples", "3", "--beta", "3,3"]
        _command("evaluate", str(place / "prompts.csv"), "--out", str(place / "evaluate"), *measures, *short)
        record = json.loads((place / "evaluate" / "evaluation.json").read_text("utf-8"))
        yield "aid evaluate", "\n".join(sorted(set(_figures(record)))).encode()


WORKLOADS = {"operator": operator, "sequence": sequence, "selection": selection, "comparison": comparison}


def _draws(heads: int, head_dim: int, dtype: torch.dtype, transposed: bool) -> Callable[[int, int], Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(rows: int, length: int) -> Tensor:
        tensor = torch.randn(rows, length, heads, head_dim, generator=generator).to(dtype).transpose(1, 2)
        return tensor if transposed else tensor.contiguous()

    return draw


def _stock(traced: Operations, mode: str, *inputs: Any, **more: Any) -> bytes:
    from aid_kernels import inner_attention, outer_attention

    with traced:
        result = (outer_attention if mode == "outer" else inner_attention)(*inputs, impl="sdpa", **more)
    return _bits(result)


def _bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()


def _command(*words: str) -> None:
    """The command `aid` in this process, whatever it prints kept back unless it fails."""
    said, before = io.StringIO(), sys.argv
    sys.argv = ["aid", *words]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            runpy.run_module("aid_pipeline", run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if error.code:
            raise RuntimeError(f"aid {' '.join(words)} failed: {said.getvalue()[-500:]}") from error
    finally:
        sys.argv = before


def _figures(record: Any) -> Iterator[str]:
    """Every number of a record that a measurement gave, without where it stands, which may be renamed."""
    if isinstance(record, dict):
        for name, value in record.items():
            if name not in FIGURES:
                yield from _figures(value)
    elif isinstance(record, list):
        for value in record:
            yield from _figures(value)
    elif isinstance(record, float):
        yield repr(record)


def main(workload: str, out: str, measured: str) -> None:
    """Write the trace: a line for each operation, and after those of each result its digest."""
    torch.set_num_threads(1)
    with Path(out).open("w", encoding="utf-8") as file:
        traced = Operations(lambda line: file.write(line + "\n"))
        for name, content in WORKLOADS[workload](traced, Path(measured)):
            file.write(f"-> {name}: {hashlib.sha256(content).hexdigest()}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

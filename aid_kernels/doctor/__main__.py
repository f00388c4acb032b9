"""Command `python -m aid_kernels.doctor`: checks and measures this machine, fills the cache, writes one file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from . import MODELS, examine, page

DTYPES = ("float32", "float16", "bfloat16")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m aid_kernels.doctor", description=__doc__)
    parser.add_argument("--model", choices=MODELS, action="append", help="may be given several times; default: all")
    parser.add_argument("--dtype", choices=DTYPES, help="default: bfloat16 on a GPU, float32 on the CPU")
    parser.add_argument("--out", type=Path, default=Path("aid-doctor.json"), help="file to attach to a report")
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = getattr(torch, options.dtype or ("float32" if device.type == "cpu" else "bfloat16"))
    shapes = [shape for model in options.model or MODELS for shape in MODELS[model]]
    found = examine(shapes, device, dtype, say=lambda line: print(f"  {line} ...", flush=True))
    print(page(found))
    options.out.write_text(json.dumps(found.to_json() | {"page": page(found).splitlines()}, indent=1) + "\n")
    print(f"Attach {options.out} to a report.")


if __name__ == "__main__":
    main()

"""Made-up entries of a file of tuned configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aid_kernels.interpolated_attention.tuning.files import file_name
from benchmarks.pretended_gpu import GPU

CONFIG = dict(block_m=16, block_n=16, num_warps=4, num_stages=2, slices=1, widest=256, pad=False)


def entry(**changes: Any) -> dict[str, Any]:
    made = dict(mode="outer", dtype="bfloat16", head_dim=64, query_length=4096, key_length=4096, sources=2)
    return made | dict(masked=False, auto="triton", triton_ms=1.0, sdpa_ms=1.5, config=dict(CONFIG)) | changes


def content(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return dict(format=1, gpu=GPU, smoke=False, machine={}, entries=list(entries)) | changes


def write(folder: Path, *entries: dict[str, Any], **changes: Any) -> Path:
    path = folder / file_name(GPU)
    path.write_text(json.dumps(content(*entries, **changes)))
    return path

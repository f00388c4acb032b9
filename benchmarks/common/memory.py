"""Peak memory of a call on the CPU, counted from every allocation that PyTorch reports."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch.profiler import ProfilerActivity, profile


def peak_extra_bytes(call: Callable[[], object]) -> int:
    """Most bytes of CPU tensors alive at once on top of what was alive before `call`, its result included.

    PyTorch's allocator tells the profiler of every allocation and release, workspaces inside ops included; their
    running sum has an exact peak. Resident memory has not: freed pages stay, and untouched ones never show.
    """
    call()  # what is allocated once and kept does not count
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = call()
    del result
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    # Device Type 0 is the CPU; Bytes is negative for a release
    memory = [event for event in events if event.get("name") == "[memory]" and event["args"]["Device Type"] == 0]
    alive = peak = 0
    for event in sorted(memory, key=lambda event: event["ts"]):
        alive += event["args"]["Bytes"]
        peak = max(peak, alive)
    return peak

"""`python -m benchmarks.sequence_cpu`: denoising whole sequences on the miniature, against the public code's schedule.

Both make the same frames from the same noise and are checked against each other before they are timed, in turns, in one
process. Then the peak memory of a long and a short sequence at one chunk size. Writes sequence.json and sequence.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from aid_pipeline import AIDConfig, interpolate
from aid_pipeline.config import DEFAULT_GUIDANCE, DEFAULT_STEPS
from aid_pipeline.miniature import MODEL_PATH, load
from benchmarks.common import machine, sources
from benchmarks.common.memory import peak_extra_bytes
from benchmarks.common.result_files import CPU
from benchmarks.denoiser import public_schedule
from benchmarks.sequence import proportions

PROMPTS = ("a red sphere", "a blue cube")
STEPS, GUIDANCE, CHUNK = DEFAULT_STEPS, DEFAULT_GUIDANCE, 8
CASES = ((7, 0.5), (7, 1.0), (15, 0.5))  # frames, warm-up
TARGETS = {7: 2.0, 15: 2.6}  # how many times faster than the public schedule, at least
MEMORY_FRAMES, MEMORY_TARGET = (8, 64), 1.15
MEMORY_LINES = {
    "the process": "process_bytes",
    "weights and tensors alone": "tensor_bytes",
    "Stable Diffusion 1.5, weights and tensors": "large_bytes",
    "Stable Diffusion 1.5, tensors without weights": "large_activation_bytes",
    "SDXL in proportion, weights and tensors": "sdxl_bytes",
    "SDXL in proportion, tensors without weights": "sdxl_activation_bytes",
    "FLUX in proportion, weights and tensors": "flux_bytes",
    "FLUX in proportion, tensors without weights": "flux_activation_bytes",
}
SAME = 2e-3  # largest difference of the two schedules' latents, in their standard deviations: fp32 over 25 steps


def pipeline() -> tuple[Any, str]:
    """The miniature and what its weights are; times do not depend on them, so random ones do where none are shipped."""
    if (MODEL_PATH / "model_index.json").is_file():
        return load(), "trained"
    from transformers import CLIPTextModel

    from aid_pipeline.miniature import components

    torch.manual_seed(0)
    tokenizer = components.new_tokenizer()
    text_encoder = CLIPTextModel(components.new_clip(tokenizer).config.text_config)
    parts = {"vae": components.new_vae(), "text_encoder": text_encoder, "unet": components.new_unet()}
    return components.new_pipeline(tokenizer=tokenizer, **parts), "random"


def stable_diffusion(size: int) -> Any:
    """Stable Diffusion 1.5's networks with random bf16 weights, for images of ``size`` pixels.

    Its images are not decoded here, so the autoencoder is the miniature's.
    """
    from diffusers import AutoModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from aid_pipeline.miniature import components
    from benchmarks.denoiser.unets import CONFIGS

    torch.manual_seed(0)
    tokenizer = components.new_tokenizer()
    tokenizer.model_max_length = 77
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    unet = AutoModel.from_config(CONFIGS["sd15-512"] | {"sample_size": size // 8})
    parts = {"vae": components.new_vae(), "text_encoder": CLIPTextModel(text), "unet": unet}
    pipe = components.new_pipeline(tokenizer=tokenizer, **parts).to(torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def compare(pipe: Any, frames: int, config: AIDConfig, rounds: int) -> dict[str, Any]:
    """Seconds of denoising, both ways in turns, after a check that both make the same frames."""
    settings: dict[str, Any] = {
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        "output_type": "latent",
        "negative_prompt": "",
    }
    t = tuple(index / (frames - 1) for index in range(frames))
    embeddings = public_schedule.encode(pipe, PROMPTS, "", t)
    shape = (1, pipe.unet.config.in_channels, pipe.unet.config.sample_size, pipe.unet.config.sample_size)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).expand(frames, -1, -1, -1)
    noise = noise * pipe.scheduler.init_noise_sigma

    def ours() -> tuple[torch.Tensor, float]:
        sequence = interpolate(pipe, *PROMPTS, frames=frames, config=config, seed=0, **settings)
        return sequence.images, sequence.timings["denoise"]

    def public() -> tuple[torch.Tensor, float]:
        began = time.perf_counter()
        images = public_schedule.denoise(pipe, embeddings, noise, t, config, STEPS, GUIDANCE)
        return images, time.perf_counter() - began

    expected, actual = public()[0].double(), ours()[0].double()  # also the warm-up
    difference = float((actual - expected).abs().max() / expected.std())
    if not difference < SAME:
        raise SystemExit(
            f"the two schedules make different frames ({difference:.1e} standard deviations): nothing to time"
        )
    times: dict[str, list[float]] = {"public": [], "ours": []}
    for _ in range(rounds):
        times["public"].append(public()[1])
        times["ours"].append(ours()[1])
    ratio = statistics.median(a / b for a, b in zip(times["public"], times["ours"], strict=True))
    return {
        "frames": frames,
        "warmup": config.warmup,
        "difference": difference,
        "seconds": times,
        "ratio": ratio,
        "target": TARGETS[frames],
    }


def weight_bytes(pipe: Any) -> int:
    modules = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    return sum(parameter.nbytes for module in modules for parameter in module.parameters())


def peak_activations(pipe: Any, frames: int, **settings: Any) -> int:
    """Bytes: the most that tensors take at once in a sequence, weights not counted."""
    config = AIDConfig(mode="outer", warmup=1.0)
    return peak_extra_bytes(lambda: interpolate(pipe, *PROMPTS, frames=frames, config=config, chunk=CHUNK, **settings))


def peak_of_process(frames: int) -> int:
    """Bytes: the most memory that a process of its own had, Python and libraries included, as the system counts it."""
    call = [sys.executable, "-W", "ignore", "-m", "benchmarks.sequence_cpu", "--peak-of", str(frames)]
    return int(subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()[-1]) * 1024


def measure_proportions() -> dict[str, list[int]]:
    """Peaks of SDXL and FLUX with every width a fraction, with their weights and without."""
    found: dict[str, list[int]] = {}
    for name, make in proportions.PIPELINES.items():
        pipe, weights = make()
        peaks = [peak_activations(pipe, frames, **proportions.call_of(pipe)) for frames in MEMORY_FRAMES]
        found |= {f"{name}_bytes": [weights + peak for peak in peaks], f"{name}_activation_bytes": peaks}
    return found


def measure_memory(pipe: Any) -> dict[str, Any]:
    large = stable_diffusion(size=256)
    small_peaks = [peak_activations(pipe, frames, num_inference_steps=2) for frames in MEMORY_FRAMES]
    large_peaks = [
        peak_activations(large, frames, num_inference_steps=1, output_type="latent") for frames in MEMORY_FRAMES
    ]
    return {
        "machine": machine.describe(),
        "sources": sources.recorded(sources.SEQUENCE),
        "frames": MEMORY_FRAMES,
        "chunk": CHUNK,
        "process_bytes": [peak_of_process(frames) for frames in MEMORY_FRAMES],
        "tensor_bytes": [weight_bytes(pipe) + peak for peak in small_peaks],
        "large_bytes": [weight_bytes(large) + peak for peak in large_peaks],
        "large_activation_bytes": large_peaks,
        **measure_proportions(),
    }


def markdown(result: dict[str, Any]) -> str:
    lines = [
        "# Whole sequences on the CPU",
        "",
        f"{machine.line(result['machine'])}. The miniature ({result['weights']} weights), {STEPS} steps, "
        f"guidance {GUIDANCE:g}, fp32, outer with fusion. Medians of {result['rounds']} rounds in turns; ratios within "
        "each round.",
        "",
        "| frames | warm-up | public schedule, s | `interpolate`, s | times faster | target |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["schedules"]:
        public, ours = (statistics.median(row["seconds"][name]) for name in ("public", "ours"))
        cells = (
            row["frames"],
            f"{row['warmup']:g}",
            f"{public:.2f}",
            f"{ours:.2f}",
            f"{row['ratio']:.2f}",
            row["target"],
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    memory = result["memory"]
    difference = max(row["difference"] for row in result["schedules"])
    lines += [
        "",
        "The public schedule denoises frames one at a time in batches of three, both endpoints again for every frame,",
        "two denoiser calls a step and attention probabilities in memory (`benchmarks/public_schedule.py`). Both make",
        f"the same frames: largest difference {difference:.0e} standard deviations.",
        "",
        f"| peak, chunks of {memory['chunk']} | {MEMORY_FRAMES[0]} frames | {MEMORY_FRAMES[1]} frames | ratio |",
        "|---|---|---|---|",
    ]
    for what, name in ((what, name) for what, name in MEMORY_LINES.items() if name in memory):
        short, long = memory[name]
        lines.append(f"| {what} | {short / 1e6:.1f} MB | {long / 1e6:.1f} MB | {long / short:.3f} |")
    lines += [
        "",
        f"Limit {MEMORY_TARGET}. What grows are the frames' embeddings, noise and images, most of them the stock",
        "pipeline's own copies; beside activations alone, as small as the miniature's or those of 256 pixels, they",
        "count. Stable Diffusion 1.5 is its networks with random bf16 weights, at 256 pixels. Memory measured at",
        f"commit {memory['machine']['commit']}.",
        "",
        f"Made by `{result['command']}`.",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sequence_cpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=CPU, help="folder to write to; default %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: one a core")
    parser.add_argument("--only", choices=["memory"], help="measure that anew and keep the rest of the last result")
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    pipe, weights = pipeline()
    pipe.set_progress_bar_config(disable=True)
    if options.peak_of:
        interpolate(pipe, *PROMPTS, frames=options.peak_of, chunk=CHUNK, num_inference_steps=2)
        # not getrusage, which remembers the parent's peak across exec
        print(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1))  # type: ignore[union-attr]
        return
    if options.only:
        result = json.loads((options.out / "sequence.json").read_text())
    else:
        result = {
            "command": "python -m benchmarks.sequence_cpu",
            "machine": machine.describe(),
            "sources": sources.recorded(sources.SEQUENCE),
            "weights": weights,
            "rounds": options.rounds,
            "schedules": [],
        }
        for frames, warmup in CASES:
            row = compare(pipe, frames, AIDConfig(mode="outer", warmup=warmup), options.rounds)
            print(f"{frames} frames, warm-up {warmup:g}: {row['ratio']:.2f} times faster", flush=True)
            result["schedules"].append(row)
    result["memory"] = measure_memory(pipe)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "sequence.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "sequence.md").write_text(markdown(result))
    print(markdown(result))

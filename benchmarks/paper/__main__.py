"""`python -m benchmarks.paper`: the paper's methods, baselines and ablation on random pairs, in a table with intervals.

Trial by trial, and every pair with all methods, so that whenever it stops the table is balanced. What was sampled is
kept (distances and features, no images): the same command goes on where a stopped or killed one ended.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from aid_pipeline.atomic_files import write_json, write_text
from aid_pipeline.cli.progress import quiet_libraries
from aid_pipeline.errors import AIDError
from aid_pipeline.io.provenance import model_identity
from aid_pipeline.metrics.features import features_name
from aid_pipeline.metrics.presets import Instruments, preset
from aid_pipeline.models import MINIATURE, load_model
from aid_pipeline.studies.comparison.methods import Method, all_methods, pick
from benchmarks.common import machine

from .archive import write_archive
from .arguments import check, parser, prior_of
from .prior import known_prior
from .run import expected_time, fitted, run
from .store import RESULT, Store, sources_of
from .table import page, sequences_csv, summarise
from .unit import Unit

CALL = ("frames", "num_inference_steps", "guidance_scale", "two_seeds")


def write_results(out: Path, units: Sequence[Unit], methods: Mapping[str, Method], result: dict[str, Any]) -> None:
    """`paper.json`, `paper.md` and `sequences.csv`."""
    write_text(out / "sequences.csv", sequences_csv(units, methods))
    write_json(out / RESULT, result)
    write_text(out / "paper.md", page(result))


def settings_of(pipe: Any, options: argparse.Namespace, instruments: Instruments) -> dict[str, Any]:
    """All that decides the figures, but for how many pairs and which methods, which may grow."""
    model = model_identity(pipe)
    name = "the miniature" if model["id"] == MINIATURE else Path(str(model["id"])).name
    return {
        "model": {"name": name, **{key: model[key] for key in ("fingerprint", "revision", "pipeline", "dtype")}},
        "scheduler": model["scheduler"],
        "prompts": options.prompts if options.prompts in ("world", "cifar10") else Path(options.prompts).name,
        "frames": options.frames,
        "num_inference_steps": options.num_inference_steps,
        "guidance_scale": options.guidance_scale,
        "warmup": options.warmup,
        "beta": options.beta,
        "beta_from": options.beta_from,
        "noise": "a noise for each end, slerped" if options.two_seeds else "the same noise at both ends",
        "instruments": instruments.describe(),
    }


def compare(options: argparse.Namespace, words: list[str]) -> None:
    """Make what is missing, then the table; `words` are the command's, for the record. Raises AIDError."""
    pairs = check(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.nice:
        os.nice(options.nice)
    until = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    quiet_libraries()
    instruments = preset(options.preset, options.distance, options.features)
    pipe = load_model(MINIATURE if options.model == "mini" else options.model, None, options.device, options.dtype)
    pipe.set_progress_bar_config(disable=True)
    call = {name: getattr(options, name) for name in CALL}
    known = known_prior(options.out, options.beta_from) if options.beta == "fit" else options.beta
    mine = pairs[options.share]
    if not options.table:
        print(expected_time(pipe, pairs[0], len(mine), options, call, fits=known is None), flush=True)
    if options.estimate:
        return
    options.beta = known or fitted(pipe, options, instruments, call)
    methods = pick(options.methods.split(","), all_methods(prior_of(options.beta), options.warmup))
    store = Store(options.out, settings_of(pipe, options, instruments), str(instruments.describe()["distance"]))
    result = begin(store, words)
    if not options.table:
        try:
            run(pipe, mine, methods, instruments, store, call, until)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on. The table of what is there:", flush=True)
    units = [store.read(pair) for pair in pairs]
    result |= {
        "asked": {"pairs": options.pairs, "trials": options.trials},
        "summary": summarise(units, methods, features_name(instruments.features), options.resamples),
    }
    write_results(options.out, units, methods, result)
    if options.archive:
        print(f"wrote {write_archive(options.out, units)}")
    print(page(result))


def begin(store: Store, words: list[str]) -> dict[str, Any]:
    """A result before its table. It speaks of the code that made the folder's first sequence, which is kept at once."""
    described = machine.describe()
    result = {
        "command": "python -m benchmarks.paper " + shlex.join(_shown(words)),
        "machine": described,
        "machine_line": machine.line(described),
        "sources": sources_of(store.folder),
        "settings": store.settings,
    }
    path = store.folder / RESULT
    if not path.is_file():
        write_json(path, result)
    elif proven := json.loads(path.read_text("utf-8")).get("sources_proven_same_as"):
        result["sources_proven_same_as"] = proven  # goes with the sources, which are that file's too
    return result


def main(arguments: Iterable[str] | None = None) -> None:
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser(__doc__).parse_args(words)
    try:
        compare(options, words)
    except AIDError as error:
        raise SystemExit(f"error: {error}") from error


def _shown(words: list[str]) -> list[str]:
    """The command's words without where this machine keeps things."""
    return [re.sub(r"(?<![\w.])(/[^/:]+)+/", "", word) for word in words]


if __name__ == "__main__":
    main()

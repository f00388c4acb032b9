"""Prompt pairs of a CSV: their sequences are generated one by one, so that a stopped run goes on."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import ArgumentError
from ...io.output_folder import OutputFolder, finished_claim
from ...request import Request, equal_claims
from ...spec import InterpolationSpec

REQUIRED, OPTIONAL = ("prompt_a", "prompt_b"), ("seed", "guide", "negative_prompt")


@dataclass(frozen=True)
class PromptPair:
    """One line of the file."""

    prompt_a: str
    prompt_b: str
    seed: int | tuple[int, int] = InterpolationSpec.seed
    guide: str | None = None
    negative_prompt: str | None = None


def read_prompts(path: str | Path) -> list[PromptPair]:
    """Pairs of a CSV whose first line names its columns: prompt_a, prompt_b and perhaps seed, guide, negative_prompt.

    Empty cells of the optional columns are as if the column were not there.

    Raises:
        ArgumentError: no such file, unknown or missing columns, a line with too many or too few cells, an empty prompt
            or a seed that is no number; the message names the line.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            _check_columns(path, columns)
            pairs = [_pair(path, reader.line_num, row) for row in reader]
    except OSError as error:
        raise ArgumentError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArgumentError(f"{path} is no CSV in UTF-8: {error}") from error
    if not pairs:
        raise ArgumentError(f"{path} holds no prompts below its first line")
    return pairs


def requests_for(pairs: Sequence[PromptPair], arguments: dict[str, Any], **where: Any) -> list[Request]:
    """One request per pair.

    Args:
        pairs: prompts and seeds.
        arguments: the other arguments of `interpolate`, the same for all.
        where: `model`, `device` and `dtype` of a `Request`.
    """
    requests = []
    for pair in pairs:
        given = {name: value for name, value in asdict(pair).items() if value is not None}
        requests.append(Request(InterpolationSpec.between(**{**arguments, **given}), **where))
    return requests


def generate_sequences(
    requests: Sequence[Request],
    out: Path,
    progress: Callable[[int, int], None],
    steps: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Generate what is not there yet; returns the sequences' folders, in order.

    Args:
        out: sequence k goes to its folder `000k`.
        progress: called before each sequence with (generated, to be generated); sequences that were there do not count.
        steps: called with (steps done, steps in all) of the sequence under way.

    Raises:
        AIDError: a request that cannot be served, before the first sequence; a folder that holds something else.
    """
    from ...families import check_images
    from ...io.formats import Formats
    from ...io.saving import save_frames

    for request in requests:
        request.check()
    fingerprint = requests[0].fingerprint()  # the model is the same for all
    claims = [request.claim(fingerprint) for request in requests]
    folders = [out / f"{index:04d}" for index in range(len(requests))]
    todo = [index for index, folder in enumerate(folders) if not equal_claims(finished_claim(folder), claims[index])]
    pipe: Any = None
    for count, index in enumerate(todo):
        progress(count, len(todo))
        folder = OutputFolder(folders[index], claims[index])
        try:
            if pipe is None:
                pipe = requests[index].load()
                check_images(pipe, "an evaluation")
                pipe.set_progress_bar_config(disable=True)
            sequence = requests[index].sample(pipe, steps)
            save_frames(sequence.pil_images(), sequence.document(), folder, Formats(video=False), sequence.latents)
        finally:
            folder.release()
    progress(len(todo), len(todo))
    return folders


def _check_columns(path: str | Path, columns: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    unknown = [name for name in columns if name not in REQUIRED + OPTIONAL]
    if missing or unknown or len(set(columns)) < len(columns):
        wrong = f"misses {', '.join(missing)}" if missing else f"has {', '.join(map(repr, unknown or columns))}"
        raise ArgumentError(
            f"the first line of {path} {wrong}; columns are {', '.join(REQUIRED)} and, if wanted, {', '.join(OPTIONAL)}"
        )


def _pair(path: str | Path, line: int, row: dict[Any, Any]) -> PromptPair:
    if None in row or None in row.values():
        raise ArgumentError(f"line {line} of {path} has other cells than the first line; quote texts with commas")
    given = {name: text.strip() for name, text in row.items() if text.strip()}
    for name in REQUIRED:
        if name not in given:
            raise ArgumentError(f"line {line} of {path} has no {name}")
    if "seed" in given:
        if not given["seed"].isdecimal():
            raise ArgumentError(f"line {line} of {path}: seed {given['seed']!r} is not a whole number")
        return PromptPair(**{**given, "seed": int(given["seed"])})
    return PromptPair(**given)

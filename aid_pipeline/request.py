"""One sequence as asked for on the command line or written in a `sequence.json`, and making it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import AIDError, ArgumentError, ModelError
from .models import check_model, load_model

if TYPE_CHECKING:
    from .sampling.stock_call import Progress
    from .sequence import Sequence

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """Everything that decides a sequence's bits, in values that JSON holds.

    Args:
        model, revision, device, dtype: as `load_model`.
        arguments: of `interpolate`, by name; `coefficients` as numbers or {"beta_prior": [alpha, beta]}, `latents`
            as the path of a safetensors file with one tensor "latents", `select` as the fields of a `Selection`.
        config: fields of `AIDConfig`.
        scheduler: class and configuration to use in place of the model's own.
        expected: model, versions and machine of the sequence to make again; empty for a new one.
    """

    model: str
    arguments: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    scheduler: dict[str, Any] | None = None
    expected: dict[str, Any] = field(default_factory=dict)

    def recipe(self) -> dict[str, Any]:
        """What a folder is claimed with: equal recipes make equal sequences with the same weights."""
        from .io.provenance import locate

        folder = _folder(self.model)
        return {**asdict(self), "fingerprint": locate(str(folder))["fingerprint"] if folder else None}

    def check(self) -> None:
        """What can be said before the model is loaded.

        Raises:
            AIDError: as `interpolate` and `load_model` would raise later.
        """
        from .coefficients import check_frames, frame_coefficients
        from .conditioning.latents import check_seed
        from .conditioning.prompts import check_prompts
        from .config import AIDConfig
        from .sampling.stock_arguments import check_numbers
        from .selection.run import check_selection

        given = self.arguments
        check_model(self.model, self.revision)
        AIDConfig(**self.config)
        frames = check_frames(given["frames"])
        frame_coefficients(_coefficients(given.get("coefficients")), frames)
        check_prompts(given["prompt_a"], given["prompt_b"], given.get("guide"), given.get("negative_prompt"), frames)
        check_seed(given.get("seed", 0))
        steps, scale = given.get("num_inference_steps", 25), given.get("guidance_scale", 5.0)
        check_numbers(steps, scale, "pil", given.get("chunk", "auto"))
        latents = None if given.get("latents") is None else _latents(given["latents"])
        selection = _selection(given.get("select"))
        if selection is not None:
            check_selection(selection, frames, given.get("coefficients"), latents, given.get("guide"))

    def make(self, pipe: Any, progress: Progress | None = None) -> Sequence:
        """Denoise the sequence on a pipeline that `load` returned."""
        from .config import AIDConfig
        from .interpolation import interpolate
        from .io.provenance import locate

        arguments = dict(self.arguments)
        arguments["coefficients"] = _coefficients(arguments.get("coefficients"))
        arguments["select"] = _selection(arguments.get("select"))
        if arguments.get("latents") is not None:
            arguments["latents"] = _latents(arguments["latents"])
        sequence = interpolate(pipe, config=AIDConfig(**self.config), progress=progress, **arguments)
        if self.revision is not None:
            sequence.settings["model"].update(locate(self.model, self.revision))
        return sequence

    def load(self) -> Any:
        """The pipeline; for a sequence to make again, compared with what that one was made with.

        Raises:
            ModelError: other weights or another pipeline class than the sequence was made with.
        """
        import torch

        pipe = load_model(self.model, self.revision, self.device, self.dtype)
        if self.scheduler is not None:
            pipe.scheduler = _scheduler(self.scheduler)
        if self.expected:
            torch.set_num_threads(self.expected["machine"]["threads"])  # sums are split by threads
            self._compare(pipe)
        return pipe

    def _compare(self, pipe: Any) -> None:
        from .io.provenance import machine, model_identity, versions

        made_with, found = self.expected["model"], model_identity(pipe)
        for name in ("fingerprint", "pipeline"):
            if made_with[name] != found[name]:
                raise ModelError(
                    f"{self.model} is not the model the sequence was made with: its {name} is {found[name]}, "
                    f"the sequence's {made_with[name]}"
                )
        for kind, now in (("versions", versions()), ("machine", machine(pipe.device))):
            then = self.expected[kind]
            other = [f"{name} {then[name]} then, {now.get(name)} now" for name in then if then[name] != now.get(name)]
            if other:
                logger.warning("frames may differ in their last bits: %s", "; ".join(other))


def read_request(path: str | Path) -> tuple[Request, dict[str, Any]]:
    """The request that makes the sequence of a `sequence.json` again, and how its files were saved.

    Returns:
        The request, and the options of `Sequence.save`.

    Raises:
        ArgumentError: no such file, no `sequence.json`, or one that cannot hold all of its sequence (images, LoRA).
    """
    path = Path(path)
    path = path / "sequence.json" if path.is_dir() else path
    try:
        document = json.loads(path.read_text("utf-8"))
        return _request(document, path), _saving(document)
    except OSError as error:
        raise ArgumentError(f"cannot read {path}: {error.strerror}") from error
    except AIDError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ArgumentError(f"{path} is not the sequence.json of a sequence ({said})") from error


def _request(document: dict[str, Any], path: Path) -> Request:
    from .config import AIDConfig
    from .io.provenance import FORMAT

    model, arguments = document["model"], dict(document["arguments"])
    if document["format"] != FORMAT:
        raise ArgumentError(
            f"{path} has format {document['format']}, this version reads {FORMAT}; use a newer aid-kernels"
        )
    lost = [name for name in document["unrecorded"] if name != "select"]
    lost += ["LoRA adapters"] if model["adapters"] else []
    if lost:
        raise ArgumentError(f"{path} does not hold {', '.join(lost)}; make this sequence again from Python")
    if model["id"] is None:
        raise ArgumentError(f"{path} does not say which model it was made with; make this sequence again from Python")
    if arguments.pop("output_type") == "latent":
        raise ArgumentError(f"{path} holds latents, not pictures")
    for name in ("prompt_a", "prompt_b", "frames"):
        arguments[name]
    for name in ("fingerprint", "pipeline"):
        model[name]
    AIDConfig(**document["config"])
    threads = document["machine"]["threads"]
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"machine.threads is {threads!r}, not a whole number >= 1")
    arguments |= {"coefficients": document["coefficients"], "chunk": document["chunk_used"]}
    if arguments.get("select") is not None:
        arguments |= _selected_before(document)
    if arguments.get("latents") is not None:
        arguments["latents"] = str(path.parent / arguments["latents"])
    for name in ("seed", "negative_prompt"):
        if isinstance(arguments.get(name), list):
            arguments[name] = tuple(arguments[name])
    return Request(
        model=model["id"],
        revision=model["revision"],
        device=document["machine"]["device"],
        dtype=model["dtype"],
        arguments=arguments,
        config=document["config"],
        scheduler=model["scheduler"],
        expected={name: document[name] for name in ("model", "versions", "machine")},
    )


def _saving(document: dict[str, Any]) -> dict[str, Any]:
    """Options of `Sequence.save`."""
    from .io.saving import check_fps

    check_fps(document["fps"])
    files = document["files"]
    kinds = (("gif", "gif"), ("webp", "webp"), ("video", "mp4"))
    return {**{kind: f"sequence.{suffix}" in files for kind, suffix in kinds}, "fps": document["fps"]}


def _folder(model: str) -> Path | None:
    from .miniature import MODEL_PATH
    from .models import MINIATURE

    folder = MODEL_PATH if model == MINIATURE else Path(model).expanduser()
    return folder if folder.is_dir() else None


def _coefficients(value: Any) -> Any:
    from .coefficients import BetaPrior

    return BetaPrior(*value["beta_prior"]) if isinstance(value, dict) else value


def _selection(fields: dict[str, Any] | None) -> Any:
    from .selection import Selection

    return None if fields is None else Selection(**fields)


def _selected_before(document: dict[str, Any]) -> dict[str, Any]:
    """Arguments that make a selected sequence again.

    "bayes" made its sequence in one call at the coefficients it found; "dynamic" in several, which are repeated with
    the whole choice, since a frame's last bits depend on the frames it shares a call with.
    """
    found = document["selection"]
    if found["method"] != "dynamic":
        return {"select": None}
    if "select" in document["unrecorded"]:
        logger.warning(
            "the distance %s was given from Python and is not in the file: the frames are made at the coefficients it "
            "chose, and may differ in their last bits",
            found["distance"],
        )
        return {"select": None}
    return {"select": document["arguments"]["select"], "coefficients": None}


def _latents(path: str) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)["latents"]
    except (OSError, KeyError, SafetensorError) as error:
        raise ArgumentError(
            f"latents must be a safetensors file with one tensor named latents; {path}: {error}"
        ) from error


def _scheduler(recorded: dict[str, Any]) -> Any:
    import diffusers

    name = recorded["class"]
    cls = getattr(diffusers, name, None) if name.isidentifier() else None
    if not (isinstance(cls, type) and issubclass(cls, diffusers.SchedulerMixin)):
        raise ArgumentError(f"the sequence was made with scheduler {name}, which diffusers does not have")
    scheduler_class: Any = cls
    return scheduler_class.from_config(recorded["config"])

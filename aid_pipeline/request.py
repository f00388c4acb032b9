"""Request for one sequence: its specification, the model and the device, from the command line or a `sequence.json`."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aid_kernels import CallBucket, Choice, choices_from_json

from .errors import AIDError, ArgumentError, ModelError
from .io.formats import Formats
from .models import MINIATURE, check_model, load_model
from .spec import InterpolationSpec

if TYPE_CHECKING:
    from .sampling.stock_call import Progress
    from .sequence import FrameSequence

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Request:
    """A sequence to generate, and on what.

    Args:
        spec: the sequence.
        model, revision, device, dtype: as `load_model`.
        latents: path of the file that the specification's latents were read from, if any.
        scheduler: class and configuration to use in place of the model's own.
        expected: model, versions and machine of the sequence to generate again; empty for a new one.
        choices: what served each kind of its attention calls, as recorded; empty means what is fastest here.
    """

    spec: InterpolationSpec
    model: str = MINIATURE
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    latents: str | None = None
    scheduler: dict[str, Any] | None = None
    expected: dict[str, Any] = field(default_factory=dict)
    choices: dict[CallBucket, Choice] = field(default_factory=dict)

    def claim(self, fingerprint: str | None = None) -> dict[str, Any]:
        """What a folder is claimed with: equal claims are of equal sequences.

        Args:
            fingerprint: of the model's folder, where it is known already.
        """
        document = self.spec.to_json()
        arguments = document["arguments"] | {"latents": self.latents}
        del arguments["output_type"]
        return {
            "model": self.model,
            "arguments": arguments,
            "config": document["config"],
            "revision": self.revision,
            "device": self.device,
            "dtype": self.dtype,
            "scheduler": self.scheduler,
            "expected": self.expected,
            "fingerprint": self.fingerprint() if fingerprint is None else fingerprint,
        }

    def fingerprint(self) -> str | None:
        """That of the model's folder; None means a model of the hub."""
        from .io.provenance import locate
        from .miniature import MODEL_PATH

        folder = MODEL_PATH if self.model == MINIATURE else Path(self.model).expanduser()
        return locate(str(folder))["fingerprint"] if folder.is_dir() else None

    def check(self) -> None:
        """Check what can be checked before the model is loaded.

        Raises:
            ModelError: as `check_model`.
        """
        check_model(self.model, self.revision)

    def load(self) -> Any:
        """The pipeline; for a sequence to generate again, compared with the one it was generated with.

        Raises:
            ModelError: other weights or another pipeline class.
        """
        pipe = load_model(self.model, self.revision, self.device, self.dtype)
        if self.scheduler is not None:
            pipe.scheduler = _scheduler(self.scheduler)
        if self.expected:
            self._compare(pipe)
        return pipe

    def sample(self, pipe: Any, progress: Progress | None = None) -> FrameSequence:
        """Generate the sequence on a pipeline that `load` returned.

        Raises:
            AIDError: as `interpolate`.
        """
        from .interpolation import sample_sequence
        from .io.provenance import locate

        sequence = sample_sequence(pipe, self.spec, progress, self.choices)
        if self.revision is not None:
            sequence.settings["model"].update(locate(self.model, self.revision))
        return sequence

    @property
    def threads(self) -> int | None:
        """CPU threads that the sequence to generate again had; sums are split by threads."""
        return self.expected["machine"]["threads"] if self.expected else None

    def _compare(self, pipe: Any) -> None:
        from .io.machine import machine, versions
        from .io.provenance import model_identity
        from .io.weights import changed_weights

        before, now = self.expected["model"], model_identity(pipe)
        changed = changed_weights(before.get("weights", {}), now["weights"])
        for name in ("fingerprint", "pipeline"):
            if before[name] != now[name]:
                raise ModelError(
                    f"{self.model} is not the model the sequence was sampled with: its {name} is {now[name]}, "
                    f"the sequence's {before[name]}"
                )
        if changed:
            raise ModelError(
                f"the sequence was made with other weights of {', '.join(changed)} than {self.model} holds: they were "
                "changed after loading (a fine-tuned or swapped model, a merged LoRA, a textual inversion), which "
                "sequence.json does not hold; make this sequence again from Python"
            )
        for kind, current in (("versions", versions()), ("machine", machine(pipe.device))):
            then = self.expected[kind]
            other = [
                f"{name} {then[name]} then, {current.get(name)} now" for name in then if then[name] != current.get(name)
            ]
            if other:
                logger.warning("frames may differ in their last bits: %s", "; ".join(other))


def equal_claims(first: dict[str, Any] | None, second: dict[str, Any] | None) -> bool:
    """Whether two claims, as JSON holds them, are of one sequence, whichever defaults they spell out."""
    try:
        return first is not None and second is not None and _full_claim(first) == _full_claim(second)
    except (KeyError, TypeError, AttributeError, AIDError):  # of a sequence that Python saved, or edited since
        return False


def read_request(path: str | Path) -> tuple[Request, Formats]:
    """The request that generates the sequence of a `sequence.json` again, and the moving images that it has.

    Raises:
        ArgumentError: no such file, no `sequence.json`, or one that cannot hold all of its sequence (images, LoRA).
    """
    path = Path(path)
    path = path / "sequence.json" if path.is_dir() else path
    try:
        document = json.loads(path.read_text("utf-8"))
        return _request(document, path), Formats.from_json(document)
    except OSError as error:
        raise ArgumentError(f"cannot read {path}: {error.strerror}") from error
    except AIDError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ArgumentError(f"{path} is not the sequence.json of a sequence ({reason})") from error


def read_latents(path: str | Path) -> Any:
    """The tensor "latents" of a safetensors file.

    Raises:
        ArgumentError: no such file, or none with such a tensor.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)["latents"]
    except (OSError, KeyError, SafetensorError) as error:
        raise ArgumentError(
            f"latents must be a safetensors file with one tensor named latents; {path}: {error}"
        ) from error


def _request(document: dict[str, Any], path: Path) -> Request:
    from .io.end_images import read_recorded
    from .io.provenance import FORMAT, FORMAT_WITH_IMAGES

    model, arguments = document["model"], dict(document["arguments"])
    if document["format"] not in (FORMAT, FORMAT_WITH_IMAGES):
        known = f"{FORMAT} and {FORMAT_WITH_IMAGES}"
        raise ArgumentError(
            f"{path} has format {document['format']}, this version reads {known}; use a newer aid-kernels"
        )
    lost = [name for name in document["unrecorded"] if name != "select"]
    lost += ["LoRA adapters"] if model["adapters"] else []
    if lost:
        raise ArgumentError(f"{path} does not hold {', '.join(lost)}; generate this sequence again from Python")
    if model["id"] is None:
        raise ArgumentError(f"{path} does not say which model sampled it; generate this sequence again from Python")
    if arguments.pop("output_type") == "latent":
        raise ArgumentError(f"{path} holds latents, not images")
    threads = document["machine"]["threads"]
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"machine.threads is {threads!r}, not a whole number >= 1")
    if document["coefficients"] is None:
        raise ValueError("coefficients is null, not one number for each frame")
    if "frames" not in arguments:
        arguments["frames"] = len(document["coefficients"])
    arguments |= {"coefficients": document["coefficients"], "chunk": document["chunk_used"]}
    if arguments.get("select") is not None:
        arguments |= _selected_before(document)
    arguments |= read_recorded(arguments, path.parent)
    latents = None if arguments.get("latents") is None else str(path.parent / arguments["latents"])
    expected = {name: document[name] for name in ("model", "versions", "machine")}
    for name in ("fingerprint", "pipeline"):
        expected["model"][name]
    return Request(
        InterpolationSpec.from_json(arguments, document["config"], None if latents is None else read_latents(latents)),
        model=model["id"],
        revision=model["revision"],
        device=document["machine"]["device"],
        dtype=model["dtype"],
        latents=latents,
        scheduler=model["scheduler"],
        expected=expected,
        choices=choices_from_json(document.get("choices", [])),
    )


def _selected_before(document: dict[str, Any]) -> dict[str, Any]:
    """Arguments that generate a selected sequence again.

    "bayes" generated its sequence in one call at the coefficients it chose; "dynamic" in several, which are repeated
    with the whole choice, since a frame's last bits depend on the frames it shares a call with.
    """
    choice = document["selection"]
    if choice["method"] != "dynamic":
        return {"select": None}
    if "select" in document["unrecorded"]:
        logger.warning(
            "the distance %s was given from Python and is not in the file: the frames are sampled at the coefficients "
            "it chose, and may differ in their last bits",
            choice["distance"],
        )
        return {"select": None}
    return {"select": document["arguments"]["select"], "coefficients": None}


def _full_claim(claim: dict[str, Any]) -> dict[str, Any]:
    """A claim as this version writes it: earlier ones left out what was None or a default."""
    from .config import AIDConfig
    from .selection.settings import Selection

    arguments = {name: value for name, value in claim["arguments"].items() if value is not None}
    if "select" in arguments:
        arguments["select"] = Selection.from_json(arguments["select"]).to_json()
    full: dict[str, Any] = {**claim, "arguments": arguments, "config": asdict(AIDConfig(**claim["config"]))}
    return full


def _scheduler(recorded: dict[str, Any]) -> Any:
    import diffusers

    name = recorded["class"]
    cls = getattr(diffusers, name, None) if name.isidentifier() else None
    if not (isinstance(cls, type) and issubclass(cls, diffusers.SchedulerMixin)):
        raise ArgumentError(f"the sequence was sampled with scheduler {name}, which diffusers does not have")
    scheduler_class: Any = cls
    return scheduler_class.from_config(recorded["config"])

"""Output folder of a sequence: claimed before the first step, with atomic writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..atomic_files import TEMPORARY, write_json
from ..errors import OutputFolderError

FINISHED = "sequence.json"  # written last: where it is, all other files are
UNFINISHED = ".aid-unfinished.json"  # there from before the first step until `sequence.json` is
MOVING = ("sequence.mp4", "sequence.webm", "sequence.gif", "sequence.webp")
FRAME = re.compile(r"\d{3,}\.png")
CLIP = re.compile(r"\d{3,}")  # folder of the images of a clip
CLIP_FRAME = re.compile(r"\d{3,}/\d{3,}\.png")
_OURS = re.compile(
    r"(\d{3,}(/\d{3,})?\.png|(\d{3,}|sequence)\.(mp4|webm|gif|webp)|sequence\.(png|json)|latents\.safetensors"
    r"|real_[ab]\.png)"
)


class OutputFolder:
    """A folder claimed for one sequence.

    A claim leaves a marker that says what is being generated. Files beside a marker belong to a run that never
    finished: the same run may start over and replace them, any other run is refused.

    Args:
        path: the folder; created if need be.
        claim: what is being generated, comparable through JSON.

    Raises:
        OutputFolderError: not a folder, not writable, or holds anything but an unfinished run of the same claim.
    """

    def __init__(self, path: str | Path, claim: dict[str, Any]) -> None:
        self.path = Path(path)
        self.claim = json.loads(json.dumps(claim))
        self._created: list[Path] = []
        self._inspect()
        try:
            self._create_folders()
            # the marker first and throughout: a kill in between must not leave files that belong to nobody
            write_json(self.path / UNFINISHED, self.claim)
            for leftover in self._entries():
                if leftover.name != UNFINISHED:
                    leftover.unlink()
            self._remove_clip_folders()
        except OSError as error:
            raise OutputFolderError(f"cannot write to {self.path}: {error.strerror or error}") from error

    def release(self) -> None:
        """Give the claim up if nothing was saved: remove the marker and the folders that the claim created."""
        if self.saved():
            return
        (self.path / UNFINISHED).unlink(missing_ok=True)
        self._remove_clip_folders()
        for folder in reversed(self._created):
            try:
                folder.rmdir()
            except OSError:  # somebody else's files are in it by now
                return

    def finish(self, document: dict[str, Any]) -> None:
        """Write `sequence.json` and drop the marker: the sequence is complete."""
        write_json(self.path / FINISHED, document)
        (self.path / UNFINISHED).unlink(missing_ok=True)

    def saved(self) -> list[str]:
        """Names of the sequence's files that are there, all of them whole."""
        return sorted(name for name in map(self._name, self._entries()) if _OURS.fullmatch(name))

    def _inspect(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise OutputFolderError(f"{self.path} is a file; give a folder")
        entries = self._entries()
        if not [entry for entry in entries if not entry.name.startswith(TEMPORARY)]:
            return
        foreign = [self._name(entry) for entry in entries if not self._is_ours(entry)]
        marker = self.path / UNFINISHED
        if foreign or not marker.exists():
            if finished_claim(self.path) is not None:
                raise OutputFolderError(f"{self.path} already holds a finished sequence; give another folder")
            example = (foreign or [self._name(entry) for entry in entries])[0]
            raise OutputFolderError(f"{self.path} is not empty (it holds {example!r}); give a new or empty folder")
        if _read_json(marker) != self.claim:
            raise OutputFolderError(
                f"{self.path} holds an unfinished sequence that was asked for differently; "
                "repeat that command, give another folder, or delete this one"
            )

    def _create_folders(self) -> None:
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._created.append(folder)

    def _entries(self) -> list[Path]:
        """What is in the folder; in place of the folder of a clip what is in that."""
        try:
            if not self.path.is_dir():
                return []
            entries = sorted(self.path.iterdir())
            return [inner for entry in entries for inner in (sorted(entry.iterdir()) if _is_clip(entry) else [entry])]
        except OSError as error:
            raise OutputFolderError(f"cannot read {self.path}: {error.strerror or error}") from error

    def _remove_clip_folders(self) -> None:
        for entry in self.path.iterdir():
            if _is_clip(entry):
                try:
                    entry.rmdir()
                except OSError:  # somebody else's files are in it by now
                    continue

    def _name(self, entry: Path) -> str:
        return entry.relative_to(self.path).as_posix()

    def _is_ours(self, entry: Path) -> bool:
        named = _OURS.fullmatch(self._name(entry)) or entry.name == UNFINISHED or entry.name.startswith(TEMPORARY)
        return bool(named) and entry.is_file()


def finished_claim(path: str | Path) -> dict[str, Any] | None:
    """The claim of a finished sequence's folder; None means that it holds no finished sequence."""
    folder = Path(path)
    if (folder / UNFINISHED).exists() or not (folder / FINISHED).is_file():
        return None
    document = _read_json(folder / FINISHED)
    claim = document.get("recipe", {}) if isinstance(document, dict) else None
    return claim if isinstance(claim, dict) else None


def _is_clip(entry: Path) -> bool:
    return bool(CLIP.fullmatch(entry.name)) and entry.is_dir() and not entry.is_symlink()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None

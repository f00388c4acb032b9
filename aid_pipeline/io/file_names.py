"""Texts that are names of files: an image is meant, and a text encoder would read a word. Needs no image library."""

from __future__ import annotations

from pathlib import Path

from ..errors import PromptError

SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif", ".avif")


def check_no_files(prompts: dict[str, str]) -> None:
    """Raise PromptError for a prompt that is the name of a file, which a text encoder would read as a word."""
    for name, text in prompts.items():
        if names_image_file(text):
            option = name.replace("prompt_", "--real-")
            raise PromptError(
                f"{name} is the name of a file, {text!r}; for an image as it is use {option} (in Python "
                "Keyframe(real=...)), else describe in words what the frame shows"
            )


def names_image_file(text: str) -> bool:
    """Whether a text that should describe an image is the name of an image's file, or of any file that is there."""
    if text.strip().lower().endswith(SUFFIXES):
        return True
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a null character
        return False

"""A folder of a sequence: claimed before the first step, refused when it holds something else, whole after a kill."""

import json
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from aid_pipeline.atomic_files import replacing, write_atomically, write_json
from aid_pipeline.errors import OutputFolderError
from aid_pipeline.io.output_folder import UNFINISHED, OutputFolder, finished_claim

CLAIM = {"prompt_a": "a", "seed": (0, 1)}  # a tuple, as Python callers have it


def test_a_claim_makes_the_folder_and_release_takes_it_away(tmp_path):
    path = tmp_path / "runs" / "first"
    folder = OutputFolder(path, CLAIM)
    assert (path / UNFINISHED).exists()
    folder.release()
    assert not (tmp_path / "runs").exists()


def test_release_leaves_a_folder_that_was_there(tmp_path):
    OutputFolder(tmp_path, CLAIM).release()
    assert list(tmp_path.iterdir()) == []


def test_release_keeps_what_was_saved(tmp_path):
    folder = OutputFolder(tmp_path / "out", CLAIM)
    write_atomically(folder.path / "000.png", lambda file: file.write(b"x"))
    folder.release()
    assert folder.saved() == ["000.png"]
    assert (folder.path / UNFINISHED).exists()


def test_an_unfinished_run_of_the_same_claim_starts_over(tmp_path):
    folder = OutputFolder(tmp_path, CLAIM)
    write_atomically(tmp_path / "000.png", lambda file: file.write(b"x"))
    (tmp_path / ".aid-writing-0123").write_bytes(b"half")
    again = OutputFolder(tmp_path, CLAIM)
    assert again.saved() == []
    again.finish({"recipe": folder.claim})
    assert finished_claim(tmp_path) == {"prompt_a": "a", "seed": [0, 1]}


def test_a_kill_before_the_marker_was_whole_leaves_a_folder_that_counts_as_empty(tmp_path):
    (tmp_path / ".aid-writing-0123").write_bytes(b"half")
    assert OutputFolder(tmp_path, CLAIM).saved() == []


def test_an_unfinished_run_of_another_claim_is_refused(tmp_path):
    OutputFolder(tmp_path, {"prompt_a": "b"})
    with pytest.raises(OutputFolderError, match="asked for differently"):
        OutputFolder(tmp_path, CLAIM)


@pytest.mark.parametrize("marked", [True, False])
def test_foreign_files_are_never_touched(tmp_path, marked):
    if marked:
        OutputFolder(tmp_path, CLAIM)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputFolderError, match=r"not empty \(it holds 'thesis.txt'\)"):
        OutputFolder(tmp_path, CLAIM)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_images_without_a_marker_are_not_ours(tmp_path):
    (tmp_path / "000.png").write_bytes(b"holiday")
    with pytest.raises(OutputFolderError, match="not empty"):
        OutputFolder(tmp_path, CLAIM)


def test_a_finished_sequence_is_refused(tmp_path):
    OutputFolder(tmp_path, CLAIM).finish({"recipe": CLAIM})
    with pytest.raises(OutputFolderError, match="already holds a finished sequence"):
        OutputFolder(tmp_path, CLAIM)


def test_a_file_and_a_place_below_a_file_are_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(OutputFolderError, match="is a file"):
        OutputFolder(file, CLAIM)
    with pytest.raises(OutputFolderError, match="cannot write"):
        OutputFolder(file / "below", CLAIM)


@contextmanager
def files_no_larger_than(size: int):
    """The system refuses to write more, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file_or_none(tmp_path):
    path = tmp_path / "sequence.json"
    write_json(path, {"old": True})
    with files_no_larger_than(1000), pytest.raises(OSError):
        write_json(path, {"new": "x" * 5000})
    assert json.loads(path.read_text()) == {"old": True}
    assert [entry.name for entry in tmp_path.iterdir()] == ["sequence.json"]


def test_what_goes_wrong_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    with replacing(path) as unfinished:
        unfinished.write_bytes(b"old")
        assert not path.exists()

    def stopped() -> None:
        with replacing(path) as unfinished:
            unfinished.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("weights.safetensors", b"old")]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"t": float("nan")})
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys
from pathlib import Path
from aid_pipeline.atomic_files import write_atomically
from aid_pipeline.io.output_folder import OutputFolder
folder = OutputFolder(sys.argv[1], {"run": 1})
for index in range(1_000_000):
    content = bytes([index % 251]) * 3_000_000
    write_atomically(folder.path / f"{index % 20:03d}.png", lambda file: file.write(content))
"""


def test_killed_at_any_moment_every_file_is_whole_and_the_run_can_start_over(tmp_path):
    path, lottery, seen = tmp_path / "out", random.Random(0), 0
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
        deadline = time.monotonic() + 60
        while not list(path.glob("*.png")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(lottery.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for frame in path.glob("*.png"):
            seen += 1
            content = frame.read_bytes()
            assert len(content) == 3_000_000
            assert content == content[:1] * len(content)
    assert seen
    assert OutputFolder(path, {"run": 1}).saved() == []


def test_killed_while_clearing_leaves_a_folder_that_can_start_over(tmp_path, monkeypatch):
    folder = OutputFolder(tmp_path, {"run": 1})
    for name in ("000.png", "001.png", "sequence.png"):
        write_atomically(folder.path / name, lambda file: file.write(b"x"))

    unlink, removed = Path.unlink, []

    def killed_after_one(path, missing_ok=False):
        if removed:
            raise KeyboardInterrupt
        removed.append(path)
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed_after_one)
        with pytest.raises(KeyboardInterrupt):
            OutputFolder(tmp_path, {"run": 1})
    assert removed
    assert OutputFolder(tmp_path, {"run": 1}).saved() == []

"""Failures and interruption of the command: exit code 1, and what is saved."""

import torch

from aid_pipeline.io import saving
from aid_pipeline.request import Request

from ..support.command_line import aid, command


def test_frames_at_fault_are_named_and_code_1(model, tmp_path, monkeypatch):
    load = Request.load

    def overflowing(self):
        pipe = load(self)
        pipe.unet.register_forward_hook(
            lambda module, inputs, output: (output[0].index_fill(0, frame_2, float("inf")),)
        )
        return pipe

    frame_2 = torch.tensor([2, 6])  # of four, unconditional and conditional
    monkeypatch.setattr(Request, "load", overflowing)
    result = aid(*command(model, tmp_path / "out", "--mode", "none"))
    assert result.exit_code == 1
    assert "frame(s) 2 hold NaN" in result.stderr
    assert (tmp_path / "out" / "sequence.json").exists()


def test_ctrl_c_while_denoising_leaves_nothing_and_says_so(model, tmp_path, monkeypatch):
    sample = Request.sample

    def interrupted(self, pipe, progress=None):
        def stop(done, total):
            if done == 2:
                raise KeyboardInterrupt

        return sample(self, pipe, stop)

    monkeypatch.setattr(Request, "sample", interrupted)
    result = aid(*command(model, tmp_path / "out"))
    assert result.exit_code == 1
    assert "interrupted; nothing is saved yet" in result.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_while_saving_says_what_is_there(model, tmp_path, monkeypatch):
    def interrupted(images):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(saving, "strip", interrupted)
        result = aid(*command(model, tmp_path / "out"))
    assert result.exit_code == 1
    assert "000.png to 003.png (4 files), each whole" in result.stderr
    assert aid(*command(model, tmp_path / "out")).exit_code == 0


def test_out_of_memory_is_a_failure_with_advice(model, tmp_path, monkeypatch):
    def exhausted(self, pipe, progress=None):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(Request, "sample", exhausted)
    result = aid(*command(model, tmp_path / "out"))
    assert result.exit_code == 1
    assert "use a smaller --chunk" in result.stderr
    assert not (tmp_path / "out").exists()

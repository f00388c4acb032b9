"""Pairs of prompts: the same ones however many are asked for."""

import pytest

from aid_pipeline.errors import ArgumentError
from benchmarks.paper.pairs import draw_pairs


def test_a_captions_file_with_a_byte_order_mark(tmp_path):
    (tmp_path / "captions.txt").write_text("a red sphere\na blue cube\n", encoding="utf-8-sig")
    (pair,) = draw_pairs(str(tmp_path / "captions.txt"), 1, 1)
    assert {pair.prompt_a, pair.prompt_b} == {"a red sphere", "a blue cube"}


def test_pairs_do_not_depend_on_how_many_are_asked_for(tmp_path):
    for source in ("world", "cifar10"):
        few, many = draw_pairs(source, 3, 1), draw_pairs(source, 5, 2)
        assert many[:3] == few
        assert {pair.trial for pair in many} == {0, 1}
        assert len({(pair.prompt_a, pair.prompt_b) for pair in many}) > 7
        assert all(pair.prompt_a != pair.prompt_b for pair in many)
        assert len({pair.seed for pair in many}) == 10
    assert draw_pairs("cifar10", 1, 1)[0].prompt_a.startswith("a photo of a")
    (tmp_path / "captions.txt").write_text("a cat\n\na dog\na cat\n")
    assert {draw_pairs(str(tmp_path / "captions.txt"), 1, 1)[0].prompt_a} <= {"a cat", "a dog"}
    (tmp_path / "captions.txt").write_text("a cat\na cat\n")
    for wrong in (tmp_path / "captions.txt", tmp_path / "none.txt"):
        with pytest.raises(ArgumentError):
            draw_pairs(str(wrong), 1, 1)

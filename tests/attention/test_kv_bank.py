"""Bank of the endpoints' keys and values."""

import pytest
import torch

from aid_pipeline.attention.kv_bank import EndpointKV, LayerCache, bank_bytes, clear, collect
from aid_pipeline.errors import RowsError


def test_the_bank_grows_by_chunks_and_is_cleared():
    def entry(value):
        return EndpointKV(
            torch.full((1, 2, 3, 8), value), torch.full((1, 2, 3, 8), -value), torch.ones(1, 3, dtype=torch.bool)
        )

    layers = [LayerCache("a"), LayerCache("b")]
    for value in (1.0, 2.0):
        for layer in layers:
            layer.saved = [entry(value), entry(value + 10)]
        collect(layers)
    assert layers[1].bank[1].key[:, 0, 0, 0].tolist() == [11, 12]
    assert layers[0].bank[0].value[:, 0, 0, 0].tolist() == [-1, -2]
    assert layers[0].bank[0].mask.shape == (2, 3)
    assert bank_bytes(layers) == 2 * 2 * 2 * (2 * 2 * 3 * 8 * 4)
    clear(layers)
    assert bank_bytes(layers) == 0


def test_saved_rows_are_copies_of_the_first():
    layer = LayerCache("a")
    key, value = torch.randn(2, 3, 2, 5, 8)
    layer.save(key, value, torch.ones(3, 5, dtype=torch.bool), rows=2)
    expected = key[:2].clone()
    key.zero_()
    collect([layer])
    assert torch.equal(layer.load(0).key, expected)
    assert layer.load(0).mask.shape == (2, 5)
    with pytest.raises(RowsError, match=r"layer a .* call 1"):
        layer.load(1)


def test_endpoints_of_different_lengths():
    """Chunks pad texts to their own longest; what a shorter one lacks is hidden."""
    layer = LayerCache("a")
    for length, mask in ((3, None), (5, torch.tensor([[True, True, True, True, False]])), (5, None)):
        layer.saved = [EndpointKV(*torch.ones(2, 1, 2, length, 8), mask)]
        collect([layer])
    entry = layer.load(0)
    assert entry.key.shape == entry.value.shape == (3, 2, 5, 8)
    assert entry.key[0, 0, :, 0].tolist() == [1, 1, 1, 0, 0]
    assert entry.mask.int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]

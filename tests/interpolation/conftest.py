"""A test of `interpolate` that asks for `family` runs on every family."""

import pytest

from ..support.families import FAMILIES, StockFamily


@pytest.fixture(params=FAMILIES, ids=str)
def family(request) -> StockFamily:
    return FAMILIES[request.param]

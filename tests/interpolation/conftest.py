"""A test of `interpolate` that asks for `family` runs on every family."""

import pytest

from ..support.families import FAMILIES, Family


@pytest.fixture(params=FAMILIES, ids=str)
def family(request) -> Family:
    return FAMILIES[request.param]

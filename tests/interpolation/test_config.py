"""Wrong values of `AIDConfig`, by name."""

import re

import pytest

from aid_pipeline import AIDConfig
from aid_pipeline.errors import ConfigError


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "middle"},
        {"mode": None},
        {"warmup": 1.01},
        {"warmup": -0.1},
        {"warmup": float("nan")},
        {"warmup": "0.5"},
        {"warmup": True},
        {"fuse_self": 1},
        {"impl": "cuda"},
    ],
    ids=str,
)
def test_a_wrong_config_names_the_value(fields):
    (value,) = fields.values()
    with pytest.raises(ConfigError, match=re.escape(repr(value))):
        AIDConfig(**fields)

"""Entry point of the command `aid`, which is also `python -m aid_pipeline`."""

import sys
from importlib.util import find_spec

from .extras import PACKAGES, PIPELINE, what_is_missing

# the command is installed without the extra too
NEEDED = tuple(module for module, (_, extra) in PACKAGES.items() if extra == PIPELINE)


def main() -> None:
    """Run `aid`, or say in one line which extra is missing, with exit code 1."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(f"error: {what_is_missing('aid', *missing)}")
    from .cli.app import main as run

    run()


if __name__ == "__main__":
    main()

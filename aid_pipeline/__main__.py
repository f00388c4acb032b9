"""Entry point of the command `aid`, which is also `python -m aid_pipeline`."""

import sys
from importlib.util import find_spec

# what the extra "pipeline" brings; without it the command is installed all the same
NEEDED = ("diffusers", "transformers", "scipy", "PIL", "typer", "rich")


def main() -> None:
    """Run `aid`, or say in one line which extra is missing, with exit code 1."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(f"error: aid needs {', '.join(missing)}: pip install 'aid-kernels[pipeline]'")
    from .cli.app import main as run

    run()


if __name__ == "__main__":
    main()

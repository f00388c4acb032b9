"""Entry point: `python -m aid_pipeline` is the command `aid`."""

from .cli.app import main

main()

"""`python -m aid_pipeline` is the command `aid`."""

from .cli import main

main()

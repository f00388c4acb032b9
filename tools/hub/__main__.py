"""Command: lays out a kernel-hub repository in a folder, with `--build` as a hub would serve it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.hub.layout import LOCAL, build, lay_out


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.hub", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the repository: new, empty, or laid out before")
    parser.add_argument("--repo-id", default=LOCAL, help="where it is uploaded; default %(default)s, for LOCAL_KERNELS")
    parser.add_argument(
        "--build", action="store_true", help="also build/, as kernel-builder makes it: to try it without that tool"
    )
    given = parser.parse_args(arguments)
    try:
        lay_out(given.out, given.repo_id)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{given.out}: {given.repo_id}, for `kernel-builder build-and-upload`")
    if given.build:
        variants = build(given.out)
        print(f"{', '.join(path.name for path in variants)}; LOCAL_KERNELS={given.repo_id}={given.out.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The import graph's rooms: prints them, and fails on a circle, an arrow upwards, or code that has grown too large.

`python -m tools.rooms` reads the sources alone and imports none of them. A room is a folder or a file next to one;
arrows may only go from a room to those below it in `FLOORS`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.imports import Module, circles, read_modules
from tools.sizes import too_large

ROOT = Path(__file__).resolve().parents[1]
MOST_ROOMS = 25
CHECKED = ("aid_kernels", "aid_pipeline", "benchmarks", "tests", "tools", "examples")

# from the top down; rooms on one floor do not import each other
FLOORS: dict[str, tuple[str, ...]] = {
    "aid_kernels": (
        "demo",
        "interpolated_attention",
        "interpolated_attention.api",
        "interpolated_attention.ops",
        "interpolated_attention.dispatch interpolated_attention.gradients",
        "interpolated_attention.auto",
        "interpolated_attention.running",
        "interpolated_attention.impl interpolated_attention.impl.triton",
        "interpolated_attention.tuning",
        "interpolated_attention.checks",
        "interpolated_attention.inputs interpolated_attention.layout",
        "plan",
        "constants version",
    ),
    "aid_pipeline": (
        "cli serving",
        "studies",
        "request",
        "composition editing timeline",
        "interpolation",
        "spec",
        "selection",
        "sampling metrics sequence",
        "attention conditioning io",
        "families config coefficients keyframes models",
        "miniature errors",
    ),
    "benchmarks": (
        "operator_cpu sequence_cpu selection throughput",
        "report gpu same_as",
        "tune sequence",
        "paper denoiser compile_report",
        "operator",
        "common",
    ),
}
# what a package itself may import at its first use of a name
DOORS = ("__init__", "__main__")


def room_of(module: str, package: str) -> str | None:
    """The room that a module is in, the longest name that fits; None for the package's own doors."""
    if module == package or module.removeprefix(f"{package}.") in DOORS:
        return None
    rooms = [room for floor in FLOORS[package] for room in floor.split()]
    inside = module.removeprefix(f"{package}.")
    fitting = [room for room in rooms if inside == room or inside.startswith(f"{room}.")]
    return max(fitting, key=len) if fitting else f"{inside} (on no floor)"


def arrows(modules: dict[str, Module], package: str) -> dict[str, set[str]]:
    """Every room of a package with the rooms it imports."""
    found: dict[str, set[str]] = {}
    for module in modules.values():
        room = room_of(module.name, package)
        if room is None:
            continue
        targets = {room_of(name, package) for name in module.imports}
        found.setdefault(room, set()).update(target for target in targets if target not in (None, room))
    return found


def faults(modules: dict[str, Module], package: str) -> list[str]:
    """What is wrong with a package's graph, a line each."""
    height = {room: -index for index, floor in enumerate(FLOORS[package]) for room in floor.split()}
    graph = arrows(modules, package)
    found = [f"{package}: {room}" for room in graph if room not in height]
    for room, targets in sorted(graph.items()):
        up = [target for target in targets if height.get(target, 0) >= height.get(room, 0)]
        found += [f"{package}: {room} imports {target}, which is not below it" for target in sorted(up)]
    found += [f"{package}: a circle, {' > '.join(circle)}" for circle in circles(modules)]
    if len(graph) > MOST_ROOMS:
        found.append(f"{package}: {len(graph)} rooms, more than {MOST_ROOMS}")
    return found


def describe(modules: dict[str, Module], package: str) -> str:
    """The rooms from the top down, each with what it imports."""
    graph = arrows(modules, package)
    lines = [f"{package}: {len(graph)} rooms, {sum(map(len, graph.values()))} arrows"]
    for floor in FLOORS[package]:
        lines += [f"  {room} > {', '.join(sorted(graph[room])) or '-'}" for room in floor.split() if room in graph]
    return "\n".join(lines)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.rooms", description=__doc__)
    parser.parse_args(arguments)
    wrong = too_large(root, CHECKED)
    for package in FLOORS:
        modules = read_modules(root, package)
        print(describe(modules, package))
        wrong += faults(modules, package)
    print("\n".join(wrong) or "no circle, no arrow upwards, nothing too large")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

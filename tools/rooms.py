"""Rooms of the import graph: prints them, and fails on a circle, an arrow upwards, or what the other checks find.

`python -m tools.rooms` reads the sources alone and imports none of them. A room is a folder or a file next to one;
it may import those on the floors below its own in `FLOORS`, and packages those in `MAY_IMPORT`. An import by a built
string cannot be followed, and is a fault outside `BUILT_NAMES`.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from tools.class_names import concrete_classes
from tools.doors import misdescribed, undescribed
from tools.imports import Module, circles, read_modules
from tools.sizes import too_large

ROOT = Path(__file__).resolve().parents[1]
MOST_ROOMS = 25
# what has rooms, and what else is there
PACKAGES = ("benchmarks", "aid_pipeline", "aid_kernels")
MEASURED = (*PACKAGES, "tests", "tools", "examples")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "tests": ("benchmarks", "aid_pipeline", "aid_kernels", "tools"),
    "examples": ("aid_pipeline", "aid_kernels"),
    "benchmarks": ("aid_pipeline", "aid_kernels"),
    "aid_pipeline": ("aid_kernels",),
    "aid_kernels": (),
    "tools": ("aid_pipeline", "aid_kernels"),
}
BUILT_NAMES = {
    "aid_pipeline.extras": "imports a name's home when the name is first used; homes are read from its dict",
    "benchmarks.gpu.parts": "a GPU machine may lack a part's packages, so each is imported when it runs",
}

# from the top down; rooms on one floor do not import each other
FLOORS: dict[str, tuple[str, ...]] = {
    "aid_kernels": (
        "demo doctor",
        "interpolated_attention",
        "interpolated_attention.api",
        "interpolated_attention.ops",
        "interpolated_attention.dispatch interpolated_attention.gradients",
        "interpolated_attention.auto",
        "interpolated_attention.running",
        "interpolated_attention.impl interpolated_attention.impl.hopper interpolated_attention.impl.triton",
        "interpolated_attention.tuning",
        "interpolated_attention.checks",
        "interpolated_attention.inputs interpolated_attention.layout interpolated_attention.hidden",
        "interpolated_attention.biases",
        "plan",
        "constants version",
    ),
    "aid_pipeline": (
        "cli serving",
        "studies",
        "request",
        "composition editing timeline inversion",
        "interpolation",
        "spec",
        "selection",
        "sampling metrics sequence",
        "attention conditioning io",
        "families coefficients keyframes models",
        "miniature",
        "config",
        "errors",
        "extras atomic_files precision",
    ),
    "benchmarks": (
        "operator_cpu sequence_cpu selection throughput pretended_gpu",
        "report gpu same_as",
        "tune sequence",
        "paper denoiser compile_report",
        "operator",
        "common",
    ),
}
# a package's own doors import what they lead to, whatever its floor
DOORS = ("__init__", "__main__")

# from a room to another: the modules that import, each with what it imports
Arrows = dict[tuple[str, str], list[tuple[str, str]]]


def room_of(module: str, floors: Iterable[str]) -> str | None:
    """The room of a module, the longest name that fits, or its own name on no floor; None for its package's doors."""
    inside = module.partition(".")[2]
    if not inside or inside in DOORS:
        return None
    fitting = [room for floor in floors for room in floor.split() if f"{inside}.".startswith(f"{room}.")]
    return max(fitting, key=len, default=inside)


def arrows(modules: dict[str, Module], package: str, floors: Iterable[str]) -> Arrows:
    """Which rooms of a package import which."""
    found: Arrows = {}
    for module in modules.values():
        for target in module.imports if module.package == package else ():
            here, there = room_of(module.name, floors), room_of(target, floors)
            if here and there and here != there and modules[target].package == package:
                found.setdefault((here, there), []).append((module.name, target))
    return found


def faults(modules: dict[str, Module], package: str, floors: tuple[str, ...]) -> list[str]:
    """What is wrong with a package's rooms, a line each."""
    level = {room: number for number, floor in enumerate(floors) for room in floor.split()}
    rooms = _rooms(modules, package, floors)
    found = [f"{package}: {room} is on no floor; FLOORS in tools/rooms.py names it" for room in rooms - level.keys()]
    for (here, there), imports in arrows(modules, package, floors).items():
        if here in level and there in level and level[there] <= level[here]:
            where = ", ".join(f"{module} imports {target}" for module, target in sorted(imports)[:3])
            found.append(f"{package}: {here} imports {there}, which is not below it ({where})")
    if len(rooms) > MOST_ROOMS:
        found.append(f"{package}: {len(rooms)} rooms, more than {MOST_ROOMS}")
    return sorted(found)


def package_faults(
    modules: dict[str, Module],
    may_import: dict[str, tuple[str, ...]] = MAY_IMPORT,
    built_names: Iterable[str] = BUILT_NAMES,
) -> list[str]:
    """Imports of a package that the importing one may not import, of a package's own door, and by built names."""
    found: list[str] = []
    for module in modules.values():
        here, inside = module.package, module.name.partition(".")[2]
        for target in sorted(module.imports):
            there = modules[target].package
            if there != here and there not in may_import[here]:
                found.append(f"{module.name} imports {target}: {here} may not import {there}")
            if target == here and inside not in DOORS:
                found.append(f"{module.name} imports {target}, the door of its own package; name the module it needs")
        if module.imports_built_names and here != "tests" and module.name not in built_names:
            found.append(f"{module.name} imports by a built name; write the name, or say why in tools/rooms.py")
    return found


def describe(modules: dict[str, Module], package: str, floors: tuple[str, ...]) -> str:
    """The rooms from the top down, each with what it imports."""
    rooms, graph = _rooms(modules, package, floors), sorted(arrows(modules, package, floors))
    lines = [f"{package}: {len(rooms)} rooms, {len(graph)} arrows"]
    for room in (room for floor in floors for room in floor.split() if room in rooms):
        lines.append(f"  {room} > {', '.join(there for here, there in graph if here == room) or '-'}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.rooms", description=__doc__)
    parser.parse_args(arguments)
    modules = read_modules(root, MEASURED)
    wrong = [*undescribed(root, PACKAGES), *misdescribed(root, PACKAGES, modules, FLOORS)]
    wrong += [*too_large(root, MEASURED), *package_faults(modules), *concrete_classes(root, PACKAGES)]
    wrong += [f"a circle: {' > '.join([*circle, circle[0]])}" for circle in circles(modules)]
    for package, floors in FLOORS.items():
        print(describe(modules, package, floors))
        wrong += faults(modules, package, floors)
    print(
        "\n".join(wrong)
        or "no circle, no arrow upwards, nothing too large, every folder described, no family known by class"
    )
    return 1 if wrong else 0


def _rooms(modules: dict[str, Module], package: str, floors: Iterable[str]) -> set[str]:
    names = (room_of(module.name, floors) for module in modules.values() if module.package == package)
    return {name for name in names if name is not None}


if __name__ == "__main__":
    # a reader that has enough, such as head, ends the command without a word
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())

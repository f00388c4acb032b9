"""Hopper kernel without a GPU: its schedule emulated, its machine code compiled, its inputs refused by name."""

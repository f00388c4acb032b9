"""Before anything imports Triton or a hub client: interpret kernels on the CPU, and never reach for the network."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how often the command is killed at a random point")

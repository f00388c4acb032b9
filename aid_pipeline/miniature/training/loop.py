"""The training loop all stages share: bf16 autocast, EMA, warm-up and cosine decay, checkpoints that resume bit for
bit.

Checkpoints are safetensors (tensors) and JSON (numbers) in one file; nothing is pickled.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...atomic_files import replacing
from . import workers


@dataclass(frozen=True)
class Hyperparameters:
    """``minutes`` ends a stage by the clock instead of by ``steps``; the learning rate then follows the clock too."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: int = 100
    ema: float = 0.998
    minutes: float | None = None
    seed: int = 0
    checkpoint_every: float = 180.0  # seconds


class TrainingLoop:
    """Trains ``module`` on ``loss(generator, progress) -> (loss, figures)``; ``finished`` gets the EMA weights."""

    def __init__(self, name: str, module: nn.Module, hyperparameters: Hyperparameters, folder: Path):
        self.name, self.module, self.hyperparameters = name, module, hyperparameters
        self.path = folder / f"{name}.checkpoint.safetensors"
        self.log_path = folder / f"{name}.log.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.trained = {k: p for k, p in module.named_parameters() if p.requires_grad}
        self.average = {k: p.detach().clone() for k, p in self.trained.items()}
        decay = [p for p in self.trained.values() if p.ndim > 1]
        rest = [p for p in self.trained.values() if p.ndim <= 1]
        groups = [
            {"params": decay, "weight_decay": hyperparameters.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=hyperparameters.learning_rate, betas=(0.9, 0.99), fused=True)
        self.step, self.seconds = 0, 0.0

    def progress(self) -> float:
        share = self.step / self.hyperparameters.steps
        if self.hyperparameters.minutes is not None:
            share = self.seconds / 60 / self.hyperparameters.minutes
        return min(share, 1.0)

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.step + 1) / self.hyperparameters.warmup)
        return (
            self.hyperparameters.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.progress())))
        )

    def _generator(self) -> torch.Generator:
        """Made anew for each step and worker, so that a checkpoint need not keep any state of it."""
        seed = (self.hyperparameters.seed * 10_000_019 + self.step) * workers.number() + workers.rank()
        return torch.Generator().manual_seed(seed)

    def save(self) -> None:
        from safetensors.torch import save_file

        tensors = {f"weight.{k}": p.detach().contiguous() for k, p in self.trained.items()}
        tensors |= {f"average.{k}": p.contiguous() for k, p in self.average.items()}
        for k, p in self.trained.items():
            for moment in ("exp_avg", "exp_avg_sq", "step"):
                if p in self.optimizer.state:
                    tensors[f"{moment}.{k}"] = self.optimizer.state[p][moment].contiguous()
        numbers = {"step": self.step, "seconds": self.seconds, "hyperparameters": asdict(self.hyperparameters)}
        with replacing(self.path) as unfinished:
            save_file(tensors, unfinished, metadata={"numbers": json.dumps(numbers)})

    def resume(self) -> bool:
        """Takes up the last checkpoint if there is one."""
        from safetensors import safe_open
        from safetensors.torch import load_file

        if not self.path.exists():
            return False
        tensors = load_file(self.path)
        with safe_open(self.path, "pt") as file:
            numbers = json.loads(file.metadata()["numbers"])
        self.step, self.seconds = numbers["step"], numbers["seconds"]
        for k, p in self.trained.items():
            p.data.copy_(tensors[f"weight.{k}"])
            self.average[k].copy_(tensors[f"average.{k}"])
            if f"exp_avg.{k}" in tensors:
                self.optimizer.state[p] = {m: tensors[f"{m}.{k}"] for m in ("exp_avg", "exp_avg_sq", "step")}
        return True

    def run(
        self,
        loss: Callable[[torch.Generator, float], tuple[Tensor, dict[str, Tensor]]],
        export: Callable[[], None] | None = None,
    ) -> None:
        """Trains to the end of the hyperparameters. ``export`` is called after each checkpoint and at the end."""
        from tqdm import tqdm

        resumed = self.resume()
        bar = tqdm(
            total=self.hyperparameters.steps,
            initial=self.step,
            desc=self.name + (" (resumed)" if resumed else ""),
            mininterval=20,
            disable=workers.rank() > 0,
        )
        saved = last = time.monotonic()
        sums: dict[str, float] = {}
        count = 0
        while self.progress() < 1:
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate()
            with torch.autocast(next(iter(self.trained.values())).device.type, torch.bfloat16):
                value, figures = loss(self._generator(), self.progress())
            value.backward()
            now = time.monotonic()
            spent = torch.tensor([now - last])
            last = now
            workers.mean([*(p.grad for p in self.trained.values() if p.grad is not None), spent])
            nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            # Early averages forget faster, so that the random start does not linger.
            keep = min(self.hyperparameters.ema, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in self.trained.values()], 1 - keep)
            self.seconds += float(spent)  # every worker agrees on it, so all end at the same step
            count += 1
            for k, v in {"loss": value.detach(), **figures}.items():
                sums[k] = sums.get(k, 0.0) + float(v)
            bar.update()
            if self.step % 50 == 0 and not workers.rank():
                means = {k: round(v / count, 5) for k, v in sums.items()}
                bar.set_postfix(means, refresh=False)
                line = {"step": self.step, "seconds": round(self.seconds), **means}
                with self.log_path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                sums, count = {}, 0
            if now - saved > self.hyperparameters.checkpoint_every:
                self._keep(export)
                saved = time.monotonic()
        bar.close()
        workers.in_turn(lambda: self._keep(export))

    def _keep(self, export: Callable[[], None] | None) -> None:
        """Writes what there is; under several workers, the first one does, while the others go on to the exchange."""
        if workers.rank():
            return
        self.save()
        if export:
            export()

    def averaged(self) -> nn.Module:
        """A copy of the module with the EMA weights, in evaluation mode."""
        import copy

        twin = copy.deepcopy(self.module).eval()
        with torch.no_grad():
            for k, p in twin.named_parameters():
                if k in self.average:
                    p.copy_(self.average[k])
        return twin

"""PyTorch at its quickest: the iteration captured as a CUDA graph, or its networks compiled by `torch.compile`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxgan.benchmark.torch_baseline import TorchWorkload, check
from jaxgan.config import Config
from jaxgan.errors import InputError

# Before a capture, as PyTorch asks: libraries choose their kernels, optimizers make their buffers.
WARM_UPS = 3


def capture(iteration: Callable[[], None]) -> Callable[[], None]:
    """A CUDA graph of an iteration: what repeats its kernels, and none of its Python."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            iteration()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        iteration()
    return graph.replay


class GraphedWorkload(TorchWorkload):
    """`TorchWorkload` whose iteration, latents and optimizers with it, is one CUDA graph."""

    def place(self, channels_last: bool) -> None:
        """As in `TorchWorkload`; what was captured before is forgotten."""
        super().place(channels_last)
        self._replay: Callable[[], None] | None = None

    def _optimizer(self, parameters: Any, rate: float) -> Any:
        optimizer = super()._optimizer(parameters, rate)
        for group in optimizer.param_groups:
            if "capturable" in group:  # The number of the step on the device, not in Python.
                group["capturable"] = self._device.type == "cuda"
        return optimizer

    def _iteration(self) -> None:
        if self._replay is None:
            self._replay = capture(super()._iteration)
        self._replay()


class CompiledWorkload(TorchWorkload):
    """`TorchWorkload` whose networks are compiled."""

    def __init__(self, config: Config, iterations: int, num_classes: int):
        super().__init__(config, iterations, num_classes)
        self.generator.compile()
        self.critic.compile()


def check_graph(config: Config) -> None:
    """Raises `InputError` where an iteration cannot be captured."""
    check(config)
    import torch

    if not torch.cuda.is_available():
        raise InputError("--compare torch_graph needs a CUDA device, and there is none: leave torch_graph out")
    if config.objective.resolved().penalty_interval > 1:  # Python decides in every iteration.
        raise InputError("--compare torch_graph has no lazy penalty: leave torch_graph out")


def check_compile(config: Config) -> None:
    """Raises `InputError` where `torch.compile` does not work: it differentiates once, and a CPU needs a compiler."""
    check(config)
    import torch

    objective = config.objective.resolved()
    if objective.penalty != "none" or objective.r1_weight:
        raise InputError(
            "--compare torch_compile: torch.compile differentiates once, a gradient penalty needs it twice: leave"
            " torch_compile out"
        )
    if not torch.cuda.is_available() and not shutil.which(os.environ.get("CXX", "g++")):
        raise InputError("--compare torch_compile needs a C++ compiler on a CPU: install g++, or leave it out")


class Mode(NamedTuple):
    """A way to run PyTorch: `check` raises `InputError` for a config that it cannot run."""

    check: Callable[[Config], None]
    workload: type[TorchWorkload]


# By the name that `--compare` takes.
MODES = {
    "torch": Mode(check, TorchWorkload),
    "torch_graph": Mode(check_graph, GraphedWorkload),
    "torch_compile": Mode(check_compile, CompiledWorkload),
}

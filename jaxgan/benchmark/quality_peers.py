"""PyTorch peers for the quality table: the networks and training steps of public libraries, on the same reals.

`sngan32`, `sngan64`, `wgan_gp32` and `wgan_gp64` are those of torch-mimicry (Lee & Town 2020, arXiv:2005.02494) with
its own steps, optimizers and numbers of critic updates; `dcgan_gp` is the plain DCGAN with WGAN-GP (5 critic updates)
that a PyTorch user would write first. Each gets random flips and quarter turns of reals above 32 pixels, image by
image, as jaxgan's presets of these sizes have them.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jaxgan.benchmark.torch_augment import mirror_and_turn
from jaxgan.benchmark.torch_baseline import TorchWorkload
from jaxgan.config import Config
from jaxgan.data.dataset import Dataset
from jaxgan.errors import InputError, library

MIMICRY = {f"{kind}{side}": (kind, side) for kind in ("sngan", "wgan_gp") for side in (32, 64)}
PEERS = (*MIMICRY, "dcgan_gp")


def train_peer(
    name: str,
    dataset: Dataset,
    budget: float,
    num_samples: int,
    seed: int,
    width: int = 256,
    clock: Callable[[], float] = time.process_time,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Trains a peer for a budget of seconds and samples it; on a CUDA device where there is one.

    Args:
      name: one of `PEERS`.
      dataset: the reals; square images.
      budget: seconds of the clock, those before the call included.
      num_samples: how many samples to make.
      seed: of weights and draws.
      width: of torch-mimicry's networks.
      clock: seconds that this process has used so far.

    Returns:
      Samples float32 `[num_samples, H, W, C]` in [-1, 1], and facts of the run.

    Raises:
      InputError: no such peer, PyTorch or torch-mimicry not installed, a side that the peer does not have.
    """
    torch = library("torch", "bench", f"the row {name}")
    torch.manual_seed(seed)
    images = np.asarray(dataset.scaling.decode(dataset.read(np.arange(dataset.size))))
    reals = torch.from_numpy(np.moveaxis(images, -1, 1).copy())
    if name in MIMICRY:
        step, generator, latent_dim = _mimicry(name, reals, width)
    elif name == "dcgan_gp":
        step, generator, latent_dim = _dcgan_gp(reals, seed)
    else:
        raise InputError(f"no peer {name!r}: choose one of {', '.join(PEERS)}")
    steps = 0
    while clock() < budget:
        step()
        steps += 1
    facts = {"step": steps, "seconds": clock()}
    return _sample(generator, latent_dim, num_samples), facts


def _sample(generator: Any, latent_dim: int, count: int) -> np.ndarray:
    import torch

    generator.eval()
    device, samples = next(generator.parameters()).device, list[np.ndarray]()
    with torch.no_grad():
        while sum(map(len, samples)) < count:
            samples.append(generator(torch.randn(50, latent_dim, device=device)).clamp(-1, 1).cpu().numpy())
    joined = np.moveaxis(np.concatenate(samples)[:count], 1, -1)
    return np.ascontiguousarray(joined, np.float32)


def _batches(reals: Any, size: int) -> Iterator[Any]:
    """Random batches `[size, C, H, W]` forever; each image flipped and turned at random, if those of a set have no
    upright: of sides above 32, as the presets have it."""
    import torch

    probabilities = (0.5, 0.75) if reals.shape[-1] > 32 else (0.0, 0.0)
    while True:
        yield mirror_and_turn(reals[torch.randint(len(reals), (size,))], *probabilities)


def _mimicry(name: str, reals: Any, width: int) -> tuple[Callable[[], None], Any, int]:
    import torch

    kind, side = MIMICRY[name]
    if tuple(reals.shape[1:]) != (3, side, side):
        raise InputError(f"the row {name} is for RGB images of side {side}, not {list(reals.shape[1:])}")
    _stand_ins()
    try:
        module = importlib.import_module(f"torch_mimicry.nets.{kind}.{kind}_{side}")
        logs = importlib.import_module("torch_mimicry.training.metric_log")
    except ImportError as error:
        raise InputError(
            f"the row {name} needs torch-mimicry: pip install --no-deps torch-mimicry, and scikit-image ({error})"
        ) from None
    log, device = logs.MetricLog(), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = getattr(module, f"{kind.upper().replace('_GP', 'GP')}Generator{side}")(ngf=width).to(device)
    critic = getattr(module, f"{kind.upper().replace('_GP', 'GP')}Discriminator{side}")(ndf=width).to(device)
    optimizers = [torch.optim.Adam(net.parameters(), 2e-4, (0.0, 0.9)) for net in (generator, critic)]
    batches = _batches(reals, 16)

    def step() -> None:
        for _ in range(5):
            real = next(batches).to(device)
            critic.train_step(
                real_batch=(real, None), netG=generator, optD=optimizers[1], log_data=log, global_step=0, device=device
            )
        generator.train_step(
            real_batch=(real, None), netD=critic, optG=optimizers[0], log_data=log, global_step=0, device=device
        )

    return step, generator, generator.nz


def _stand_ins() -> None:
    """Empty modules for what torch-mimicry imports and its networks do not use (torchvision, TensorFlow, metrics)."""

    class Anything(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return Anything(name)

        def __call__(self, *_: Any, **__: Any) -> Any:
            return self

    for name in ("torchvision", "torchvision.transforms", "torchvision.utils", "torchvision.datasets", "tensorflow",
                 "torch_mimicry.metrics", "torch_mimicry.datasets", "torch.utils.tensorboard"):  # fmt: skip
        if name not in sys.modules:
            module = Anything(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)
            sys.modules[name] = module


def _dcgan_gp(reals: Any, seed: int) -> tuple[Callable[[], None], Any, int]:
    channels, side = reals.shape[1], reals.shape[-1]
    widths = (128, 64) if side % 16 else (256, 128, 64, 32)
    config = Config.from_dict(
        {
            "seed": seed,
            "data": {"size": side, "channels": channels},
            "generator": {"widths": widths},
            "critic": {"widths": widths[::-1]},
            "optimizer": {"lr": 2e-4, "beta1": 0.0, "beta2": 0.9},
            "train": {"batch_size": 32},
        }
    )
    workload = TorchWorkload(config, 1, 0, _batches(reals, 32))

    def step() -> None:
        workload.run()

    return step, workload.generator, config.generator.latent_dim

"""The same work in PyTorch eager: same widths, norms, batch, losses, schedule and optimizer, channels-last.

It is written as a good PyTorch user would write it; nothing is shared with the JAX code but the config. One device.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from jaxgan.config import Config
from jaxgan.errors import InputError

_LOSSES = ("wgan", "non_saturating")
_PENALTIES = ("none", "gp")


def check(config: Config) -> None:
    """Raises `InputError` when PyTorch is missing, or the preset plays a game that is not written here."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise InputError("--compare torch: PyTorch is not installed: pip install 'jaxgan[bench]'") from None
    objective = config.objective.resolved()
    if objective.loss not in _LOSSES or objective.penalty not in _PENALTIES:
        raise InputError(
            f"--compare torch knows losses {', '.join(_LOSSES)} and penalties {', '.join(_PENALTIES)}, not"
            f" {objective.loss} with {objective.penalty}: leave torch out of --compare"
        )
    networks = config.generator.network, config.critic.network
    if networks != ("dcgan", "dcgan"):
        raise InputError(f"--compare torch has DCGANs only, not {' and '.join(networks)}: leave torch out of --compare")
    if config.generator.spectral or config.critic.spectral or config.critic.conditioning == "auxiliary":
        raise InputError("--compare torch has no spectral norm and no auxiliary classifier: leave torch out")


class TorchWorkload:
    """Iterations of a preset in PyTorch; `run` has the signature of `Workload.run`. It trains on the batch in `real`.

    Args:
      config: what to run.
      iterations: of one `run`.
      num_classes: classes of a conditional preset.
    """

    def __init__(self, config: Config, iterations: int, num_classes: int):
        import torch

        self._torch, self._config, self.iterations = torch, config, iterations
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._classes = num_classes if config.critic.conditioning != "none" else 0
        rank = config.data.spatial_rank
        layout = torch.channels_last if rank == 2 else torch.channels_last_3d
        self.generator, self._critic = (
            module.to(self._device).to(memory_format=layout)
            for module in (_generator(config, self._classes), _critic(config, self._classes))
        )
        optimizer = config.optimizer
        make = {
            "adam": lambda p: torch.optim.Adam(p, optimizer.lr, (optimizer.beta1, optimizer.beta2)),
            "rmsprop": lambda p: torch.optim.RMSprop(p, optimizer.lr, optimizer.beta2),
        }.get(optimizer.name)
        if make is None:
            raise InputError(f"--compare torch has no optimizer {optimizer.name}: leave torch out of --compare")
        self._optimizers = make(self.generator.parameters()), make(self._critic.parameters())
        shape = (config.train.batch_size, config.data.channels) + (config.data.size,) * rank
        self.real = torch.rand(shape, device=self._device).mul_(2).sub_(1).contiguous(memory_format=layout)
        self._labels = torch.randint(0, max(self._classes, 1), shape[:1], device=self._device)

    def run(self) -> tuple[float, float]:
        """`iterations` iterations; returns (seconds of one, 0)."""
        self._synchronise()
        began = time.perf_counter()
        for _ in range(self.iterations):
            self._iteration()
        self._synchronise()
        return (time.perf_counter() - began) / self.iterations, 0.0

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            self._torch.cuda.synchronize()

    def _autocast(self) -> Any:
        if self._config.train.precision == "float32":
            return contextlib.nullcontext()
        return self._torch.autocast(self._device.type, dtype=self._torch.bfloat16)

    def _latents(self) -> Any:
        return self._torch.randn(len(self.real), self._config.generator.latent_dim, device=self._device)

    def _iteration(self) -> None:
        torch, objective = self._torch, self._config.objective.resolved()
        softplus = torch.nn.functional.softplus
        wasserstein = objective.loss == "wgan"
        of_generator, of_critic = self._optimizers
        for _ in range(objective.n_critic):
            with torch.no_grad(), self._autocast():
                fake = self.generator(self._latents(), self._labels).float()
            of_critic.zero_grad(set_to_none=True)
            with self._autocast():
                real_scores, fake_scores = self._critic(self.real, self._labels), self._critic(fake, self._labels)
            if wasserstein:
                loss = fake_scores.float().mean() - real_scores.float().mean()
            else:
                loss = softplus(-real_scores.float()).mean() + softplus(fake_scores.float()).mean()
            if objective.drift_weight:
                loss = loss + objective.drift_weight * real_scores.float().square().mean()
            if objective.penalty == "gp":
                loss = loss + objective.penalty_weight * self._gradient_penalty(fake)
            loss.backward()
            of_critic.step()
            if objective.weight_clip:
                with torch.no_grad():
                    for parameter in self._critic.parameters():
                        parameter.clamp_(-objective.weight_clip, objective.weight_clip)
        of_generator.zero_grad(set_to_none=True)
        self._critic.requires_grad_(False)
        with self._autocast():
            scores = self._critic(self.generator(self._latents(), self._labels), self._labels).float()
        (-scores.mean() if wasserstein else softplus(-scores).mean()).backward()
        of_generator.step()
        self._critic.requires_grad_(True)

    def _gradient_penalty(self, fake: Any) -> Any:
        torch = self._torch
        share = torch.rand(len(fake), *(1,) * (fake.dim() - 1), device=self._device)
        mixed = torch.lerp(fake, self.real, share).requires_grad_(True)
        with self._autocast():
            scores = self._critic(mixed, self._labels)
        (gradient,) = torch.autograd.grad(scores.float().sum(), mixed, create_graph=True)
        return ((gradient.float().flatten(1).square().sum(1) + 1e-12).sqrt() - 1.0).square().mean()


def _norm(kind: str, channels: int, rank: int) -> Any:
    from torch import nn

    kinds: dict[str, Callable[[], Any]] = {
        "none": nn.Identity,
        "batch": lambda: (nn.BatchNorm2d if rank == 2 else nn.BatchNorm3d)(channels),
        "layer": lambda: nn.GroupNorm(1, channels),
        "instance": lambda: (nn.InstanceNorm2d if rank == 2 else nn.InstanceNorm3d)(channels, affine=True),
        "group": lambda: nn.GroupNorm(min(32, channels), channels),
    }
    return kinds[kind]()


def _generator(config: Config, classes: int) -> Any:
    import torch
    from torch import nn

    rank, widths, settings = config.data.spatial_rank, config.generator.widths, config.generator
    up = nn.ConvTranspose2d if rank == 2 else nn.ConvTranspose3d
    base = config.data.size >> len(widths)

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            inputs = settings.latent_dim * (2 if classes else 1)
            self.embedding = nn.Embedding(classes, settings.latent_dim) if classes else None
            self.project = nn.Linear(inputs, widths[0] * base**rank)
            layers = []
            for width, following in zip(widths, [*widths[1:], config.data.channels], strict=True):
                layers += [_norm(settings.norm, width, rank), nn.ReLU(inplace=True), up(width, following, 4, 2, 1)]
            self.body = nn.Sequential(*layers, nn.Tanh())

        def forward(self, z, labels=None):
            if self.embedding is not None:
                z = torch.cat([z, self.embedding(labels)], 1)
            h = self.project(z).view(len(z), widths[0], *(base,) * rank)
            return self.body(h.contiguous(memory_format=torch.channels_last if rank == 2 else torch.channels_last_3d))

    return Generator()


def _critic(config: Config, classes: int) -> Any:
    from torch import nn

    rank, widths, settings = config.data.spatial_rank, config.critic.widths, config.critic
    down = nn.Conv2d if rank == 2 else nn.Conv3d
    features = widths[-1] * (config.data.size >> len(widths)) ** rank

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            layers = []
            for i, (previous, width) in enumerate(zip([config.data.channels, *widths], widths, strict=False)):
                norm = _norm("none" if i == 0 else settings.norm, width, rank)
                layers += [down(previous, width, 4, 2, 1), norm, nn.LeakyReLU(0.2)]
            self.body = nn.Sequential(*layers, nn.Flatten())
            self.score = nn.Linear(features, 1)
            self.projection = nn.Linear(features, classes, bias=False) if classes else None

        def forward(self, x, labels):
            h = self.body(x)
            scores = self.score(h)[:, 0]
            if self.projection is not None:
                scores = scores + self.projection(h).gather(1, labels[:, None])[:, 0]
            return scores

    return Critic()

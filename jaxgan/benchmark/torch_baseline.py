"""The same work in PyTorch eager: same networks, batch, losses, penalties, augmentation and optimizer.

It is written as a good PyTorch user would write it; nothing is shared with the JAX code but the config. One device.
Left out are what costs next to nothing: the moving average, and rates that change.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from jaxgan.config import Config
from jaxgan.errors import InputError

_LOSSES = ("wgan", "non_saturating", "saturating", "hinge", "lsgan", "relativistic")
_PENALTIES = ("none", "gp", "lp", "r1", "r2", "r1+r2")
_OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
_WITHOUT = ("turn", "rotation", "hue")
_SYMMETRIES = {"flip", "rot90"}


def check(config: Config) -> None:
    """Raises `InputError` when PyTorch is missing, or the preset plays a game that is not written here."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise InputError("--compare torch: PyTorch is not installed: pip install 'jaxgan[bench]'") from None
    objective, optimizer = config.objective.resolved(), config.optimizer
    ours = {
        "objective.loss": (objective.loss, _LOSSES),
        "objective.penalty": (objective.penalty, _PENALTIES),
        "optimizer.name": (optimizer.name, _OPTIMIZERS),
        "generator.network": (config.generator.network, ("dcgan", "lean", "resnet", "growing")),
        "critic.network": (config.critic.network, ("dcgan", "resnet", "growing")),
        "critic.conditioning": (config.critic.conditioning, ("none", "projection")),
    }
    for field, (value, known) in ours.items():
        if value not in known:
            raise InputError(f"--compare torch knows {', '.join(known)}, not config.{field}={value}: leave torch out")
    unknown = [name for name in config.diffaugment.policy if name in _WITHOUT]
    unknown += [name for name in config.augment.active if name not in _SYMMETRIES]
    if unknown:
        raise InputError(f"--compare torch has no augmentation by {', '.join(unknown)}: leave torch out of --compare")
    if objective.perceptual_weight or optimizer.grad_clip_norm or config.train.accumulate > 1:
        raise InputError(
            "--compare torch has no perceptual loss, clipping of gradients or accumulation: leave torch out"
        )


class Draws(NamedTuple):
    """The random numbers of one update.

    Attributes:
      z: latents `[N, latent_dim]`.
      share: of the reals in what the gradient penalty looks at, `[N]`.
      real: numbers of the augmentation of reals by operation, `[N, k]` each.
      fake: the same of fakes.
    """

    z: Any
    share: Any
    real: dict[str, Any]
    fake: dict[str, Any]


class TorchWorkload:
    """Iterations of a preset in PyTorch; `run` has the signature of `Workload.run`. It trains on the batch in `real`.

    The first run tries both layouts in memory, channels first and last, and keeps the faster.

    Args:
      config: what to run.
      iterations: of one `run`.
      num_classes: classes of a conditional preset.
      batches: of reals `[N, C, *S]`, a new one for every update of the critic, in place of the one in `real`.
    """

    def __init__(self, config: Config, iterations: int, num_classes: int, batches: Iterator[Any] | None = None):
        import torch

        from jaxgan.benchmark.torch_networks import build_critic, build_generator

        check(config)
        self._torch, self._config, self.iterations = torch, config, iterations
        self._objective = config.objective.resolved()
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self._device.type == "cuda":  # What XLA does by itself: kernels chosen by trial, products in TF32.
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")
        classes = num_classes if config.critic.conditioning != "none" else 0
        self._rank = config.data.spatial_rank
        self.generator: Any = build_generator(config, classes).to(self._device)
        self.critic: Any = build_critic(config, classes).to(self._device)
        shape = (config.train.batch_size, config.data.channels) + (config.data.size,) * self._rank
        self.real = torch.rand(shape, device=self._device).mul_(2).sub_(1)
        self.labels = torch.randint(0, max(classes, 1), shape[:1], device=self._device)
        self._batches, self._critic_updates = batches, 0
        self._settled = False
        self.place(channels_last=True)

    def place(self, channels_last: bool) -> None:
        """Lays networks and reals out in memory, with optimizers that have seen nothing."""
        torch = self._torch
        last = torch.channels_last if self._rank == 2 else torch.channels_last_3d
        layout = last if channels_last else torch.contiguous_format
        self.generator.to(memory_format=layout).start.layout = layout
        self.critic.to(memory_format=layout)
        self.real = self.real.contiguous(memory_format=layout)
        self._of_generator, self._of_critic = (
            self._optimizer(net.parameters(), rate)
            for net, rate in (
                (self.generator, self._config.optimizer.lr),
                (self.critic, self._config.optimizer.critic_lr or self._config.optimizer.lr),
            )
        )

    def run(self) -> tuple[float, float]:
        """`iterations` iterations; returns (seconds of one, 0)."""
        if not self._settled:
            self._settle()
        return self._seconds(self.iterations) / self.iterations, 0.0

    def _settle(self) -> None:
        seconds = {}
        for channels_last in (False, True):
            self.place(channels_last)
            self._seconds(1)
            seconds[channels_last] = min(self._seconds(1), self._seconds(1))
        self.place(seconds[True] <= seconds[False])
        self._settled = True

    def _seconds(self, iterations: int) -> float:
        self._synchronise()
        began = time.perf_counter()
        for _ in range(iterations):
            self._iteration()
        self._synchronise()
        return time.perf_counter() - began

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            self._torch.cuda.synchronize()

    def _iteration(self) -> None:
        for _ in range(self._objective.n_critic):
            self.critic_update(self._shown(), self._draw())
        self.generator_update(self._shown() if self._objective.loss == "relativistic" else self.real, self._draw())

    def critic_update(self, real: Any, draws: Draws) -> None:
        """One descent of the critic on reals `[N, C, *S]`; its gradients are left in place."""
        torch, objective = self._torch, self._objective
        with torch.no_grad():
            fake = self._make(draws)
        seen_real, seen_fake = self._augmented(draws.real, real), self._augmented(draws.fake, fake)
        self._of_critic.zero_grad(set_to_none=True)
        real_scores, fake_scores = self._score(seen_real), self._score(seen_fake)
        loss = self._of_scores(real_scores, fake_scores).mean()
        if objective.drift_weight:
            loss = loss + objective.drift_weight * real_scores.square().mean()
        if self._critic_updates % objective.penalty_interval == 0:
            loss = loss + objective.penalty_interval * self._penalties(real, fake, seen_real, seen_fake, draws)
        self._critic_updates += 1
        loss.backward()
        self._of_critic.step()
        if objective.weight_clip:
            with torch.no_grad():
                for parameter in self.critic.parameters():
                    parameter.clamp_(-objective.weight_clip, objective.weight_clip)

    def generator_update(self, real: Any, draws: Draws) -> None:
        """One descent of the generator; its gradients are left in place."""
        self._of_generator.zero_grad(set_to_none=True)
        self.critic.requires_grad_(False)
        scores = self._score(self._augmented(draws.fake, self._make(draws)))
        relative = self._objective.loss == "relativistic"
        real_scores = self._score(self._augmented(draws.real, real)) if relative else None
        self._of_generated(real_scores, scores).mean().backward()
        self._of_generator.step()
        self.critic.requires_grad_(True)

    def _draw(self) -> Draws:
        from jaxgan.benchmark.torch_augment import draw

        torch, count, policy = self._torch, len(self.real), self._config.diffaugment.policy
        real, fake = (draw(policy, count, self._rank, self._device) if policy else {} for _ in range(2))
        z = torch.randn(count, self._config.generator.latent_dim, device=self._device)
        return Draws(z, torch.rand(count, device=self._device), real, fake)

    def _shown(self) -> Any:
        from jaxgan.benchmark.torch_augment import mirror_and_turn

        if self._batches is not None:
            self.real = next(self._batches).to(self._device)
        return mirror_and_turn(self.real, self._config.augment.flip, self._config.augment.rot90)

    def _augmented(self, numbers: dict[str, Any], x: Any) -> Any:
        from jaxgan.benchmark.torch_augment import augment

        wanted = self._config.diffaugment
        # How much an adaptive probability asks for is not known beforehand, and costs the same.
        return augment(numbers, 0.5 if wanted.adaptive else wanted.probability, x) if numbers else x

    def _make(self, draws: Draws) -> Any:
        with self._autocast():
            return self.generator(draws.z, self.labels).float()

    def _score(self, x: Any) -> Any:
        with self._autocast():
            return self.critic(x, self.labels).float()

    def _autocast(self) -> Any:
        if self._config.train.precision == "float32":
            return contextlib.nullcontext()
        return self._torch.autocast(self._device.type, dtype=self._torch.bfloat16)

    def _of_scores(self, real: Any, fake: Any) -> Any:
        softplus, relu = self._torch.nn.functional.softplus, self._torch.relu
        return {
            "wgan": lambda: fake - real,
            "hinge": lambda: relu(1 - real) + relu(1 + fake),
            "lsgan": lambda: 0.5 * ((real - 1).square() + fake.square()),
            "relativistic": lambda: softplus(fake - real),
        }.get(self._objective.loss, lambda: softplus(-real) + softplus(fake))()

    def _of_generated(self, real: Any, fake: Any) -> Any:
        softplus = self._torch.nn.functional.softplus
        return {
            "non_saturating": lambda: softplus(-fake),
            "saturating": lambda: -softplus(fake),
            "lsgan": lambda: 0.5 * (fake - 1).square(),
            "relativistic": lambda: softplus(real - fake),
        }.get(self._objective.loss, lambda: -fake)()

    def _penalties(self, real: Any, fake: Any, seen_real: Any, seen_fake: Any, draws: Draws) -> Any:
        """All penalties with their weights; those that draw the gradient to 0 are on images before augmentation."""
        objective, kind, total = self._objective, self._objective.penalty, 0.0
        if kind in ("gp", "lp"):
            mixed = self._torch.lerp(seen_fake, seen_real, draws.share.view(-1, *(1,) * (real.dim() - 1)))
            excess = (self._squared_gradient(mixed, {}) + 1e-12).sqrt() - 1
            total = total + objective.penalty_weight * (excess.relu() if kind == "lp" else excess).square().mean()
        # The same augmentation as of the reals, also where the fakes are looked at: so does the JAX code.
        weights = {"r1": [(real, 0.5)], "r2": [(fake, 0.5)], "r1+r2": [(real, 0.5), (fake, 0.5)]}.get(kind, [])
        terms = [(x, half * objective.penalty_weight) for x, half in weights]
        if objective.r1_weight:
            terms.append((real, 0.5 * objective.r1_weight))
        for x, weight in terms:
            total = total + weight * self._squared_gradient(x, draws.real).mean()
        return total

    def _squared_gradient(self, x: Any, numbers: dict[str, Any]) -> Any:
        """`[N]`: of each sample's score by the sample."""
        x = x.detach().requires_grad_(True)
        scores = self._score(self._augmented(numbers, x))
        (gradient,) = self._torch.autograd.grad(scores.sum(), x, create_graph=True)
        return gradient.float().flatten(1).square().sum(1)

    def _optimizer(self, parameters: Any, rate: float) -> Any:
        optim, settings = self._torch.optim, self._config.optimizer
        betas = settings.beta1, settings.beta2
        return {
            "adam": lambda: optim.Adam(parameters, rate, betas),
            "adamw": lambda: optim.AdamW(parameters, rate, betas, weight_decay=settings.weight_decay),
            "rmsprop": lambda: optim.RMSprop(parameters, rate, settings.beta2),
            "sgd": lambda: optim.SGD(parameters, rate, settings.beta1),
        }[settings.name]()

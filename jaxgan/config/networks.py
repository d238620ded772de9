"""Both networks and their growth, as a config describes them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from jaxgan.config.parsing import at_most, known, not_negative, positive, require
from jaxgan.config.registry import registry
from jaxgan.errors import InputError


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """What the generator and the critic have in common.

    `network` is the kind of network, which says what `widths`, channels of its feature maps, it takes. `norm` is
    between its layers: "none", "batch", "layer", "instance", "group" or "pixel". `spectral` divides every layer's
    weights by their largest singular value, whatever the norm.
    Residual networks have more to choose from. `resample` doubles the side in the generator ("nearest", "bilinear",
    both followed by a convolution, or "transposed") and halves it in the critic ("average" after a convolution, or
    "strided"). On feature maps of the sides in `attention` all pixels look at each other. `equalized` keeps weights of
    variance 1 and scales them in every pass (with Adam, learning rates near 1e-3). `branch_start` scales the first
    weights at the end of every residual branch; 0 starts with the shortcuts alone.
    """

    # How errors call the section, and the registry of its networks.
    _SECTION: ClassVar[str]
    _NETWORKS: ClassVar[str]
    # Fields that only some networks take.
    OPTIONS: ClassVar[tuple[str, ...]] = ("equalized", "resample", "attention", "branch_start", "minibatch_std")

    network: str = "dcgan"
    widths: tuple[int, ...] = (64, 128)
    norm: str = "none"
    spectral: bool = False
    equalized: bool = False
    resample: str = ""
    attention: tuple[int, ...] = ()
    branch_start: float = 1.0

    def __post_init__(self):
        known(f"{self._SECTION}.network", self.network, self._NETWORKS)
        known(f"{self._SECTION}.norm", self.norm, "NORMS")
        require(
            bool(self.widths) and min(self.widths, default=0) > 0,
            f"{self._SECTION}.widths",
            self.widths,
            "give at least one width, each above 0, e.g. (64,128)",
        )
        not_negative(self._SECTION, self, "branch_start")

    @property
    def grows(self) -> bool:
        """Whether the network is trained in stages, see `GrowingConfig`."""
        return registry(self._NETWORKS)[self.network].grows

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises `InputError` where the network does not take samples of `shape` (*S, C) with these widths."""
        networks = registry(self._NETWORKS)
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in self.OPTIONS and value != field.default and name not in networks[self.network].options:
                takers = [key for key, network in networks.items() if name in network.options]
                raise InputError(
                    f"config.{self._SECTION}.{name}={value!r}: network {self.network!r} has no such choice; these have:"
                    f" {', '.join(takers)}"
                )
        networks[self.network].check(self._SECTION, self, shape)


@dataclasses.dataclass(frozen=True)
class GeneratorConfig(NetworkConfig):
    """The generator: `widths` run from the coarsest feature map to the finest, one upsampling by 2 each.

    `network` is "dcgan", "lean", "resnet" or "growing". `latent_dim` is the length of the noise that becomes a sample.
    """

    _SECTION, _NETWORKS = "generator", "GENERATORS"

    latent_dim: int = 100
    widths: tuple[int, ...] = (128, 64)
    norm: str = "batch"
    resample: str = "nearest"

    def __post_init__(self):
        super().__post_init__()
        known("generator.resample", self.resample, "UPSAMPLING")
        positive("generator", self, "latent_dim")
        at_most("generator", self, latent_dim=65_536)


@dataclasses.dataclass(frozen=True)
class CriticConfig(NetworkConfig):
    """The critic: `widths` run from the finest feature map to the coarsest, one downsampling by 2 each.

    `network` is "dcgan", "resnet" or "growing". `conditioning` is how it takes labels: "none", "projection" (Miyato and
    Koyama 2018) or an "auxiliary" classifier (Odena et al. 2017); the generator then takes them too. `minibatch_std`
    above 0 shows groups of so many samples how much they differ (4 is usual; residual networks).
    """

    _SECTION, _NETWORKS = "critic", "CRITICS"

    resample: str = "average"
    conditioning: str = "none"
    minibatch_std: int = 0

    def __post_init__(self):
        super().__post_init__()
        known("critic.resample", self.resample, "DOWNSAMPLING")
        require(
            self.minibatch_std == 0 or self.minibatch_std > 1,
            "critic.minibatch_std",
            self.minibatch_std,
            "give 0 (off) or the samples of a group, 2 or more",
        )
        known("critic.conditioning", self.conditioning, "CONDITIONINGS")


@dataclasses.dataclass(frozen=True)
class GrowingConfig:
    """Stages of growing networks (`network=growing` in generator and critic), each twice the side of the one before.

    The first stage has the side `start_side`. A later one fades in over `fade_images` and is held for `hold_images`;
    both count reals shown to the critic. The first stage is held for `hold_images`, with `fade_first` for as long as a
    later one takes in all. `reset_optimizer` starts the optimizers' moments anew at both ends of a fade.
    `rate_factors` multiply the learning rates; `batch_sizes` and `n_critics` stand in for `train.batch_size` and
    `objective.n_critic`. Each has one value a stage, or none: the same everywhere.
    """

    start_side: int = 8
    fade_images: int = 600_000
    hold_images: int = 600_000
    fade_first: bool = False
    reset_optimizer: bool = True
    rate_factors: tuple[float, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    n_critics: tuple[int, ...] = ()

    _EACH_STAGE: ClassVar[tuple[str, ...]] = ("rate_factors", "batch_sizes", "n_critics")

    def __post_init__(self):
        positive("growing", self, "start_side", "hold_images")
        not_negative("growing", self, "fade_images")
        for name in self._EACH_STAGE:
            values = getattr(self, name)
            require(min(values, default=1) > 0, f"growing.{name}", values, "give values above 0")
        require(max(self.batch_sizes, default=1) <= 1_000_000, "growing.batch_sizes", self.batch_sizes, "too large")
        require(max(self.n_critics, default=1) <= 1000, "growing.n_critics", self.n_critics, "give at most 1000")

    def stages(self, size: int) -> int:
        """How many stages lead to a side."""
        return (size // self.start_side).bit_length()

    def check(self, size: int, settings: tuple[NetworkConfig, ...]) -> None:
        """Raises `InputError` where stages do not lead from the first side to the data's with these networks."""
        stages, side = self.stages(size), self.start_side
        require(
            side << max(stages - 1, 0) == size,
            "growing.start_side",
            side,
            f"doubled again and again it must become config.data.size={size}",
        )
        for network in settings:
            require(
                stages - 1 <= len(network.widths),
                "growing.start_side",
                side,
                f"{stages} stages need {stages - 1} widths in either network, not {network.widths}",
            )
        for name in self._EACH_STAGE:
            values = getattr(self, name)
            require(
                len(values) in (0, stages),
                f"growing.{name}",
                values,
                f"give one for each of the {stages} stages, or none",
            )

"""Which operations act on samples: on the reals alone (`augment`), or on reals and fakes (`diffaugment`)."""

from __future__ import annotations

import dataclasses

from jaxgan.config.parsing import known
from jaxgan.config.registry import registry
from jaxgan.errors import InputError

_HIGHEST = {
    "rotate_degrees": 180.0,
    "scale": 0.5,
    "elastic_strength": 0.05,
    "hue": 0.5,
    "gamma_strength": 3.0,
}

# What a data set may look alike under; everything else on reals alone comes out in the samples.
_SYMMETRIES = ("flip", "rot90")

_IMAGES_ONLY = ("anisotropy", "rotation")
# Uniform over all outcomes, a change of these kinds cannot be told from the data's own variety.
_CYCLIC = ("flip", "turn", "rotation", "hue")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Which operations act on the reals: a probability per sample each (0: off), and how strong they are.

    Attributes:
      flip: probability, for each spatial axis on its own.
      rot90: probability of a rotation by 90, 180 or 270 degrees (volumes: about the first axis).
      affine: probability of a small rotation (volumes: about the first axis) with scaling.
      rotate_degrees: rotation is uniform in [-rotate_degrees, rotate_degrees].
      scale: the zoom factor is uniform in [1 - scale, 1 + scale].
      elastic: probability of a smooth random deformation.
      elastic_strength: displacements are about this share of the sample's size; more than 0.05 would fold it.
      colour: probability of colour jitter; images only.
      brightness: the factor on [0, 1] values is uniform in [1 - brightness, 1 + brightness].
      contrast: the same for the distance to the image's mean.
      saturation: the same for the distance to gray; RGB only.
      hue: the turn of the colour circle is uniform in [-hue, hue], 1 being a full turn; RGB only.
      stain: probability of a stain jitter of H&E or IHC images (RGB): the amounts of the stains are perturbed
        in optical density (Tellez et al. 2018, "Whole-slide mitosis detection in H&E breast histology").
      stain_strength: the factor on each stain is uniform in [1 - s, 1 + s], its offset in [-s, s] / 2.
      gamma: probability of a gamma change.
      gamma_strength: the exponent is 2**u with u uniform in [-gamma_strength, gamma_strength].
      noise: probability of white Gaussian noise.
      noise_std: its standard deviation, for values in [-1, 1], is uniform in [0, noise_std].
    """

    flip: float = 0.0
    rot90: float = 0.0
    affine: float = 0.0
    rotate_degrees: float = 10.0
    scale: float = 0.1
    elastic: float = 0.0
    elastic_strength: float = 0.03
    colour: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.03
    stain: float = 0.0
    stain_strength: float = 0.1
    gamma: float = 0.0
    gamma_strength: float = 0.4
    noise: float = 0.0
    noise_std: float = 0.05

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, top = getattr(self, field.name), _HIGHEST.get(field.name, 1.0)
            if not 0.0 <= value <= top:
                raise InputError(f"config.augment.{field.name}={value!r} is not valid: give 0 to {top:g}")

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the operations whose probability is above 0, in the order in which they act."""
        return tuple(name for name in registry("OPERATIONS") if getattr(self, name) > 0)

    def check(self, spatial_rank: int, channels: int) -> None:
        """Raises `InputError` for an operation that has no meaning for samples of that kind."""
        if self.colour and spatial_rank != 2:
            raise InputError(
                f"config.augment.colour={self.colour} is for images, not volumes, whose values measure one"
                " quantity: set config.augment.colour=0 (gamma and noise work on volumes)"
            )
        if self.stain and (spatial_rank != 2 or channels != 3):
            raise InputError(
                f"config.augment.stain={self.stain} is for RGB images of stained tissue, not for {channels}"
                f" channel(s) in {spatial_rank}D: set config.augment.stain=0"
            )

    def warnings(self) -> list[str]:
        """Operations whose traces the generator will learn."""
        learned = [name for name in self.active if name not in _SYMMETRIES]
        return [
            f"config.augment.{name}={getattr(self, name)} changes the reals alone, so samples will show it:"
            " config.diffaugment changes reals and fakes alike, and does not leak"
            for name in learned
        ]


@dataclasses.dataclass(frozen=True)
class DiffAugmentation:
    """What is done to reals and fakes alike before the critic sees them, with gradients through it.

    Attributes:
      policy: names of operations, in any order; none: off. DiffAugment's (Zhao et al. 2020): color (brightness, and
        saturation, and contrast), translation (by up to an eighth, filled with 0), cutout (of half the side). Those of
        ADA (Karras et al. 2020), which mirror the image at its border: flip, turn (quarter turns; volumes: the 24 turns
        of a cube), shift (by whole pixels, up to an eighth), scale, anisotropy, fraction (a shift by parts of a pixel),
        rotation; and brightness, contrast, hue (any turn of the colour circle; RGB only), saturation with ADA's
        strengths.
      probability: of each operation for each sample; with `adaptive`, ignored.
      adaptive: ADA: the probability begins at 0, rises while the critic is too sure of the reals and falls otherwise.
      target: the mean sign of the reals' scores above which the critic is too sure.
      ramp_images: of reals shown while the probability rises from 0 to 1.
      highest: the adaptive probability is at most this.
    """

    policy: tuple[str, ...] = ()
    probability: float = 1.0
    adaptive: bool = False
    target: float = 0.6
    ramp_images: int = 500_000
    highest: float = 0.8

    def __post_init__(self):
        for name in self.policy:
            known("diffaugment.policy", name, "DIFFAUGMENTATIONS")
        if len(set(self.policy)) < len(self.policy):
            raise InputError(f"config.diffaugment.policy={self.policy} names an operation twice: name each once")
        for name, lowest in (("probability", 0.0), ("target", -1.0), ("highest", 0.0)):
            if not lowest <= getattr(self, name) <= 1.0:
                raise InputError(
                    f"config.diffaugment.{name}={getattr(self, name)!r} is not valid: give {lowest:g} to 1"
                )
        if self.ramp_images <= 0:
            raise InputError(f"config.diffaugment.ramp_images={self.ramp_images} is not valid: give a value above 0")
        if self.adaptive and not self.policy:
            raise InputError(
                "config.diffaugment.adaptive=True has nothing to adapt: set config.diffaugment.policy, e.g."
                " flip,turn,shift,scale,fraction"
            )

    def check(self, spatial_rank: int, channels: int, loss: str) -> None:
        """Raises `InputError` where an operation has no meaning for the samples, or adapting none for the loss."""
        if channels != 3 and "hue" in self.policy:
            raise InputError(
                f"config.diffaugment.policy='hue' turns the colours of RGB, and config.data.channels={channels}:"
                " leave it out"
            )
        for name in self.policy:
            if spatial_rank != 2 and name in _IMAGES_ONLY:
                raise InputError(
                    f"config.diffaugment.policy={name!r} is for images, not volumes: leave it out (turn and scale work)"
                )
        if self.adaptive and not registry("LOSSES")[loss].signed:
            raise InputError(
                f"config.diffaugment.adaptive=True goes by the sign of the reals' scores, which means nothing with"
                f" config.objective.loss={loss!r}: set adaptive=False and a probability, or loss=hinge"
            )

    def warnings(self, reals: Augmentation, spatial_rank: int = 2) -> list[str]:
        """Operations after which nothing tells how the data lay, unless `reals` says that they lie in every way.

        Of volumes it cannot say so: `turn` has 24 turns for them, `rot90` the four about their first axis.
        """
        if self.adaptive or self.probability < 1.0:
            return []
        alike = {name for name, share in (("flip", reals.flip), ("turn", reals.rot90 * (spatial_rank == 2))) if share}
        return [
            f"config.diffaugment.policy={name} with probability=1: nothing tells the generator which way up the data"
            " are, or of which colour, so samples may come out turned; set 0.8 or less"
            for name in self.policy
            if name in _CYCLIC and name not in alike
        ]

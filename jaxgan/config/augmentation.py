"""Which operations act on samples: probabilities and strengths."""

from __future__ import annotations

import dataclasses

from jaxgan.errors import InputError

_HIGHEST = {
    "rotate_degrees": 180.0,
    "scale": 0.5,
    "elastic_strength": 0.05,
    "hue": 0.5,
    "gamma_strength": 3.0,
}

OPERATIONS = ("flip", "rot90", "affine", "elastic", "stain", "colour", "gamma", "noise")


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
        return tuple(name for name in OPERATIONS if getattr(self, name) > 0)

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

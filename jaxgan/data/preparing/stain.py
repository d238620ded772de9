"""Macenko stain normalisation of H&E images.

M. Macenko et al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxgan.errors import InputError

# Hematoxylin and eosin as optical densities in R, G, B, and their 99th percentile concentrations: the reference
# appearance of Macenko's own implementation.
_REFERENCE_STAINS = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
_REFERENCE_STRENGTH = np.array([1.9705, 1.0308])
_LIGHT = 240.0
_THRESHOLD = 0.15
_MIN_PIXELS = 100


@dataclasses.dataclass(frozen=True)
class Stain:
    """What the stains of an image or a slide look like.

    Attributes:
      stains: `[2, 3]` optical densities of hematoxylin and eosin, unit length.
      strength: `[2]` 99th percentile of their concentrations.
    """

    stains: np.ndarray
    strength: np.ndarray


def estimate(pixels: np.ndarray) -> Stain | None:
    """The two stains of an H&E image.

    The optical densities of stained pixels lie between two directions of a plane: the extreme angles (1st and 99th
    percentile) in the plane of the two largest principal components are the stains.

    Args:
      pixels: `[..., 3]` uint8.

    Returns:
      None if the image holds too little stain to tell (fewer than 100 stained pixels, or only one direction).
    """
    _check(pixels)
    density = _density(pixels.reshape(-1, 3))
    stained = density[(density > _THRESHOLD).all(1)]
    if len(stained) < _MIN_PIXELS:
        return None
    plane = np.linalg.eigh(np.cov(stained.T))[1][:, :0:-1]
    plane = plane * np.where(plane.sum(0) < 0, -1.0, 1.0)
    projected = stained @ plane
    angles = np.percentile(np.arctan2(projected[:, 1], projected[:, 0]), (1, 99))
    stains = np.stack([np.cos(angles), np.sin(angles)], 1) @ plane.T
    # Hematoxylin takes more of the red light than eosin does.
    stains = stains[np.argsort(-stains[:, 0])]
    if np.linalg.cond(stains) > 50:
        return None
    strength = np.percentile(_concentrations(stained, stains), 99, axis=0)
    return Stain(stains, strength) if (strength > 0).all() else None


def normalise_stain(pixels: np.ndarray, stain: Stain | None = None) -> np.ndarray:
    """Gives an H&E image the reference appearance.

    Args:
      pixels: `[..., 3]` uint8.
      stain: of the image, or of the slide it was cut from, which is more certain; None: estimated here.

    Returns:
      `[..., 3]` uint8. An image with too little stain to estimate is returned as it is: it is background.

    Raises:
      InputError: an image that is not 8-bit RGB.
    """
    _check(pixels)
    stain = stain or estimate(pixels)
    if stain is None:
        return pixels
    concentrations = _concentrations(_density(pixels.reshape(-1, 3)), stain.stains)
    density = concentrations * (_REFERENCE_STRENGTH / stain.strength) @ _REFERENCE_STAINS
    restored = _LIGHT * np.exp(-density)
    return restored.clip(0, 255).round().astype(np.uint8).reshape(pixels.shape)


def _check(pixels: np.ndarray) -> None:
    if pixels.dtype != np.uint8 or pixels.shape[-1] != 3:
        found = f"{pixels.dtype} with {pixels.shape[-1]} channel{'s' * (pixels.shape[-1] != 1)}"
        raise InputError(f"stain normalisation needs 8-bit RGB, got {found}: leave it out, or give colour images")


def _density(pixels: np.ndarray) -> np.ndarray:
    """Optical density; the one is added so that black has a logarithm."""
    return -np.log((pixels.astype(np.float64) + 1.0) / _LIGHT)


def _concentrations(density: np.ndarray, stains: np.ndarray) -> np.ndarray:
    """Least squares `[N, 2]` with `concentrations @ stains = density`."""
    return density @ np.linalg.pinv(stains)

"""Radial power spectrum: are textures of every scale as strong as in the real images?"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.evaluation.metric import Metric, Report, Value


def _radius_bins(spatial: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Bin of every Fourier coefficient by its radius, and the number of bins (up to the Nyquist frequency)."""
    bins = min(spatial) // 2
    grids = np.meshgrid(*(np.fft.fftfreq(n) for n in spatial), indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grids))
    # Bin b is centred at (b + 1) / (2 * bins) cycles a pixel. The mean value (radius 0) and the corners beyond the
    # Nyquist frequency go to one extra bin that is dropped.
    index = np.rint(radius * 2 * bins).astype(np.int32) - 1
    index[(index < 0) | (index >= bins)] = bins
    return index.reshape(-1), bins


def radial_power(images: jax.Array, weights: jax.Array) -> jax.Array:
    """Power by spatial frequency, summed over a batch; pure, for use inside `jit`.

    Args:
      images: `[N, *spatial, C]`.
      weights: `[N]` of 0 (left out) or 1.

    Returns:
      `[C, R]`, R frequencies from one cycle an image to the Nyquist frequency, the mean value left out.
    """
    spatial = images.shape[1:-1]
    index, bins = _radius_bins(spatial)
    axes = tuple(range(1, images.ndim - 1))
    power = jnp.abs(jnp.fft.fftn(images, axes=axes)) ** 2 / np.prod(spatial)
    power = jnp.tensordot(weights, power, axes=(0, 0)).reshape(-1, images.shape[-1])
    summed = jax.ops.segment_sum(power, index, bins + 1)[:bins]
    return (summed / np.maximum(np.bincount(index, minlength=bins + 1)[:bins, None], 1)).T


def spectrum_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Root mean square difference of two mean radial spectra, in decibels (see Durall et al. 2020 on why).

    Args:
      real: `[C, R]` mean power.
      generated: `[C, R]` mean power.
    """
    # A floor 100 dB below the strongest frequency: emptier frequencies are rounding noise.
    floor = 1e-10 * max(real.max(), generated.max(), 1e-20)
    decibels = [10 * np.log10(np.maximum(s, floor)) for s in (real, generated)]
    return float(np.sqrt(np.mean((decibels[0] - decibels[1]) ** 2)))


def _measure(report: Report) -> None:
    value = spectrum_distance(report.real.arrays["power"], report.generated.arrays["power"])
    report.add("spectrum", value, units="dB")


SPECTRUM = Metric(
    "spectrum",
    "RMS difference of radial power spectra, dB (Durall et al. 2020)",
    (Value("spectrum", "lower", "lower [dB]", same=0.0, bounds=(0.0, np.inf)),),
    needs=("statistics",),
    measure=_measure,
    halved=True,
)

"""The one record that says how stored values map to [-1, 1] and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxgan.data.preparing.statistics import Chunks, Statistics, count_outside, summarise
from jaxgan.errors import InputError


@dataclasses.dataclass(frozen=True)
class Scaling:
    """An affine map between stored values and [-1, 1]: `low` becomes -1 and `high` becomes 1.

    One record holds for a WHOLE dataset: a per-image min-max would destroy the values that a map carries.

    Attributes:
      dtype: NumPy name of the stored dtype, e.g. "uint16".
      low: stored value that becomes -1, in `units`.
      high: stored value that becomes +1, in `units`.
      units: what the values measure, "" when unknown.
      policy: how low and high were chosen, one of `POLICIES`.
      clipped: how many stored values of the dataset lay outside [low, high].
    """

    dtype: str
    low: float
    high: float
    units: str = ""
    policy: str = "range"
    clipped: int = 0

    def __post_init__(self):
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise InputError(f"scaling: low must be below high and both finite, got low={self.low}, high={self.high}")
        # Devices compute in float32 and flush subnormal numbers to zero: beyond these ranges all values become one.
        span, limits = float(self.high) - float(self.low), np.finfo(np.float32)
        if not 2 / float(limits.max) <= span <= 2 / float(limits.tiny) or max(-self.low, self.high) > limits.max:
            raise InputError(
                f"scaling: float32 cannot scale a range from {self.low:g} to {self.high:g}; rescale the files, or give"
                " the value as --nodata if it marks missing data"
            )
        if self.dtype in ("int32", "uint32"):
            info = np.iinfo(self.dtype)
            if not info.min <= math.ceil(0.5 * (self.low + self.high)) <= info.max:
                raise InputError(
                    f"scaling: most of the range from {self.low:g} to {self.high:g} is beyond what {self.dtype} holds;"
                    " give low and high in the values of the files"
                )

    def decode(self, stored: Any) -> Any:
        """Stored values to float32 in [-1, 1], clipped. Works on NumPy and JAX arrays of any shape."""
        centre, factor = self._constants()
        if stored.dtype in (np.int32, np.uint32):
            # float32 has 24 bits: the middle is taken off before the cast, or a large offset would leave few levels.
            info, middle = np.iinfo(stored.dtype), math.ceil(0.5 * (self.low + self.high))
            low, high = max(math.floor(self.low), info.min), min(math.ceil(self.high), info.max)
            stored = (stored.clip(info.dtype.type(low), info.dtype.type(high)) - info.dtype.type(middle)).astype(
                np.int32
            )
            centre = np.float32(0.5 * (self.low + self.high) - middle)
        return ((stored.astype(np.float32) - centre) * factor).clip(-1.0, 1.0)

    def restore(self, scaled: np.ndarray) -> np.ndarray:
        """[-1, 1] back to the original units as float64, so that no quantum of the stored dtype is lost."""
        # The inverse of what decode computed, rounded constants included.
        centre, factor = (float(constant) for constant in self._constants())
        if self.dtype in ("int32", "uint32"):
            middle = math.ceil(0.5 * (self.low + self.high))
            centre = middle + float(np.float32(0.5 * (self.low + self.high) - middle))
        return np.asarray(scaled, np.float64) / factor + centre

    def _constants(self) -> tuple[np.float32, np.float32]:
        """The middle of the range, and what scales its half to one.

        Values less the middle use all of float32's digits, whatever the offset: a uint16 of 33,000 loses nothing.
        """
        return np.float32(0.5 * (self.low + self.high)), np.float32(2.0 / (self.high - self.low))

    def encode(self, scaled: np.ndarray) -> np.ndarray:
        """[-1, 1] back to the stored dtype: rounded and clipped to its range for integers."""
        dtype = np.dtype(self.dtype)
        values = self.restore(scaled)
        if np.issubdtype(dtype, np.integer):
            info = np.iinfo(dtype)
            values = np.clip(np.rint(values), info.min, info.max)
        return values.astype(dtype)

    def to_dict(self) -> dict[str, Any]:
        """A plain dict for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Scaling:
        """The inverse of `to_dict`; raises `InputError` on missing or unknown fields."""
        try:
            return cls(**record)
        except TypeError as error:
            raise InputError(f"scaling record is damaged ({error}); prepare the data again") from None


def _of_dtype(dtype: np.dtype) -> tuple[float, float]:
    if dtype.kind not in "ui":
        raise InputError(f"scaling='range': {dtype} has no range; use minmax, percentile or fixed")
    return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)


# How low and high are chosen, by name: from (stored dtype, statistics of the set, low and high as given, two shares).
POLICIES: dict[str, Callable[[np.dtype, Statistics, Any, tuple[float, float]], tuple[float, float]]] = {
    "range": lambda dtype, statistics, given, shares: _of_dtype(dtype),
    "minmax": lambda dtype, statistics, given, shares: (statistics.low, statistics.high),
    "percentile": lambda dtype, statistics, given, shares: (
        statistics.quantiles[shares[0]],
        statistics.quantiles[shares[1]],
    ),
    "fixed": lambda dtype, statistics, given, shares: given,
}


def choose(
    chunks: Chunks,
    dtype: np.dtype,
    policy: str | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    percentiles: tuple[float, float] = (0.1, 99.9),
    units: str = "",
) -> tuple[Scaling, Statistics]:
    """The scaling of a whole dataset, and the statistics it was chosen by.

    Args:
      chunks: `chunks()` iterates over all stored values, in arrays of `dtype`; it is called up to three times.
      dtype: the stored dtype.
      policy: "range": that of an integer dtype; "minmax": the smallest and largest value of the set;
        "percentile": the `percentiles` of all values; "fixed": `low` and `high` as given. None: "fixed" if those
        are given, "range" for uint8, else "minmax", since 16-bit cameras fill a small part of their range.
      low: with "fixed", stored value that becomes -1.
      high: with "fixed", stored value that becomes 1.
      percentiles: in percent, for "percentile".
      units: what the values measure.

    Raises:
      InputError: a set of one single value, a policy that does not fit the dtype, NaN or infinities.
    """
    dtype = np.dtype(dtype)
    if policy is None:
        policy = "fixed" if low is not None or high is not None else "range" if dtype == np.uint8 else "minmax"
    if policy not in POLICIES:
        raise InputError(f"scaling={policy!r}: must be one of {', '.join(POLICIES)}")
    if (policy == "fixed") != (low is not None) or (policy == "fixed") != (high is not None):
        raise InputError(f"scaling={policy!r}: low and high are given together with 'fixed', and only with it")
    shares = percentiles[0] / 100, percentiles[1] / 100
    if not 0 <= shares[0] < shares[1] <= 1:
        raise InputError(f"percentiles={percentiles}: must be two rising numbers between 0 and 100")
    statistics = summarise(chunks, (0.001, 0.01, 0.5, 0.99, 0.999, *shares))
    if statistics.nonfinite:
        raise InputError(f"scaling: the set holds {statistics.nonfinite} NaN or infinite values; mend them first")
    low, high = POLICIES[policy](dtype, statistics, (low, high), shares)
    if not low < high:
        raise InputError(
            f"scaling={policy!r}: low={low:g} is not below high={high:g}; the images are constant, or choose "
            "another scaling"
        )
    inside = low <= statistics.low and statistics.high <= high
    clipped = 0 if inside else count_outside(chunks, low, high)
    return Scaling(dtype.name, float(low), float(high), units, policy, clipped), statistics

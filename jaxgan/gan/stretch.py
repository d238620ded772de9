"""How networks see values: spread out where most of them lie; everybody else sees them as they are.

Fluorescence is dark nearly everywhere: on a linear scale dim cells differ from the background by a hundredth of what
tanh gives. A stretch, as astronomers call it, is undone in samples: files, metrics and pictures have the data's values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array


class Stretch(NamedTuple):
    """A rising map of [-1, 1] onto itself.

    Attributes:
      forward: values to what networks see.
      back: the inverse.
    """

    forward: Callable[[Array], Array]
    back: Callable[[Array], Array]


def _root(values: Array) -> Array:
    return 2.0 * jnp.sqrt((values + 1.0) / 2.0) - 1.0


def _square(seen: Array) -> Array:
    return 2.0 * ((seen + 1.0) / 2.0) ** 2 - 1.0


# By name, beside "none". The square root also makes the noise of counted photons alike in bright and dark parts
# (Bartlett 1936).
STRETCHES: dict[str, Stretch] = {"sqrt": Stretch(_root, _square)}

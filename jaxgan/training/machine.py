"""Whether this machine has what a run asks of it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import jax

# Where Linux says what a CPU can do.
CPU = Path("/proc/cpuinfo")


def warn_of_the_machine(precision: str) -> None:
    """Warns who asks for products in that precision on a CPU without instructions for it. Of a CPU that does not say
    what it can do nothing is known, and nothing said.

    Args:
      precision: of the products, "float32" or "bfloat16".
    """
    if precision != "bfloat16" or jax.default_backend() != "cpu" or not CPU.exists():
        return
    if not re.search(r"\b(avx512_bf16|amx_bf16|bf16|svebf16)\b", CPU.read_text()):
        warnings.warn(
            "precision bfloat16: this CPU has no instructions for it, so products are rounded as asked and computed in"
            " float32, which saves no time: take float32",
            stacklevel=3,
        )

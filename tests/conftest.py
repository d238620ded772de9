"""Tests run on four CPU devices, compile quickly rather than well, and find real data only where told."""

import os
from pathlib import Path

# Tests compile many small programs and run each once or twice: unoptimised code is three times sooner there.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
# What a test compiles must not come from, or go to, the user's own cache.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data named by JAXGAN_REAL_DATA; the test is skipped where there is none."""
    folder = Path(os.environ.get("JAXGAN_REAL_DATA", ""))
    if not os.environ.get("JAXGAN_REAL_DATA") or not folder.is_dir():
        pytest.skip("JAXGAN_REAL_DATA names no folder of real data")
    return folder

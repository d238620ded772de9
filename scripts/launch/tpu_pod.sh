#!/usr/bin/env bash
# One run on a TPU pod slice: starts the same command on every host. The workers find each other through JAX.
#   TPU=my-pod ZONE=us-central2-b bash scripts/launch/tpu_pod.sh configs/mri64.py /data/mri /shared/runs/mri \
#       --config.train.batch_size=64 [--config.any.field=value ...]
# jaxgan is installed on every host in ~/jaxgan/.venv (.venv/bin/pip install -e '.[tpu]'); data and workdir are on storage that all
# hosts see.
set -euo pipefail
if (($# < 3)) || [[ -z ${TPU:-} || -z ${ZONE:-} ]]; then
    echo "usage: TPU=NAME ZONE=ZONE bash $0 CONFIG DATA_DIR WORKDIR [--config.any.field=value ...]" >&2
    exit 2
fi
config=$1 data=$2 workdir=$3
shift 3
command=$(printf '%q ' .venv/bin/python scripts/train.py \
    --config "$config" --data_dir "$data" --workdir "$workdir" --resume auto "$@")
exec gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker all --command "cd ~/jaxgan && JAXGAN_DISTRIBUTED=1 $command"

#!/bin/bash
# bash configs/runai/distil.sh [key=value ...]
#
# Submits a training workload of one node to Run:ai. Workloads of this kind may be preempted; this one carries on from
# SAVE_FOLDER when it is started again.
set -euo pipefail
RUN=${RUN:-70m}                                        # 70m, 1b, 3b, recipes/default: a YAML of configs/
SAVE_FOLDER=${SAVE_FOLDER:-s3://your-bucket/runs}      # checkpoints and the student go below it
PROJECT=${PROJECT:-your-project}
IMAGE=${IMAGE:-ghcr.io/your-lab/tahoe-distill:train}
SECRET=${SECRET:-s3-credentials}                       # of Kubernetes, with the two keys named below
GPUS=${GPUS:-8}

runai submit "tahoe-distill-${RUN##*/}" --project "$PROJECT" --image "$IMAGE" --gpu "$GPUS" --large-shm \
    --backoff-limit 20 --working-dir /app \
    --environment AWS_ACCESS_KEY_ID="SECRET:$SECRET,AWS_ACCESS_KEY_ID" \
    --environment AWS_SECRET_ACCESS_KEY="SECRET:$SECRET,AWS_SECRET_ACCESS_KEY" \
    --command -- composer scripts/distill.py -f "configs/$RUN.yaml" "variables.run_folder=$SAVE_FOLDER/$RUN" "$@"

#!/bin/bash
# bash configs/gcloud/vm.sh [key=value ...]
#
# Starts a spot machine with eight H100s on Google Cloud, which distils. Taken away, it stops; started again, it carries
# on from SAVE_FOLDER.
set -euo pipefail
RUN=${RUN:-70m}                                   # 70m, 1b, 3b, recipes/default: a YAML of configs/
SAVE_FOLDER=${SAVE_FOLDER:-gs://your-bucket/runs} # checkpoints and the student go below it
PROJECT=${PROJECT:-your-project}
ZONE=${ZONE:-us-central1-a}
IMAGE=${IMAGE:-ghcr.io/your-lab/tahoe-distill:train}
SECRET=${SECRET:-tahoe-distill}                   # of Secret Manager: lines such as GCS_KEY=…
MACHINE=${MACHINE:-a3-highgpu-8g}
VM_IMAGE=${VM_IMAGE:-common-cu124-debian-11}      # a family of deeplearning-platform-release, with drivers and Docker

gcloud compute instances create "tahoe-distill-${RUN##*/}" --project "$PROJECT" --zone "$ZONE" \
    --machine-type "$MACHINE" --provisioning-model SPOT --instance-termination-action STOP \
    --maintenance-policy TERMINATE --image-family "$VM_IMAGE" --image-project deeplearning-platform-release \
    --boot-disk-size 200GB --scopes cloud-platform \
    --metadata "install-nvidia-driver=True,run=$RUN,save-folder=$SAVE_FOLDER,image=$IMAGE,secret=$SECRET,settings=$*" \
    --metadata-from-file startup-script=configs/gcloud/on_vm.sh

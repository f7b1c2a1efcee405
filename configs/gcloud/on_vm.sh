#!/bin/bash
# What the machine that vm.sh starts runs at each of its starts; everything that a user fills in stands there.
set -euo pipefail

told() {
    curl --fail --silent --header "Metadata-Flavor: Google" \
        "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

RUN=$(told run)
SAVE_FOLDER=$(told save-folder)
IMAGE=$(told image)
read -r -a settings <<<"$(told settings)"

secrets=$(mktemp)
trap 'rm -f "$secrets"' EXIT
gcloud secrets versions access latest --secret "$(told secret)" >"$secrets"

# Shards are kept on the machine's own disks, across its starts.
docker run --rm --gpus all --ipc host --network host --stop-timeout 30 --env-file "$secrets" \
    --volume /var/lib/tahoe-shards:/tmp/tahoe-shards --workdir /app "$IMAGE" \
    composer scripts/distill.py -f "configs/$RUN.yaml" "variables.run_folder=$SAVE_FOLDER/$RUN" \
    ${settings[@]+"${settings[@]}"} && shutdown -h now

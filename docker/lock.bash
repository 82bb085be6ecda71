#!/usr/bin/env bash
# Write the locks again: docker/lock.bash [--upgrade] [other options of uv pip compile]
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

compile() {
  local input=$1 output=$2
  shift 2
  UV_CUSTOM_COMPILE_COMMAND="docker/lock.bash   # from $input" uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
    --generate-hashes --no-annotate "$input" --output-file "$output" "$@"
}
compile requirements.in requirements.txt --override docker/overrides.txt "$@"
compile docker/light.in docker/light.txt --constraint requirements.txt "$@"
compile docker/uv.in docker/uv.txt --constraint requirements.txt "$@"
compile docker/tensorflow-cuda.in docker/tensorflow-cuda.txt --no-deps "$@"
compile requirements-dvc.in requirements-dvc.txt --constraint requirements.txt "$@"

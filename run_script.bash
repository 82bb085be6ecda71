#!/usr/bin/env bash
# Run a command in the locked environment: ./run_script.bash python train_mlflow.py
set -euo pipefail
root=$(CDPATH="" cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
if ! command -v python3 >/dev/null; then exec "$root/docker/without_python.bash" "$@"; fi
exec python3 -I -S "$root/runback/launch" run "$@"

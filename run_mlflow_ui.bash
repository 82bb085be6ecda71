#!/usr/bin/env bash
# Open the MLflow UI on this project's runs: http://localhost:5000
set -euo pipefail
root=$(CDPATH="" cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
if ! command -v python3 >/dev/null; then
  if [ $# -gt 0 ]; then echo "error: without python3 there is no option: $*" >&2; exit 2; fi
  RUNBACK_ENGINE_ARGS="${RUNBACK_ENGINE_ARGS:-} --publish=127.0.0.1:5000:5000" \
    exec "$root/docker/without_python.bash" python -m runback ui --host 0.0.0.0
fi
exec python3 -I -S "$root/runback/launch" ui "$@"

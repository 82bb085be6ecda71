#!/usr/bin/env bash
# Start JupyterLab in the devcontainer unless it runs, and print its address: docker/jupyter.bash
# The token in the address is Jupyter's own, made at each start.
set -euo pipefail
umask 077
root=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
state=$(jupyter --runtime-dir)
mkdir -p "$state"

# The server holds the lock for as long as it lives, so there is one, whoever calls.
exec 9>"$state/lab.lock"
if flock --nonblock 9; then
  # Left by servers that a stop of the container has killed: their tokens are void.
  rm -f "$state"/jpserver-*.json
  setsid jupyter lab --no-browser --ip 127.0.0.1 --port "${1:-8888}" \
    --ServerApp.port_retries=0 --ServerApp.root_dir="$root" </dev/null >"$state/lab.log" 2>&1 &
fi
exec 9>&-

until compgen -G "$state/jpserver-*.json" >/dev/null; do
  if flock --nonblock "$state/lab.lock" true; then
    echo "error: JupyterLab has ended; its last words:" >&2
    tail -n 5 "$state/lab.log" >&2
    exit 3
  fi
  sleep 0.2
done
jupyter server list

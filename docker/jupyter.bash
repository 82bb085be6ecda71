#!/usr/bin/env bash
# JupyterLab in the devcontainer: start it unless it runs, and print its address.
# The token in the address is one that Jupyter draws at each start; none is kept here.
set -euo pipefail
root=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
state=$(jupyter --runtime-dir)
mkdir -p -m 700 "$state"

# The server holds the lock until it ends, however that comes: there is one, whoever calls.
exec 9>"$state/lab.lock"
if flock --nonblock 9; then
  # Of servers that ended with their container: their tokens are void, their pids taken anew.
  rm -f "$state"/jpserver-*.json
  setsid jupyter lab --no-browser --ip 127.0.0.1 --port "${1:-8888}" \
    --ServerApp.port_retries=0 --ServerApp.root_dir="$root" </dev/null >"$state/lab.log" 2>&1 &
fi
exec 9>&-

until compgen -G "$state/jpserver-*.json" >/dev/null; do
  if flock --nonblock "$state/lab.lock" true; then
    echo "error: JupyterLab has ended; $state/lab.log ends with" >&2
    tail -n 3 "$state/lab.log" >&2
    exit 3
  fi
  sleep 0.2
done
jupyter server list

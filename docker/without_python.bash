#!/usr/bin/env bash
# What run_script.bash does on a machine with Docker and no Python at all: build, run.
set -euo pipefail
root=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
if ! docker version >/dev/null 2>&1; then
  echo "error: neither python3 nor a docker engine that answers was found" >&2
  echo "hint: apt-get install python3 python3-venv" >&2
  exit 3
fi
gpu=(); tty=()
if docker info --format '{{.Runtimes}}' | grep -q nvidia; then gpu=(--gpus all); fi
if [ -t 0 ] && [ -t 1 ] && [ -t 2 ]; then tty=(--tty); fi
read -r -a extra <<<"${RUNBACK_ENGINE_ARGS:-}"
read -r -a build_args <<<"${RUNBACK_BUILD_ARGS:-}"
folder=$PWD
[[ $PWD/ == "$root"/* ]] || folder=$root
image=$(DOCKER_BUILDKIT=1 docker build --quiet --file "$root/docker/Dockerfile" \
  ${build_args[@]+"${build_args[@]}"} "$root")
exec docker run --rm --interactive ${tty[@]+"${tty[@]}"} ${gpu[@]+"${gpu[@]}"} --user "$(id -u):$(id -g)" \
  --mount "type=bind,source=$root,target=$root" --workdir "$folder" --shm-size 8g \
  --env USER="$(id -un)" ${extra[@]+"${extra[@]}"} "$image" python "$root/runback/launch/inside.py" "$@"

#!/usr/bin/env bash
# The least of run_script.bash, for a machine with Docker and no Python 3.9: build, run.
set -euo pipefail
root=$(CDPATH="" cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
if ! docker version >/dev/null 2>&1; then
  echo "error: neither python3 nor a docker engine that answers was found" >&2
  echo "hint: apt-get install python3 python3-venv" >&2
  exit 3
fi
gpu=(); tty=(); variables=()
if [ "${RUNBACK_GPU:-}" != none ] && docker info --format '{{.Runtimes}}' | grep -q nvidia; then
  gpu=(--gpus all)
elif [ "${RUNBACK_GPU:-}" = required ]; then
  echo "error: RUNBACK_GPU=required, and there is none: docker has no NVIDIA runtime" >&2
  exit 3
fi
for name in $(compgen -e); do
  case $name in
    CUDA_VISIBLE_DEVICES | KERAS_* | MLFLOW_* | OMP_* | PYTHONHASHSEED | TERM | TF_* | TORCH_* | \
      RUNBACK_DATA | RUNBACK_RECORD)
      variables+=(--env "$name") ;;
  esac
done
if [ -t 0 ] && [ -t 1 ] && [ -t 2 ]; then tty=(--tty); fi
read -r -a extra <<<"${RUNBACK_ENGINE_ARGS:-}"
read -r -a build_args <<<"${RUNBACK_BUILD_ARGS:-}"
folder=$PWD
[[ $PWD/ == "$root"/* ]] || folder=$root
image=$(DOCKER_BUILDKIT=1 docker build --quiet --file "$root/docker/Dockerfile" \
  ${build_args[@]+"${build_args[@]}"} "$root")
exec docker run --rm --interactive ${tty[@]+"${tty[@]}"} ${gpu[@]+"${gpu[@]}"} --user "$(id -u):$(id -g)" \
  --mount "type=bind,source=$root,target=$root" --workdir "$folder" --shm-size 8g \
  --env USER="$(id -un)" --env RUNBACK_HOST="${RUNBACK_HOST:-$HOSTNAME}" --env RUNBACK_IMAGE_ID="$image" \
  ${variables[@]+"${variables[@]}"} ${extra[@]+"${extra[@]}"} "$image" python "$root/runback/launch/inside.py" "$@"

#!/bin/sh
# What both recipes do: respeval and the packages of containers/requirements.lock, in a virtual
# environment. From the root of the repository:
#
#     sh containers/install.sh cpu|cuda [FOLDER]
set -eu
accelerator=$1
folder=${2:-/opt/respeval}
lock=containers/requirements.lock

python3 -m venv "$folder"
# A CPU build needs only what is locked; a CUDA build brings the CUDA libraries that belong to it.
case "$accelerator" in
    cpu)
        "$folder/bin/pip" install --no-deps "$(grep '^torch==' "$lock")" \
            --index-url "${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu}" ;;
    cuda) "$folder/bin/pip" install --constraint "$lock" torch ;;
    *) echo "ACCELERATOR=$accelerator: expected cpu or cuda" >&2; exit 2 ;;
esac
# torch-harmonics asks for a newer torch than the locked one, and works beside it.
"$folder/bin/pip" install --no-deps --requirement "$lock"

# What builds respeval stays out of the environment.
work=$(mktemp -d)
python3 -m venv "$work/build"
"$work/build/bin/pip" install --constraint requirements.lock hatchling
"$work/build/bin/pip" wheel --no-deps --no-build-isolation --wheel-dir "$work/wheels" .
"$folder/bin/pip" install --no-deps "$work"/wheels/respeval-*.whl
rm -rf "$work"
"$folder/bin/respeval" --version

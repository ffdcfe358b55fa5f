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
python3 -m venv /tmp/build
/tmp/build/bin/pip install --constraint requirements.lock hatchling
/tmp/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels .
"$folder/bin/pip" install --no-deps /tmp/wheels/respeval-*.whl
rm -rf /tmp/build /tmp/wheels
"$folder/bin/respeval" --version

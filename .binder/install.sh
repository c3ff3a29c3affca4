#!/usr/bin/env bash
# Installs what requirements.lock pins, and the book itself, for one interpreter of Python 3.11:
#
#     bash .binder/install.sh /path/to/python
#
# The lock names the libraries of graphics cards, some gigabytes, because the usual build of torch
# on Linux needs them. They are left out where the build for processors is taken, as here by default.
# UV_TORCH_BACKEND=auto takes the build that fits the card; PIP_FIND_LINKS, a folder of wheels, is
# searched instead of the index of PyTorch, where it is set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${1:?say for which Python: bash .binder/install.sh /path/to/python}
backend=${UV_TORCH_BACKEND:-cpu}
uv_version=$(sed -n 's/^UV_VERSION := //p' Makefile)

"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "The lock was made for Python 3.11; $python is $("$python" --version 2>&1)." >&2
    exit 1
}

without='^$'
if [ "$backend" = cpu ]; then
    without='^(nvidia-|cuda-|triton==)'
fi
if [ -n "${PIP_FIND_LINKS:-}" ]; then
    unset UV_TORCH_BACKEND
    from=(--find-links "$PIP_FIND_LINKS")
else
    from=(--torch-backend "$backend")
fi

pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
grep -vE "$without" requirements.lock > "$pins"

"$python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
"$python" -m uv pip install --quiet --python "$python" "${from[@]}" -r "$pins"
"$python" -m uv pip install --quiet --python "$python" --no-deps --no-build-isolation -e .

#!/usr/bin/env bash
# Executes one chapter where the Python at hand is not the book's, as on Google Colab:
#
#     bash notebooks/colab/colab.sh 05b
#     bash notebooks/colab/colab.sh 05b -p seed 1
#
# The packages go into a Python 3.11 of their own, .venv in the checkout, made at the first call. The
# executed notebook goes to runs/, and beside it a page, colab.html, to be shown in a cell.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

chapter=${1:?say which chapter: bash notebooks/colab/colab.sh 05b}
shift
uv_version=$(sed -n 's/^UV_VERSION := //p' Makefile)

if [ ! -e .venv/.complete ]; then
    python3 -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
    python3 -m uv venv --quiet --seed --allow-existing --python ">=3.11.5,<3.12" .venv
    bash .binder/install.sh "$PWD/.venv/bin/python"
    touch .venv/.complete
fi

mkdir -p runs
.venv/bin/bookpress run "$chapter" "$@" --output runs/colab.ipynb
PYTHONWARNINGS=ignore .venv/bin/jupyter nbconvert --to html --log-level ERROR --output colab.html runs/colab.ipynb
echo "Show it in a cell: from IPython.display import HTML; HTML(filename='$PWD/runs/colab.html')"

#!/usr/bin/env bash
# Prints the path of a CPython 3.12 that runs: Lambda's runtime, which `sam build` wants on PATH under its own name.
# A candidate counts only if it executes and says so itself: pyenv's shims carry the name and may not run.
# Looks on PATH, then among pyenv's and uv's interpreters; then asks uv for one, kept in .tools/python.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs() { [ "$("$1" -c 'import pip, sys; print(*sys.version_info[:2])' 2> /dev/null)" = "3 12" ]; }

first_that_runs() { # first_that_runs DIRECTORY...
    local directory
    for directory in "$@"; do
        if [ -x "$directory/python3.12" ] && runs "$directory/python3.12"; then
            # The real one's path: a shim that runs here needn't run in the environment sam gives it.
            "$directory/python3.12" -c 'import os, sys; print(os.path.join(sys.base_prefix, "bin", "python3.12"))'
            return
        fi
    done
    return 1
}

IFS=: read -ra on_path <<< "$PATH"
shopt -s nullglob
known=(
    "${on_path[@]}"
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin
    "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/uv/python}"/cpython-3.12*/bin
    .tools/python/cpython-3.12*/bin
)
first_that_runs "${known[@]}" && exit

# uv's builds come from GitHub, not from PyPI; PyPI and npm hold no CPython 3.12, so behind a mirror this fails.
if [ -x .venv/bin/uv ]; then
    echo "no python3.12 found: asking uv for one ..." >&2
    UV_HTTP_RETRIES=0 .venv/bin/uv python install --quiet --no-bin --install-dir .tools/python 3.12 2> /dev/null || true
    first_that_runs "$PWD"/.tools/python/cpython-3.12*/bin && exit
fi
echo "Python 3.12, the functions' runtime, is needed and none runs here: install it (pyenv install 3.12, uv python install 3.12, or your system's package) and try again." >&2
exit 1

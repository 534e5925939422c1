#!/bin/sh
# Resolve requirements*.lock anew from pyproject.toml: every version with its hashes, for Python 3.11 and newer on any platform.
# What is locked stays as it is unless pyproject.toml wants otherwise or --upgrade is given.
# The files name no host: where packages come from is the business of whoever installs them.
set -eu
command -v uv >/dev/null 2>&1 || {
    echo "make lock needs uv, which resolves for all platforms at once. Install it (pip install uv), then try again." >&2
    exit 1
}

upgrade=${1-}

resolve() {
    uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' ${upgrade:+"$upgrade"} "$@"
}

resolve --group build -o requirements.lock
resolve --group dev --constraint requirements.lock -o requirements-dev.lock
resolve --group bench --constraint requirements.lock -o requirements-bench.lock

if grep -nE '://|^--|^-' requirements*.lock; then
    echo "A lock file names a host or an option (the lines above)." >&2
    exit 1
fi

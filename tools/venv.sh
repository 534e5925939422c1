#!/bin/sh
# venv.sh DIRECTORY LOCK [STAMP...]: make a virtual environment that holds exactly what LOCK names, and this project.
# Needs Python 3.11 or newer and nothing else. Run by the Makefile, from the top of the repository.
set -eu
directory=$1 lock=$2
shift 2

new_enough='import sys; sys.exit(sys.version_info < (3, 11))'

find_python() {
    for name in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}; do
        if command -v "$name" >/dev/null 2>&1 && "$name" -c "$new_enough" 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "Keepstep needs Python 3.11 or newer, and found none${PYTHON:+ under the name $PYTHON}." >&2
    echo "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python), then try again." >&2
    exit 1
}

usable() { [ -x "$directory/bin/python" ] && "$directory/bin/python" -c "$new_enough; import pip" >/dev/null 2>&1; }

make_venv() {
    python=$(find_python)
    echo "Making $directory with $("$python" --version 2>&1)."
    if said=$("$python" -m venv "$directory" 2>&1) && usable; then return; fi
    if command -v virtualenv >/dev/null 2>&1 && virtualenv -q -p "$python" "$directory" && usable; then return; fi
    [ -z "$said" ] || echo "$said" >&2
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$python cannot make a virtual environment with pip in it." >&2
    echo "Install what it lacks (Debian, Ubuntu: apt install python$version-venv), then try again." >&2
    exit 1
}

# A user's own pip settings may be meant for other things: only where packages come from is taken from them.
install() {
    env -u PIP_TARGET -u PIP_PREFIX -u PIP_CONSTRAINT -u PIP_REQUIREMENT -u PYTHONPATH PIP_USER=0 \
        "$directory/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

usable || make_venv
echo "Installing what $lock names (the first time this takes a minute)."
install --require-hashes -r "$lock"
install --no-deps --no-build-isolation --editable .
for stamp in "$@"; do touch "$directory/$stamp"; done

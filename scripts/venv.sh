# Sourced by quickstart.sh and test.sh: makes .venv with jaxgan and the extras in $1 ("" for none), once.
# PYTHON names the interpreter to use (default: python3). Sets VENV_PYTHON.

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    found=$("$python" --version 2>&1 || echo "no $python")
    for candidate in python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "error: jaxgan needs Python 3.11 or newer, $python is $found; run: PYTHON=$(command -v "$candidate") bash $0" >&2
            exit 2
        fi
    done
    echo "error: jaxgan needs Python 3.11 or newer, $python is $found; install one and run: PYTHON=/path/to/python3 bash $0" >&2
    exit 2
fi

VENV_PYTHON=.venv/bin/python
stamp=.venv/installed-${1:-base}
wanted=$(cat setup.cfg pyproject.toml | cksum)
if [ ! -x "$VENV_PYTHON" ] || ! "$VENV_PYTHON" -c 'import pip' 2>/dev/null; then
    rm -rf .venv
    "$python" -m venv .venv
fi
# The stamp is written last: an install that was interrupted is done again.
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "installing jaxgan${1:+[$1]} into .venv ..."
    "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check -e ".${1:+[$1]}"
    echo "$wanted" > "$stamp"
fi

#!/usr/bin/env bash
# Make a virtual environment, also on a Debian or Ubuntu without python3-venv.
# Usage: scripts/make_venv.sh PYTHON FOLDER
set -euo pipefail
python=$1
folder=$2

if [ -z "$python" ]; then
  echo "No Python 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3" >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "dtcseg needs Python 3.11 or newer; $python is older or does not run." >&2
  exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  bash "$(dirname "$0")/apt_install.sh" "to make a virtual environment" "python${version}-venv"
fi
"$python" -m venv "$folder"

#!/usr/bin/env bash
# Install Debian or Ubuntu packages where that can be done without asking; else say what is missing.
# Usage: scripts/apt_install.sh PURPOSE PACKAGE...      exit status 1: not installed
set -euo pipefail
purpose=$1
shift

refuse() {
  {
    echo "Missing $purpose: $*"
    echo "$reason Install it and run make again; on Debian or Ubuntu:"
    echo "  sudo apt-get install --no-install-recommends $*"
  } >&2
  exit 1
}

reason="This system has no apt-get (the names above are Debian's)."
command -v apt-get >/dev/null || refuse "$@"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  reason="Installing it needs root, and sudo asks for a password."
  sudo -n true 2>/dev/null || refuse "$@"
  as_root=(sudo -n)
fi

apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

echo "Installing $purpose: $*"
apt_get update || echo "apt-get update failed; going on with the package lists that are there." >&2
reason="apt-get could not install it (see above)."
apt_get install -y --no-install-recommends "$@" || refuse "$@"

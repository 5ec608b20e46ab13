#!/usr/bin/env bash
# See that what the GUI tests need outside Python is there: a virtual display, software OpenGL and the libraries of
# Qt's xcb platform, and a browser for the test of the report. What is missing is installed by apt where that can be
# done without asking. Quick when nothing is missing.
set -euo pipefail
[ "$(uname -s)" = Linux ] || exit 0
here=$(dirname "$0")

# library that must be found:Debian package that brings it
libraries="
libEGL.so.1:libegl1
libGL.so.1:libgl1
libGLX_mesa.so.0:libglx-mesa0
libX11-xcb.so.1:libx11-xcb1
libdbus-1.so.3:libdbus-1-3
libfontconfig.so.1:libfontconfig1
libglib-2.0.so.0:libglib2.0-0
libxcb-cursor.so.0:libxcb-cursor0
libxcb-icccm.so.4:libxcb-icccm4
libxcb-image.so.0:libxcb-image0
libxcb-keysyms.so.1:libxcb-keysyms1
libxcb-randr.so.0:libxcb-randr0
libxcb-render-util.so.0:libxcb-render-util0
libxcb-shape.so.0:libxcb-shape0
libxcb-xkb.so.1:libxcb-xkb1
libxkbcommon-x11.so.0:libxkbcommon-x11-0
"

known=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p)
missing=()
for pair in $libraries; do
  grep -qF "${pair%%:*} " <<<"$known" || missing+=("${pair#*:}")
done
command -v Xvfb >/dev/null || missing+=(xvfb)
compgen -G "/usr/lib*/dri/swrast_dri.so" >/dev/null || compgen -G "/usr/lib/*/dri/swrast_dri.so" >/dev/null \
  || missing+=(libgl1-mesa-dri)
if [ "${#missing[@]}" -gt 0 ]; then
  bash "$here/apt_install.sh" "for the GUI tests" "${missing[@]}"
fi

# The driver belongs to the browser: of one version, from one place.
command -v chromedriver >/dev/null && for browser in chromium chromium-browser google-chrome; do
  if command -v "$browser" >/dev/null; then exit 0; fi
done
bash "$here/apt_install.sh" "for the test of the report in a browser" chromium chromium-driver

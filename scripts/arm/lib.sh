# shellcheck shell=bash
# An aarch64 Debian to run the edge client in, without root, chroot or binfmt: qemu-user with a sysroot. Sourced, never run.
#
# The sysroot is unpacked from the arm64 packages of the host's own Debian release (the one of Raspberry Pi OS), the Python
# packages are the aarch64 wheels of PyPI: a dependency without one is found here.

ARM=$ROOT/.cache/arm
# PyAudio has no wheel anywhere; on a Pi it is Debian's, or built from source.
ARM_PACKAGES=(libc6 libstdc++6 python3 python3-pyaudio libopus0 libegl1 libgles2 libgl1)
ARM_PLATFORMS=(
  --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux_2_26_aarch64
  --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 --platform manylinux_2_34_aarch64
)

# What a device installs, one requirement a line, without what has no wheel.
edge_requirements() {
  "$PYTHON" - "$ROOT/pyproject.toml" <<'PY'
import sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
for requirement in project["dependencies"] + project["optional-dependencies"]["edge"]:
    if not requirement.lower().startswith("pyaudio"):
        print(requirement)
PY
}

arm_apt_get() {
  local own=$ARM/apt
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Install-Recommends=false \
    -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Dir::State::lists="$own/lists" -o Dir::State::status="$own/status" \
    -o Dir::Cache="$own" -o Dir::Cache::archives="$own/archives" "$@" </dev/null
}

# What stands was made from: packages, requirements, this script.
arm_digest() {
  { printf '%s\n' "${ARM_PACKAGES[@]}" "${ARM_PLATFORMS[@]}" && edge_requirements && cat /etc/debian_version; } | sha256sum
}

# need_arm: the sysroot in $ARM/root, the wheels in $ARM/site.
need_arm() {
  local wheel package version
  [[ $(cat "$ARM/.made-from" 2>/dev/null) == "$(arm_digest)" ]] && return 0
  rm -rf "$ARM"
  mkdir -p "$ARM"/{root,site,wheels,apt/lists/partial,apt/archives/partial}
  : >"$ARM/apt/status"
  say "arm: reading the package lists for arm64"
  quiet_unless_it_fails arm_apt_get update
  say "arm: downloading ${ARM_PACKAGES[*]}"
  quiet_unless_it_fails arm_apt_get install -y --download-only "${ARM_PACKAGES[@]}"
  say "arm: unpacking $(find "$ARM/apt/archives" -name '*.deb' | wc -l) packages"
  for package in "$ARM"/apt/archives/*.deb; do dpkg-deb -x "$package" "$ARM/root"; done
  rm -rf "$ARM/apt"
  version=$(arm_python_version)
  say "arm: downloading wheels for aarch64, Python $version"
  edge_requirements >"$ARM/requirements.txt"
  quiet_unless_it_fails "$PYTHON" -m pip download --only-binary=:all: "${ARM_PLATFORMS[@]}" --implementation cp \
    --python-version "$version" -d "$ARM/wheels" -r "$ARM/requirements.txt"
  for wheel in "$ARM"/wheels/*.whl; do unzip -q -o -d "$ARM/site" "$wheel"; done
  rm -rf "$ARM/wheels"
  arm_digest >"$ARM/.made-from"
}

# The Python of the sysroot, such as 3.11.
arm_python_version() {
  basename "$(readlink "$ARM/root/usr/bin/python3")" | sed s/python//
}

# Puts the project's own wheel into $ARM/project, and writes $ARM/python, which runs the sysroot's Python with all of it.
install_project() {
  rm -rf "$ARM/project"
  mkdir "$ARM/project"
  mkdir -p "$ARM/root/etc/alsa/conf.d" # else ALSA takes this machine's, whose plug-ins are for another architecture
  quiet_unless_it_fails "$PYTHON" -m pip wheel --no-deps -w "$ARM/project" "$ROOT"
  unzip -q -d "$ARM/project" "$ARM"/project/*.whl
  cat >"$ARM/python" <<EOS
#!/usr/bin/env bash
exec qemu-aarch64-static -L "$ARM/root" -E PYTHONPATH="$ARM/project:$ARM/site" -E PYTHONPYCACHEPREFIX="$ARM/pycache" \\
  -E LD_LIBRARY_PATH="$ARM/root/usr/lib/aarch64-linux-gnu" -E ALSA_CONFIG_DIR="$ARM/root/usr/share/alsa" \\
  -E ALSA_PLUGIN_DIR="$ARM/root/usr/lib/aarch64-linux-gnu/alsa-lib" "$ARM/root/usr/bin/python$(arm_python_version)" -P "\$@"
EOS
  chmod +x "$ARM/python"
}

# Whether every wheel that a device needs is there for another Python too; prints what would be installed.
resolve_wheels() {
  local version=$1
  edge_requirements >"$ARM/requirements.txt"
  quiet_unless_it_fails "$PYTHON" -m pip install --dry-run --ignore-installed --target "$ARM/nowhere" --only-binary=:all: \
    "${ARM_PLATFORMS[@]}" --implementation cp --python-version "$version" -r "$ARM/requirements.txt"
}

# Programs for aarch64 can be started like native ones. The kernel forgets it with this mount namespace (before Linux 6.7: with the
# next boot), unless the machine has it set up for good, as systemd does if qemu-user-static is installed.
need_emulation() {
  local formats=/proc/sys/fs/binfmt_misc
  [[ $(dpkg --print-architecture) != arm64 ]] || return 0
  need_packages qemu-user-static
  [[ -e $formats/register ]] || mount -t binfmt_misc binfmt_misc "$formats" || die "this kernel has no binfmt_misc, which the emulation needs"
  [[ -e $formats/qemu-aarch64 ]] || cat /usr/lib/binfmt.d/qemu-aarch64.conf >"$formats/register"
}

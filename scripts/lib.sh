# shellcheck shell=bash
# What the scripts share: telling what goes on, system packages, the virtual environment. Sourced, never run.
#
# All of it is safe to run twice and at the same time as another script: what stands is left alone, and one script at a
# time sets up. Nothing here reads standard input.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
PYTHON=$VENV/bin/python
SYSTEM_PYTHON=/usr/bin/python3
LOCK_TIMEOUT_S=300
unset PYTHONDONTWRITEBYTECODE # every start of a program would compile all its modules
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

# What the pair needs to run: PortAudio is compiled into PyAudio, the rest is loaded at run time. The installer reads the same list.
mapfile -t RUN_PACKAGES <"$ROOT/proto/avatar_relay/installer/debian_packages.txt"
# What the tests need beyond that: a screen, an ALSA device of their own, reference decoders, recorded speech, certificates,
# the checks of systemd units.
# shellcheck disable=SC2034  # used where this is sourced
TEST_PACKAGES=(
  "${RUN_PACKAGES[@]}" libasound2-dev libasound2-plugins alsa-utils opus-tools pocketsphinx-testdata xvfb weston openssl systemd
  nats-server
)

say() { printf '==> %s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# The packages among the arguments that are not installed, one a line.
missing_packages() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || printf '%s\n' "$package"
  done
}

# apt-get, waiting for its locks: it waits by itself for dpkg's, but not for those of its lists and archives.
patient_apt_get() {
  local log status deadline=$((SECONDS + LOCK_TIMEOUT_S))
  log=$(mktemp)
  while true; do
    status=0
    "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
      apt-get -q -o "DPkg::Lock::Timeout=$LOCK_TIMEOUT_S" -o APT::Install-Recommends=false "$@" </dev/null >"$log" 2>&1 || status=$?
    if ((status == 0 || SECONDS >= deadline)) || ! grep -q 'Could not get lock\|Unable to lock' "$log"; then break; fi
    say "another program holds the package manager's lock; waiting"
    sleep 5
  done
  ((status == 0)) || cat "$log" >&2
  rm -f "$log"
  return "$status"
}

# Installs those of the named packages that are missing; needs root, or sudo without a password.
need_packages() {
  command -v dpkg-query >/dev/null || die "this sets up Debian 12 and 13, 64-bit Raspberry Pi OS and similar systems only; elsewhere see docs/device.md"
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  AS_ROOT=()
  if ((EUID != 0)); then
    AS_ROOT=(sudo -n)
    sudo -n true 2>/dev/null || die "these system packages are missing; install them and start again:
  sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}"
  fi
  say "system packages: reading the lists"
  patient_apt_get update || say "not all lists could be read; trying with what is there"
  say "system packages: installing ${missing[*]}"
  patient_apt_get install -y "${missing[@]}" || die "apt-get could not install: ${missing[*]}"
}

# Where the environment lies and which Python it is for: another one cannot be mended, only made anew.
environment_place() {
  printf '%s %s' "$ROOT" "$("$SYSTEM_PYTHON" -VV)"
}

quiet_unless_it_fails() {
  local log
  log=$(mktemp)
  "$@" </dev/null >"$log" 2>&1 || {
    cat "$log" >&2
    rm -f "$log"
    return 1
  }
  rm -f "$log"
}

need_python() {
  [[ -x $SYSTEM_PYTHON ]] || die "no $SYSTEM_PYTHON; install it: sudo apt-get install python3"
  "$SYSTEM_PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$("$SYSTEM_PYTHON" -V) is too old; Debian 12 or newer is needed, with Python 3.11"
}

# need_environment run|test: .venv with the project and what the pair, or the test suite, needs.
need_environment() {
  local level=$1 packages=(-e "${ROOT}[relay,edge,discovery,pairing]") inputs
  if [[ $level == test ]]; then packages+=(--group "$ROOT/pyproject.toml:dev"); fi
  need_python
  inputs=$(sha256sum <"$ROOT/pyproject.toml")
  mkdir -p "$ROOT/.cache"
  exec 9>"$ROOT/.cache/setup.lock"
  flock 9
  if [[ $(cat "$VENV/.made-at" 2>/dev/null) != "$(environment_place)" ]]; then
    say "Python environment: making .venv with $("$SYSTEM_PYTHON" -V)"
    "$SYSTEM_PYTHON" -m venv --clear "$VENV"
    quiet_unless_it_fails "$PYTHON" -m pip install --upgrade 'pip>=25.1' # the first with dependency groups
    environment_place >"$VENV/.made-at"
  fi
  if [[ $(cat "$VENV/.made-from-$level" 2>/dev/null) != "$inputs" ]]; then
    say "Python environment: installing what pyproject.toml asks for ($level); a minute or two the first time"
    quiet_unless_it_fails "$PYTHON" -m pip install "${packages[@]}" || die "pip could not install the project; its messages are above"
    printf '%s\n' "$inputs" | tee "$VENV/.made-from-run" >"$VENV/.made-from-$level"
  fi
  need_stubs
  exec 9>&-
}

# The generated modules of proto/, anew where a source is newer; by the build hook, which brings its own compiler.
need_stubs() {
  local stub=$ROOT/proto/avatar_relay/v1/media_pb2.py
  if [[ ! -e $stub || -n $(find "$ROOT/proto" "$ROOT/scripts/compile_protos.py" \( -name '*.proto' -o -name compile_protos.py \) -newer "$stub") ]]; then
    say "protobuf: generating the stubs"
    quiet_unless_it_fails "$PYTHON" -m pip install --no-deps -e "$ROOT" || die "the stubs could not be generated; pip's messages are above"
  fi
}

# need_group NAME: a dependency group that only one command needs, in the environment that there is; installed once.
need_group() {
  local group=$1 inputs
  inputs=$(sha256sum <"$ROOT/pyproject.toml")
  exec 9>"$ROOT/.cache/setup.lock"
  flock 9
  if [[ $(cat "$VENV/.made-from-$group" 2>/dev/null) != "$inputs" ]]; then
    say "Python environment: installing the dependency group $group"
    quiet_unless_it_fails "$PYTHON" -m pip install --group "$ROOT/pyproject.toml:$group" || die "pip could not install the group $group"
    printf '%s\n' "$inputs" >"$VENV/.made-from-$group"
  fi
  exec 9>&-
}

# show_help "$@": prints the comment at the head of the script, if it was asked for, and ends.
show_help() {
  case ${1:-} in
    -h | --help)
      sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
  esac
}

# run_slow_tests FOLDER ARGUMENT…: the long runs among the tests of a folder, with what they print. Arguments go to pytest.
run_slow_tests() {
  local folder=$ROOT/$1
  shift
  run_module test pytest -q -m slow -rP --rootdir "$ROOT" -c "$ROOT/pyproject.toml" "$folder" "$@"
}

# run_module run|test MODULE ARGUMENT…: installs what is missing for running the programs, or for the tests; then becomes the tool.
# Paths among the arguments are relative to the caller's folder.
run_module() {
  local level=$1 module=$2 packages=("${RUN_PACKAGES[@]}")
  shift 2
  if [[ $level == test ]]; then packages=("${TEST_PACKAGES[@]}"); fi
  need_packages "${packages[@]}"
  need_environment "$level"
  exec "$PYTHON" -P -m "$module" "$@" </dev/null
}

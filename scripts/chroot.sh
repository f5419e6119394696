# shellcheck shell=bash
# A Debian in a chroot made with debootstrap, for commands that try the project on a clean machine. Sourced after lib.sh; needs root.
#
# SUITE, BASE (the folder that keeps it), CLONE (where the project is, within) and, if it is not this machine's, ARCHITECTURE are set by
# the caller. All mounts live in a mount
# namespace of the process, so none is left behind, however it ends. What is tried is the current commit: changes that are not
# committed are left out.

CHROOT=$BASE/root
DEFAULT_MIRROR=http://deb.debian.org/debian
TEST_DATA=${TEST_DATA_FOLDER:-$ROOT/../shared/data}
PIP_CONFIGURATION=(/etc/pip.conf /etc/xdg/pip "$HOME/.config/pip" "$HOME/.pip")

# The Debian mirror that this machine's own apt uses.
mirror() {
  local found
  # shellcheck disable=SC2016  # apt expands it
  found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | sed -n 1p)
  printf '%s\n' "${found:-$DEFAULT_MIRROR}"
}

in_chroot() { chroot "$CHROOT" "$@" </dev/null; }

make_chroot() {
  if [[ -e $BASE/complete ]]; then return; fi
  local source
  source=$(mirror)
  say "$SUITE: making the chroot from $source"
  rm -rf --one-file-system "$CHROOT"
  quiet_unless_it_fails debootstrap ${ARCHITECTURE:+"--arch=$ARCHITECTURE"} --variant=minbase --include=ca-certificates "$SUITE" "$CHROOT" "$source" ||
    die "debootstrap failed; its messages are above"
  # packages must not start services
  printf '#!/bin/sh\nexit 101\n' >"$CHROOT/usr/sbin/policy-rc.d"
  chmod +x "$CHROOT/usr/sbin/policy-rc.d"
  touch "$BASE/complete"
}

# A machine as debootstrap leaves it: until the end of the process, changes are kept in memory, above the chroot.
use_clean_machine() {
  mkdir -p "$BASE/memory" "$BASE/machine"
  mount -t tmpfs tmpfs "$BASE/memory"
  mkdir "$BASE/memory/upper" "$BASE/memory/work"
  mount -t overlay overlay -o "lowerdir=$BASE/root,upperdir=$BASE/memory/upper,workdir=$BASE/memory/work" "$BASE/machine"
  CHROOT=$BASE/machine
}

mount_system() {
  local name
  mount -t proc proc "$CHROOT/proc"
  for name in dev sys; do # dev with pts and shm
    mount --rbind "/$name" "$CHROOT/$name"
  done
  mount -t tmpfs -o mode=0755 tmpfs "$CHROOT/run"
  if [[ -d $TEST_DATA ]]; then # inputs of the tests that are not part of the project: tests/lab/data.py
    mkdir -p "$CHROOT/test-data"
    mount --bind "$TEST_DATA" "$CHROOT/test-data"
    export TEST_DATA_FOLDER=/test-data
  fi
}

# How this machine reaches the network: name resolution, certificate authorities, the settings of apt and pip. Its environment
# is passed on as it is.
pass_network_settings() {
  local path
  cat /etc/resolv.conf >"$CHROOT/etc/resolv.conf"
  cat /etc/hosts >"$CHROOT/etc/hosts"
  if [[ -e /etc/ssl/certs/ca-certificates.crt ]]; then cat /etc/ssl/certs/ca-certificates.crt >"$CHROOT/etc/ssl/certs/ca-certificates.crt"; fi
  apt-config dump | grep -E '^Acquire::(http|https|Check-)' >"$CHROOT/etc/apt/apt.conf.d/99host" || true
  for path in "${PIP_CONFIGURATION[@]}"; do
    rm -rf "${CHROOT:?}$path"
    if [[ -e $path ]]; then
      mkdir -p "$CHROOT${path%/*}"
      cp -rL "$path" "$CHROOT$path"
    fi
  done
}

# The current commit in the chroot. What git ignores there, such as .venv, is kept from the last run.
update_clone() {
  local target=$CHROOT$CLONE
  if [[ ! -e $target/.git ]]; then git init -q "$target"; fi
  git -C "$target" fetch -q --depth 1 "file://$ROOT" HEAD
  git -C "$target" checkout -q --force --detach FETCH_HEAD
  git -C "$target" clean -q -ffd
  say "$SUITE: testing $(git -C "$target" log -1 --format='%h %s')"
}

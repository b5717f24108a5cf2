#!/usr/bin/env bash
# Makes a Debian machine ready for the demo and the tests, and does nothing when it already is.
#   setup.sh            Debian packages (as root), .venv, this package with its development tools
#   setup.sh client     what the stack is looked after with: .venv with the packages that rmqcluster needs to run
#   setup.sh packages   the Debian packages only
#   setup.sh swarm      as without a word, and what real Swarm hosts on this machine take: an engine, debootstrap, …
#   setup.sh packages swarm   the Debian packages of both
# Services of the packages are never started, and services that run are never stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declare -Ar SERVICES=(
  [rabbitmq-server]=rabbitmq-server
  [redis-server]=redis-server
  [docker.io]="docker.service docker.socket containerd.service"
)
readonly STAMP=.venv/.rmqcluster-stamp
readonly LOCK_WAIT_SECONDS=300
readonly LOCK=/run/lock/rmqcluster-setup.lock

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$1"; exit "${2:-1}"; }

has_brokers() { [[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] || command -v rabbitmq-server >/dev/null; }
has_redis() { command -v redis-server >/dev/null || [[ -x /usr/bin/redis-server ]]; }

is_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
makes_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# The system's interpreter comes first: the supervisor steps down to the broker's user, which cannot read an
# interpreter below root's home.
find_python() {
  local python
  for python in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
    command -v "$python" >/dev/null && is_python "$python" && "$@" "$python" && return 0
  done
  return 1
}
print_python() { printf '%s\n' "$1"; }
print_python_with_venv() { makes_venv "$1" && printf '%s\n' "$1"; }

# The client is a package of its own in newer releases, and not among what the engine depends on.
docker_client() { apt-cache show docker-cli >/dev/null 2>&1 && echo docker-cli || echo docker.io; }

swarm_packages() {
  command -v dockerd >/dev/null || echo docker.io
  command -v docker >/dev/null || docker_client
  command -v debootstrap >/dev/null || echo debootstrap
  command -v ip >/dev/null || echo iproute2
  command -v iptables >/dev/null || echo iptables
  command -v ps >/dev/null || echo procps
}

wanted_packages() {
  [[ $what == client ]] || has_brokers || echo rabbitmq-server
  [[ $what == client ]] || has_redis || echo redis-server
  venv_works || find_python print_python_with_venv >/dev/null || echo python3-venv
  [[ -z $swarm ]] || swarm_packages
}

# Started by root, the supervisor steps down to the broker's user, who must be able to reach the interpreter.
venv_works() {
  [[ -x .venv/bin/python ]] && .venv/bin/python - 2>/dev/null <<'CHECK'
import os, pathlib, sys
import pip

above = pathlib.Path(os.path.realpath(sys.executable)).parents
reachable = os.geteuid() != 0 or all(directory.stat().st_mode & 1 for directory in above)
sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix or not reachable)
CHECK
}

# apt-get waits for dpkg's lock by itself, but not for the lock of the package lists.
update_lists() {
  local tries=3 deadline=$((SECONDS + LOCK_WAIT_SECONDS)) output
  while ! output=$(apt-get -q update 2>&1); do
    if [[ $output == *"Could not get lock"* ]]; then
      ((SECONDS < deadline)) || { say "another package manager held its lock for ${LOCK_WAIT_SECONDS} s"; return 1; }
    else
      ((--tries > 0)) || { printf '%s\n' "$output" >&2; return 1; }
    fi
    sleep 3
  done
}

readonly POLICY=/usr/sbin/policy-rc.d POLICY_SAVED=/usr/sbin/policy-rc.d.before-rmqcluster
readonly POLICY_MARK='# rmqcluster setup: no service starts or stops while packages are installed'

restore_policy() {
  if [[ -e $POLICY ]] && grep -qF "$POLICY_MARK" "$POLICY"; then rm -f "$POLICY"; fi
  if [[ -e $POLICY_SAVED || -L $POLICY_SAVED ]]; then mv -f "$POLICY_SAVED" "$POLICY"; fi
}

# A run that was killed with SIGKILL left its own; one that still works holds the lock and restores it itself.
restore_leftover_policy() {
  ((EUID == 0)) && grep -qsF "$POLICY_MARK" "$POLICY" || return 0
  (if flock -n 9; then restore_policy; fi) 9>"$LOCK"
}

forbid_services() {
  trap restore_policy EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  if [[ -e $POLICY || -L $POLICY ]]; then mv -f "$POLICY" "$POLICY_SAVED"; fi
  printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
  chmod 755 "$POLICY"
}

# A reboot must not start what only the demo and the tests use.
disable_new_services() {
  command -v systemctl >/dev/null || return 0
  local package service
  for package in "$@"; do
    for service in ${SERVICES[$package]:-}; do
      systemctl --quiet disable "$service" 2>/dev/null || say "could not disable $service"
    done
  done
}

install_packages() {
  restore_leftover_policy
  local -a wanted
  mapfile -t wanted < <(wanted_packages | sort -u)
  ((${#wanted[@]})) || return 0
  command -v apt-get >/dev/null || die "missing: ${wanted[*]}. This is no Debian system; install them, then run again."
  ((EUID == 0)) || die "missing Debian packages: ${wanted[*]}. Type:  sudo $PWD/scripts/setup.sh packages${swarm:+ swarm}"
  (
    flock -w "$LOCK_WAIT_SECONDS" 9 || die "another set-up is running for ${LOCK_WAIT_SECONDS} s"
    say "installing ${wanted[*]} (their services stay off)"
    forbid_services
    export DEBIAN_FRONTEND=noninteractive
    update_lists || say "the package lists could not be refreshed; going on with those that are there"
    mapfile -t wanted < <(wanted_packages | sort -u) # what a package is called shows in the lists
    log=$(mktemp)
    apt-get -q -y -o "DPkg::Lock::Timeout=$LOCK_WAIT_SECONDS" install --no-install-recommends "${wanted[@]}" \
      </dev/null >"$log" 2>&1 || { tail -n 40 "$log" >&2; die "apt-get could not install ${wanted[*]}; all of it: $log"; }
    rm -f "$log"
    disable_new_services "${wanted[@]}"
  ) 9>"$LOCK"
}

make_venv() {
  venv_works && return 0
  local python
  python=$(find_python print_python_with_venv) || python=$(find_python print_python) ||
    die "no Python 3.11 or newer found. Type:  apt-get install python3 python3-venv"
  if [[ -e .venv || -L .venv ]]; then
    say ".venv does not work, or the broker's user cannot reach its interpreter; making it anew"
    rm -rf .venv
  fi
  say "making .venv with $("$python" --version)"
  "$python" -m venv .venv || die "$python -m venv failed. Type:  apt-get install python3-venv"
}

stamp_of() { { cat pyproject.toml "requirements/$1.txt" && printf '%s' "$PWD"; } | sha256sum; }
is_installed() { [[ -f $STAMP ]] && grep -qxF "$(stamp_of "$1")" "$STAMP"; }

pip_install() {
  local tries=3
  until .venv/bin/python -m pip --disable-pip-version-check install -q --retries 5 --timeout 60 "$@" >&2; do
    ((--tries > 0)) || die "pip could not install $*; its words are above"
    sleep 3
  done
}

install_project() {
  is_installed dev && return 0
  say "installing the project into .venv"
  rm -f "$STAMP"
  pip_install --require-hashes -r requirements/dev.txt
  pip_install --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
  { stamp_of dev && stamp_of runtime; } >"$STAMP"
}

install_client() {
  is_installed runtime && return 0
  say "installing what rmqcluster needs into .venv"
  pip_install --require-hashes -r requirements/runtime.txt
  stamp_of runtime >"$STAMP"
}

what=all swarm=
for word in "$@"; do
  case "$word" in
    packages | client) what=$word ;;
    swarm) swarm=yes ;;
    *) die "usage: setup.sh [client | packages] [swarm]" 64 ;;
  esac
done

install_packages
case $what in
  all) make_venv && install_project ;;
  client) make_venv && install_client ;;
esac

#!/usr/bin/env bash
# Finds the images that the stack is made from, and says on stdout which: RABBITMQ_BASE=…, REDIS_IMAGE=…,
# POSTGRES_IMAGE=…, one line each. An official image is used when it is here or can be pulled; otherwise a stand-in is
# built from Debian packages, which takes root, debootstrap and a Debian mirror. An image that such a variable names is
# the only one: another version in its place would be a surprise to the data.
#   images.sh                     all three
#   images.sh broker redis        some of them
#   STANDIN=trixie images.sh      a stand-in from that suite (sid, trixie, bookworm), whatever can be pulled
#   BUILD_NETWORK=host images.sh  build in that network, for an engine whose bridge has no way out
# What is there already is not built again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SUITES=(sid trixie) # the second where the first is broken today
readonly SOURCES=image/standins
readonly MADE_FROM=rmqcluster.made-from # label: hash of what a stand-in was made from
readonly PULL_SECONDS=300
export DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} # the stand-ins' base is in no registry

declare -Ar VARIABLE=([broker]=RABBITMQ_BASE [redis]=REDIS_IMAGE [postgres]=POSTGRES_IMAGE)
declare -Ar OFFICIAL=([broker]=rabbitmq:4.1-management-alpine [redis]=redis:8-alpine [postgres]=postgres:18-alpine)
declare -Ar STANDIN_NAME=([broker]=rabbitmq [redis]=redis [postgres]=postgres)

work= image= pull_trouble=
trap '[[ -z $work ]] || rm -rf "$work"' EXIT

say() { printf 'images: %s\n' "$*" >&2; }
die() { say "$1"; exit "${2:-1}"; }

is_here() { docker image inspect "$1" >/dev/null 2>&1; }
# Sets `pull_trouble`.
can_pull() {
  pull_trouble=$(timeout "$PULL_SECONDS" docker pull -q "$1" 2>&1 >/dev/null) && return 0
  pull_trouble=${pull_trouble:-no end within $PULL_SECONDS s}
  return 1
}

made_from() { docker image inspect --format "{{index .Config.Labels \"$MADE_FROM\"}}" "$1" 2>/dev/null; }
sources_hash() { cat "$SOURCES"/* scripts/images.sh | sha256sum | cut -c1-16; }

# Runs quietly; the output shows when it fails.
quietly() {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then rm -f "$log"; return 0; fi
  tail -n 30 "$log" >&2
  say "failed: $* (all of its output: $log)"
  return 1
}

# This machine's proxies and certificates hold inside the image as well: it is built behind the same network.
adapt_to_machine() {
  local root=$1 bundle=/etc/ssl/certs/ca-certificates.crt own=/usr/local/share/ca-certificates
  apt-config dump --format '%f "%v";%n' Acquire | grep -E '^Acquire::https?::Proxy' >"$root/etc/apt/apt.conf.d/90machine" || true
  # A mirror may be a frozen copy, and nothing is left to start while packages are installed.
  echo 'Acquire::Check-Valid-Until "false";' >>"$root/etc/apt/apt.conf.d/90machine"
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"
  if [[ -r $bundle ]]; then install -D -m 644 "$bundle" "$root$bundle"; fi
  # The bundle is made anew from these when a package brings the usual ones.
  if [[ -d $own ]]; then mkdir -p "$root$own" && cp -rL "$own/." "$root$own/"; fi
  # pip trusts what this machine trusts, and asks where this machine's asks.
  if [[ -r $bundle ]]; then
    cp "$bundle" "$root/etc/ssl/machine.crt"
    printf '[global]\ncert = /etc/ssl/machine.crt\n' >"$root/etc/pip.conf"
    local index=${PIP_INDEX_URL:-$(sed -n 's/^index-url *= *//p' /etc/pip.conf 2>/dev/null | tail -n 1)}
    [[ -z $index ]] || printf 'index-url = %s\n' "$index" >>"$root/etc/pip.conf"
  fi
}

install_debootstrap() {
  command -v apt-get >/dev/null || return 1
  say "installing debootstrap"
  quietly apt-get -q update || say "the package lists could not be refreshed; going on with those that are there"
  DEBIAN_FRONTEND=noninteractive quietly apt-get -q -y install --no-install-recommends debootstrap
}

make_debian() {
  local suite=$1 debian=$2
  [[ $(made_from "$debian") == "$(sources_hash)" ]] && return 0
  ((EUID == 0)) || die "a stand-in is made by root. Type:  sudo $PWD/scripts/images.sh, or load the official images"
  command -v debootstrap >/dev/null || install_debootstrap || die "no debootstrap. Type:  apt-get install debootstrap"
  say "making $debian (debootstrap, about 30 s)"
  work=$(mktemp -d)
  quietly debootstrap --variant=minbase "$suite" "$work" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} || return 1
  rm -rf "$work"/var/cache/apt/archives/*.deb "$work"/var/lib/apt/lists/*
  adapt_to_machine "$work" || return 1
  tar -C "$work" -c . | quietly docker import --change "LABEL $MADE_FROM=$(sources_hash)" - "$debian" || return 1
  rm -rf "$work"
  work=
}

# Sets `image`. No function here runs in a subshell: the working directory must be known to the trap.
make_standin() {
  local part=$1 suite=$2 debian
  debian=rmqcluster/standin-debian:$suite image=rmqcluster/standin-${STANDIN_NAME[$part]}:$suite
  if [[ $(made_from "$image") != "$(sources_hash)" ]]; then
    make_debian "$suite" "$debian" || return 1
    say "making $image from Debian packages (about a minute)"
    quietly docker build ${BUILD_NETWORK:+--network "$BUILD_NETWORK"} --label "$MADE_FROM=$(sources_hash)" --build-arg "DEBIAN=$debian" --tag "$image" \
      --file "$SOURCES/${STANDIN_NAME[$part]}.Dockerfile" "$SOURCES" || return 1
  fi
}

# Sets `image`.
choose() {
  local part=$1 wanted suite
  wanted=${!VARIABLE[$part]:-${OFFICIAL[$part]}}
  if [[ -z ${STANDIN:-} ]] && { is_here "$wanted" || can_pull "$wanted"; }; then
    image=$wanted
    return 0
  fi
  if [[ -z ${STANDIN:-} ]]; then
    say "$wanted is not here and cannot be pulled: $pull_trouble"
    [[ -z ${!VARIABLE[$part]:-} ]] || return 1
    say "a stand-in takes its place"
  fi
  for suite in ${STANDIN:-"${SUITES[@]}"}; do
    make_standin "$part" "$suite" && return 0
    say "no stand-in for $wanted from Debian $suite"
  done
  return 1
}

docker version >/dev/null 2>&1 || die "no Docker engine answers. Start it, or set DOCKER_HOST"
parts=("$@")
((${#parts[@]})) || parts=(broker redis postgres)
for part in "${parts[@]}"; do
  [[ -n ${VARIABLE[$part]:-} ]] || die "usage: images.sh [broker] [redis] [postgres]" 64
  choose "$part" || die "no image for ${VARIABLE[$part]}; load one, or set it to one that is there"
  printf '%s=%s\n' "${VARIABLE[$part]}" "$image"
done

#!/bin/sh
# Installs Python on Alpine, Debian or Ubuntu and leaves no package lists behind; `with-pip` for the build stage.
set -eu

packages=python3
if [ "${1:-}" = with-pip ]; then packages="python3 python3-pip"; fi
if command -v apk >/dev/null; then
  [ "$packages" = python3 ] || packages="python3 py3-pip"
  # shellcheck disable=SC2086
  apk add --no-cache $packages
elif command -v apt-get >/dev/null; then
  apt-get update
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
  rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/apt /var/log/dpkg.log
else
  echo "the base image has neither apk nor apt-get: take an Alpine, Debian or Ubuntu variant" >&2
  exit 1
fi
python3 -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else
  f"the base image brings Python {sys.version.split()[0]}; rmqcluster needs 3.11 or newer: take a newer variant")'

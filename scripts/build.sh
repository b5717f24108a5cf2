#!/usr/bin/env bash
# Builds the image of the members on the base that is there (RABBITMQ_BASE, else the official image, else a stand-in from
# Debian packages) and sees that images of Redis and PostgreSQL are there too.
#   IMAGE=name:tag     what the image is called; rmqcluster:latest
#   REGISTRY=host/path pushes it there, and the stack is deployed by the digest that the registry gives
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'build: %s\n' "$*" >&2; }
die() { say "$1"; exit "${2:-1}"; }
# .env (or ENV_FILE) is no shell script: its values are taken as they are, without the quotes around them.
from_dotenv() {
  sed -n "s/^$1=//p" "${ENV_FILE:-.env}" 2>/dev/null | tail -n 1 | sed "s/^\([\"']\)\(.*\)\1 *$/\2/"
}

for name in IMAGE REGISTRY RABBITMQ_BASE REDIS_IMAGE POSTGRES_IMAGE; do
  if [[ -z ${!name:-} ]]; then printf -v "$name" '%s' "$(from_dotenv "$name")"; fi
  if [[ -n ${!name} ]]; then export "${name?}"; else unset "$name"; fi
done

found=$(scripts/images.sh)
base=$(sed -n 's/^RABBITMQ_BASE=//p' <<<"$found")
image=${IMAGE:-rmqcluster:latest}
say "building $image on $base"
log=$(mktemp)
DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} docker build --build-arg "BASE=$base" --tag "$image" . >"$log" 2>&1 ||
  { tail -n 30 "$log" >&2; die "docker build failed; all of it: $log"; }
rm -f "$log"

base_bytes=$(docker image inspect --format '{{.Size}}' "$base")
bytes=$(docker image inspect --format '{{.Size}}' "$image")
say "$image is built: $(((bytes - base_bytes) / 1000000)) MB on top of its base"
while IFS='=' read -r name value; do
  case $value in */standin-*) say "$name: $value, a stand-in from Debian packages" ;; *) say "$name: $value" ;; esac
done <<<"$found"

if [[ -z ${REGISTRY:-} ]]; then
  say "in no registry: on a Swarm of several hosts, each needs it (make up says what to load where)"
  exit 0
fi
# What another registry has is pulled from there.
for one in "$image" $(sed -n 's/^\(REDIS\|POSTGRES\)_IMAGE=//p' <<<"$found"); do
  if [[ $one != "$image" && $(docker image inspect --format '{{len .RepoDigests}}' "$one") != 0 ]]; then continue; fi
  pushed=${REGISTRY%/}/${one##*/}
  docker tag "$one" "$pushed"
  say "pushing $pushed"
  docker push -q "$pushed" >/dev/null || die "docker push $pushed failed. Log in:  docker login ${REGISTRY%%/*}"
done
say "pushed; make up deploys by the digests that the registry gave"

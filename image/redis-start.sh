#!/bin/sh
# Becomes Redis, with the password from its secret on standard input: it is in no command line, no environment, no file.
set -eu

password=$(sed 's/[\\"]/\\&/g' /run/secrets/redis_pass)
if [ -z "$password" ]; then echo "the secret redis_pass is empty: Redis would be open to everybody" >&2; exit 78; fi
exec redis-server "$@" - <<PASSWORD
requirepass "$password"
PASSWORD

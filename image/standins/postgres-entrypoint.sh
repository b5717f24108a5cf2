#!/bin/sh
# What the stack needs of the official image's entrypoint: gives up root, makes the cluster and its database at the
# first start, then becomes PostgreSQL.
set -eu

if [ "$(id -u)" = 0 ]; then
  chown postgres:postgres /var/lib/postgresql
  exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

# initdb leaves its directory empty when it fails, and a directory under another name is none yet: whatever
# interrupts the first start, the next one begins again.
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  rm -rf "$PGDATA.new"
  initdb --pgdata "$PGDATA.new" --username "$user" --pwfile "${POSTGRES_PASSWORD_FILE:?names the file with the password}" \
    --auth-local trust --auth-host scram-sha-256 --encoding UTF8
  echo 'host all all all scram-sha-256' >>"$PGDATA.new/pg_hba.conf"
  if [ "$database" != postgres ]; then
    echo "CREATE DATABASE \"$database\";" | postgres --single -j -D "$PGDATA.new" postgres
  fi
  mv "$PGDATA.new" "$PGDATA"
fi
exec "$@"

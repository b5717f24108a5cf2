# PostgreSQL from Debian packages, by the conventions of the official image from 18 on: user postgres, everything in
# /var/lib/postgresql, POSTGRES_DB, POSTGRES_USER and POSTGRES_PASSWORD_FILE heeded at the first start.
ARG DEBIAN
FROM ${DEBIAN}

# The package would make a cluster of its own in the image.
RUN set -eu; \
    groupadd --system --gid 999 postgres; \
    useradd --system --uid 999 --gid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres; \
    apt-get update; \
    apt-get install -y --no-install-recommends postgresql-common; \
    echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf; \
    apt-get install -y --no-install-recommends postgresql; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin; \
    version=$(ls /usr/lib/postgresql); \
    ln -s "/usr/lib/postgresql/$version/bin" /usr/local/postgresql; \
    mkdir -p /var/lib/postgresql /var/run/postgresql; \
    chown postgres:postgres /var/lib/postgresql /var/run/postgresql

COPY postgres-entrypoint.sh /usr/local/bin/docker-entrypoint.sh

ENV PATH=/usr/local/postgresql:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PGDATA=/var/lib/postgresql/docker LANG=C.UTF-8
VOLUME /var/lib/postgresql
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]

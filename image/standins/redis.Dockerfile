# Redis from a Debian package, by the conventions of the official image: user redis, data in /data.
ARG DEBIAN
FROM ${DEBIAN}

RUN set -eu; \
    groupadd --system --gid 999 redis; \
    useradd --system --uid 999 --gid 999 --home-dir /data --shell /usr/sbin/nologin redis; \
    apt-get update; \
    apt-get install -y --no-install-recommends redis-server; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin; \
    mkdir -p /data; \
    chown redis:redis /data

WORKDIR /data
VOLUME /data
EXPOSE 6379
CMD ["redis-server"]

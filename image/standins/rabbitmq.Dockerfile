# A broker from Debian packages, by the conventions of the official image: user rabbitmq with uid 999, home and data
# in /var/lib/rabbitmq, configuration in /etc/rabbitmq, log on stdout. It has no start script: rmqcluster is one.
ARG DEBIAN
FROM ${DEBIAN}

# The package takes a user of its own name as it finds it.
RUN set -eu; \
    groupadd --system --gid 999 rabbitmq; \
    useradd --system --uid 999 --gid 999 --home-dir /var/lib/rabbitmq --shell /usr/sbin/nologin rabbitmq; \
    apt-get update; \
    apt-get install -y --no-install-recommends rabbitmq-server; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/lib/rabbitmq/.erlang.cookie /var/lib/rabbitmq/mnesia; \
    mkdir -p /etc/rabbitmq/conf.d; \
    echo '[rabbitmq_management,rabbitmq_prometheus].' >/etc/rabbitmq/enabled_plugins; \
    chown -R rabbitmq:rabbitmq /etc/rabbitmq /var/lib/rabbitmq

ENV HOME=/var/lib/rabbitmq LANG=C.UTF-8
VOLUME /var/lib/rabbitmq
EXPOSE 4369 5671 5672 15691 15692 25672 15671 15672

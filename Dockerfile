# One broker of the cluster with its supervisor as PID 1, on any image that follows the official one's conventions.
ARG BASE=rabbitmq:4.1-management-alpine

# The same interpreter makes the byte code that later reads it; pip stays behind in this stage.
FROM ${BASE} AS build
USER root
WORKDIR /build
COPY image/install-python.sh ./
RUN ./install-python.sh with-pip
COPY requirements/image.txt ./
# Only wheels without machine code: what is pinned here runs on every base and architecture.
RUN python3 -m pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-compile \
      --only-binary :all: --platform any --implementation py --abi none \
      --target /opt/rmqcluster --requirement image.txt \
    && rm -rf /opt/rmqcluster/bin
COPY rmqcluster /opt/rmqcluster/rmqcluster
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/rmqcluster

FROM ${BASE}
USER root
COPY image/install-python.sh /tmp/
RUN /tmp/install-python.sh && rm /tmp/install-python.sh
COPY --from=build /opt/rmqcluster /opt/rmqcluster
COPY image/rmqcluster /usr/local/bin/rmqcluster
COPY enabled_plugins rabbitmq.conf definitions.json /etc/rabbitmq/

# A new volume belongs to whom this directory belongs to; a base where that is somebody else would fail at run time.
RUN test "$(stat -c %U /var/lib/rabbitmq)" = rabbitmq

ENV PYTHONPATH=/opt/rmqcluster PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER rabbitmq
WORKDIR /var/lib/rabbitmq
VOLUME /var/lib/rabbitmq
EXPOSE 4369 5672 15672 15680 25672

# The base's own entrypoint is not run: the supervisor starts the broker, reaps whatever ends and heeds SIGTERM.
STOPSIGNAL SIGTERM
ENTRYPOINT ["rmqcluster", "entrypoint"]
CMD []
# Liveness of the supervisor alone: green while it waits, boots or is held. Swarm publishes the name of a task only
# once it is green, so a long interval would keep the members from finding each other.
HEALTHCHECK --interval=5s --timeout=4s --start-period=5s --retries=6 CMD ["rmqcluster", "healthcheck"]

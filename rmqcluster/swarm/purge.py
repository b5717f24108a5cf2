"""`python3 -m rmqcluster.swarm.purge` inside the stack: empties every classic and quorum queue, as the administrator.

Streams keep their messages until their retention takes them: RabbitMQ cannot purge them.
"""

import base64
import http.client
import json
import os
import sys
from pathlib import Path
from urllib.parse import quote

HOSTS = ("rabbitmq1", "rabbitmq2", "rabbitmq3")
PORT = 15672
ANSWER_SECONDS = 20.0


def main() -> int:
    user = os.environ["MQ_ADMIN_USER"]
    password = Path(os.environ["MQ_ADMIN_PASS_FILE"]).read_text().removesuffix("\n")
    header = {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    trouble = "no broker answers"
    for host in HOSTS:
        try:
            return _purge(host, header)
        except (OSError, http.client.HTTPException, ValueError) as error:
            trouble = f"{host}: {error}"
    sys.stderr.write(f"nothing was purged, or not all: {trouble}\n")
    return 69


def _purge(host: str, header: dict[str, str]) -> int:
    rows = json.loads(_ask(host, "GET", "/api/queues?disable_stats=true&enable_queue_totals=true", header))
    failed = 0
    for row in rows:
        label = f"{row['vhost']} {row['name']}"
        if row.get("type") == "stream":
            sys.stdout.write(f"{label}: a stream, left alone\n")
            continue
        try:
            _ask(
                host,
                "DELETE",
                f"/api/queues/{quote(row['vhost'], safe='')}/{quote(row['name'], safe='')}/contents",
                header,
            )
        except ValueError as error:
            failed += 1
            sys.stdout.write(f"{label}: not purged ({error})\n")
        else:
            sys.stdout.write(f"{label}: purged ({row.get('messages_ready', row.get('messages', 'unknown'))} ready)\n")
    sys.stdout.write(f"{len(rows)} queues\n" if rows else "there is no queue\n")
    return int(failed > 0)


def _ask(host: str, method: str, path: str, header: dict[str, str]) -> bytes:
    """Raises OSError or HTTPException without an answer, ValueError for one that refuses."""
    connection = http.client.HTTPConnection(host, PORT, timeout=ANSWER_SECONDS)
    try:
        connection.request(method, path, headers=header)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:
        raise ValueError(f"HTTP {answer.status}")
    return body


if __name__ == "__main__":
    sys.exit(main())

"""Accounts and secrets of the broker side: the supervisors' own account, password hashes, fingerprints.

Every supervisor holds the Erlang cookie, so everything here is derived from it and nothing has to travel.
"""

import base64
import hashlib
import hmac
import secrets

from rmqcluster.config.settings import Secret

MONITOR_USER = "rmqcluster-monitor"
MONITOR_TAGS = ("monitoring", "policymaker")  # monitoring: nodes and queues; policymaker: global parameters
HASHING_ALGORITHM = "rabbit_password_hashing_sha256"

_FINGERPRINT_ROUNDS = 100_000  # a cookie may be short: make guessing it from its fingerprint dear


def keyed_hash(cookie: Secret, purpose: str, content: bytes = b"") -> str:
    """HMAC-SHA256 under the cookie, in hex; `purpose` keeps the uses apart."""
    return hmac.new(cookie.value.encode(), purpose.encode() + content, hashlib.sha256).hexdigest()


def monitor_password(cookie: Secret) -> Secret:
    """Password of the account that every supervisor reads its own and its peers' brokers with."""
    return Secret(keyed_hash(cookie, "rmqcluster monitor account"))


def cookie_fingerprint(cookie: Secret) -> str:
    """Sixteen hex digits that tell two cookies apart and cost 100,000 rounds a guess."""
    digest = hashlib.pbkdf2_hmac("sha256", cookie.value.encode(), b"rmqcluster cookie", _FINGERPRINT_ROUNDS)
    return digest.hex()[:16]


def password_hash(password: Secret, salt: bytes | None = None) -> str:
    """RabbitMQ's salted hash: base64(salt + SHA-256(salt + password)), salt of four bytes.

    Source: RabbitMQ's "Passwords" page; its test vector is in the tests.
    """
    salt = secrets.token_bytes(4) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.value.encode()).digest()).decode()

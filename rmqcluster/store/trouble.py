"""What Redis's errors mean: StoreUnavailable or StoreRefused, with the address, a plain reason and the mend.

Passwords and URLs never get into a message, and the client's own exception is not chained to ours, since a
traceback would show what it carries.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from rmqcluster.errors import StoreRefused, StoreUnavailable
from rmqcluster.store.text import printable

REASON_LIMIT = 200
CREDENTIALS_MEND = "check REDIS_USER and REDIS_PASS (or the login in REDIS_URL) against the server's users"


class PasswordUnreadable(redis.AuthenticationError):
    """The password file could not be read at the moment of connecting; the text says why."""


# redis-py keeps the code of an error or strips it, depending on its version and on the code; inside a script older
# servers put it behind words of their own. So both the code and the words that follow it are looked for.
_REPLIES = (
    (("NOPERM", "can't access at least one", "no permissions", "can't run this command", "ACL failure"), True,
     "denies a command or key", "grant the commands and keys that the README lists"),
    (("NOAUTH", "WRONGPASS", "invalid password", "DENIED"), True, "refuses the login", CREDENTIALS_MEND),
    (("READONLY", "read only replica"), False,
     "is a read-only replica", "wait for the failover, or point REDIS_HOST at the master"),
    (("LOADING", "Redis is loading"), False, "is still loading its data", "wait"),
    (("OOM ", "used memory > 'maxmemory'"), False,
     "is out of memory", "raise its maxmemory or remove what else fills it"),
    (("MISCONF", "unable to persist"), False, "cannot save to its disk and takes no writes", "free its disk"),
    (("NOREPLICAS", "enough good replicas"), False,
     "has too few replicas and takes no writes", "bring its replicas back"),
    (("BUSY ", "is busy running a script"), False,
     "is busy with somebody's script", "wait, or end that script with SCRIPT KILL"),
    (("MASTERDOWN", "Link with MASTER is down"), False, "is a replica without its master", "wait for the failover"),
    (("WRONGTYPE", "wrong kind of value"), False, "holds a key of ours with a value of another type",
     "find it among the warnings of `rmqcluster status` and delete it"),
)  # fmt: skip


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Raise every error of the client as ours."""
    try:
        yield
    except redis.RedisError as error:
        raise _translate(error, address) from None
    except UnicodeError:
        raise StoreUnavailable(f"Redis at {address} cannot be looked up: the host name is malformed") from None


def _translate(error: redis.RedisError, address: str) -> StoreUnavailable:
    place = f"Redis at {address}"
    if isinstance(error, PasswordUnreadable):
        return StoreRefused(f"{place} was not asked: {printable(str(error), REASON_LIMIT)}")
    if isinstance(error, redis.TimeoutError):
        return StoreUnavailable(f"{place} did not answer in time; check that it runs and is not overloaded")
    text = str(error)
    for signs, refused, what, mend in _REPLIES:
        if any(sign.lower() in text.lower() for sign in signs):
            kind = StoreRefused if refused else StoreUnavailable
            return kind(f"{place} {what}: {_reason(text)}; {mend}")
    if isinstance(error, redis.AuthenticationError | redis.exceptions.AuthorizationError):
        return StoreRefused(f"{place} refuses the login; {CREDENTIALS_MEND}")
    if isinstance(error, redis.ConnectionError):
        return StoreUnavailable(f"{place} is not reachable: {_reason(text)}; check that it runs, its name and port")
    return StoreUnavailable(f"{place} answered with an error: {_reason(text)}; see its log")


def _reason(text: str) -> str:
    """The server's words on one line, without the arguments that some of its errors repeat."""
    return printable(text.partition("with args")[0].strip().rstrip(".,"), REASON_LIMIT)

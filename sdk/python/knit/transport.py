"""One request over HTTP, with the trace context and the deadline of the one that is being served."""

import http.client
import time
from contextvars import ContextVar
from typing import Dict, NamedTuple, Optional
from urllib.parse import urlsplit

from . import context
from .status import StatusError

# The largest event or request that is sent, and the largest answer that is read;
# bytes. As much as a function takes unless it says otherwise.
MAX_BYTES = 10 << 20

STRUCTURED = "application/cloudevents+json"

_LONGEST = 3600.0  # seconds, for requests without a deadline


class Answer(NamedTuple):
    """A whole answer; header names in lower case."""

    status: int
    headers: Dict[str, str]
    body: bytes


class Clock:
    """Time, which a test replaces."""

    now = staticmethod(time.time)
    sleep = staticmethod(time.sleep)


# A test puts its own transport and clock here.
transport: ContextVar = ContextVar("knit_sdk_transport", default=None)
clock: ContextVar = ContextVar("knit_sdk_clock", default=Clock())


def time_left(most: float = _LONGEST) -> float:
    """Seconds until the deadline of the request, but no more than most."""
    end = context.deadline()
    return most if end is None else min(end - clock.get().now(), most)


def exchange(address: str, method: str = "POST", headers: Optional[Dict[str, str]] = None, body: bytes = b"", most: float = _LONGEST) -> Answer:
    """Sends a request and reads the whole answer; follows no redirect and uses no proxy.

    What it raises has a status: 504 after the deadline, else 502.
    """
    every = {name.lower(): value for name, value in (headers or {}).items()}
    for name in ("traceparent", "tracestate", "x-request-id"):
        value = context.header(name)
        if value:
            every.setdefault(name, value)
    left = time_left(most)
    if context.deadline() is not None:
        every["knit-timeout"] = "%dms" % max(1, round(left * 1000))
    host = urlsplit(address).hostname
    if left <= 0:
        raise StatusError(504, "no time is left to ask %s" % host)
    try:
        return (transport.get() or _over_the_network)(address, method, every, body, left)
    except TimeoutError as problem:
        raise StatusError(504, "%s did not answer in time" % host) from problem
    except (OSError, http.client.HTTPException) as problem:
        raise StatusError(502, "no answer from %s: %s" % (host, problem or type(problem).__name__)) from problem


def _over_the_network(address, method, headers, body, left):
    parts = urlsplit(address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    end = time.monotonic() + left
    connection = kind(parts.netloc, timeout=left)
    try:
        path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        connection.request(method, path, body=body, headers={"connection": "close", **headers})
        response = connection.getresponse()
        content = b""
        while True:
            # The socket's own time limit is for each read; this one is for all.
            if time.monotonic() > end:
                raise TimeoutError("the answer was not whole in time")
            part = response.read1(1 << 16)
            if not part:
                break
            content += part
            if len(content) > MAX_BYTES:
                raise StatusError(500, "the answer has more than %d bytes" % MAX_BYTES)
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
    finally:
        connection.close()


def failure(answer: Answer, what: str) -> StatusError:
    """The error that an answer stands for, with the beginning of its text."""
    status = 502 if answer.status < 400 else answer.status  # a redirect or the like
    said = answer.body[:512].decode("utf-8", "replace").strip()
    return StatusError(status, "%s: answered %d%s" % (what, answer.status, ": " + said if said else ""))

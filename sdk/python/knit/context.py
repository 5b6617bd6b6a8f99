"""What a function knows of itself and of the request that is being served."""

import os
import sys
from contextvars import ContextVar
from typing import NamedTuple, Optional

# A test puts a request here: headers by lower-case name, and a deadline.
served: ContextVar = ContextVar("knit_sdk_served", default=None)


class Self(NamedTuple):
    """A function's identity; empty where nobody said so, as in a test."""

    function: str
    namespace: str
    revision: str


def myself() -> Self:
    """Reads the environment that Knative and Knit give to a function."""
    env = os.environ
    return Self(env.get("K_SERVICE", ""), env.get("KNIT_NAMESPACE", ""), env.get("K_REVISION", ""))


def own_source() -> str:
    """The default of an event's attribute source."""
    self = myself()
    return "/functions/%s/%s" % (self.namespace, self.function) if self.function else "/functions"


def _scope():
    """The ASGI scope of the request, when Knit's runtime is around the function."""
    log = sys.modules.get("knit_runtime.log")
    scope = getattr(log, "scope", None)
    return scope.get() if scope is not None else None


def header(name: str) -> str:
    """A header of the request; empty without one."""
    request = served.get()
    if request is not None:
        return request.headers.get(name, "")
    scope = _scope()
    for key, value in (scope or {}).get("headers", ()):
        if key == name.encode("ascii"):
            return value.decode("latin-1")
    return ""


def deadline() -> Optional[float]:
    """The end of the request, in seconds since 1970; None without one."""
    request = served.get()
    if request is not None:
        return request.deadline
    scope = _scope()
    return (scope or {}).get("extensions", {}).get("knit", {}).get("deadline")


def trace_parent() -> str:
    """The W3C trace context of the request, empty without one."""
    return header("traceparent")


def request_id() -> str:
    """Names the request in logs: its header X-Request-Id, else its trace id; may be empty."""
    found = header("x-request-id")
    if found:
        return found
    parts = trace_parent().split("-")
    return parts[1] if len(parts) >= 4 else ""

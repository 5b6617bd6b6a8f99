"""The trace of the request under way, for code that does not get the request.

A function that takes an event hands its trace on with it:

    from knit_runtime.context import traceparent, tracestate
"""

import contextvars

headers = contextvars.ContextVar("knit_headers", default=())  # pairs of bytes
observed = contextvars.ContextVar("knit_observed", default=None)  # by telemetry, if there is any


def traceparent():
    """The header traceparent of W3C Trace Context, or an empty string."""
    return _header(b"traceparent")


def tracestate():
    """The header tracestate of W3C Trace Context, or an empty string."""
    return _header(b"tracestate")


def _header(wanted):
    return ",".join(value.decode("latin-1") for name, value in headers.get() if name == wanted)

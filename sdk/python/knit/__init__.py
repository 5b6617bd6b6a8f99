"""What the author of a Python function imports.

Handlers with typed data, events sent to a sink or a broker, calls of other
functions, errors with a status, and what a function may know of itself and of
the request. It needs nothing but Python's own library.
"""

from .calls import call, call_async, function_url, request, send, send_async
from .context import Self, deadline, myself, request_id, trace_parent
from .emitting import SINK, broker, emit, emit_async, url
from .events import Event
from .status import Reject, Retry, StatusError, retriable, status_of
from .transport import MAX_BYTES
from .typing import typed

__all__ = [
    "MAX_BYTES", "SINK", "Event", "Reject", "Retry", "Self", "StatusError",
    "broker", "call", "call_async", "deadline", "emit", "emit_async", "function_url", "myself",
    "request", "request_id", "retriable", "send", "send_async", "status_of", "trace_parent", "typed", "url",
]

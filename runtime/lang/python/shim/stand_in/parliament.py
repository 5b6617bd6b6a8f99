"""A stand-in for the module that older Knative functions import Context and event from."""

from functools import wraps

from knit_runtime.cloudevent import CloudEvent
from knit_runtime.request import Context

__all__ = ["Context", "event"]


def event(func=None, *, event_source="/parliament/function", event_type="parliament.response"):
    """Makes what the function returns the data of an event that is sent as the answer."""
    if func is None:
        return lambda inner: event(inner, event_source=event_source, event_type=event_type)

    @wraps(func)
    def answer(context):
        data = func(context)
        return None if data is None else CloudEvent({"source": event_source, "type": event_type}, data)

    return answer

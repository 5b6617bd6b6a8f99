"""Events to and from HTTP messages."""

from collections import namedtuple

from cloudevents import conversion as _conversion
from knit_runtime.cloudevent import CloudEvent

HTTPMessage = namedtuple("HTTPMessage", ("headers", "body"))


def to_binary_event(event, event_format=None):
    return HTTPMessage(*_conversion.to_binary(event))


def to_structured_event(event, event_format=None):
    return HTTPMessage(*_conversion.to_structured(event))


def from_http_event(message, event_format=None):
    return _conversion.from_http(CloudEvent, message.headers, message.body)


from_binary_event = from_structured_event = from_http_event

"""Events to and from HTTP, JSON and dicts, as the SDK's first generation has it."""

import json

from knit_runtime import events
from knit_runtime.cloudevent import CloudEvent, InvalidEvent


def to_binary(event, data_marshaller=None):
    """Headers (a dict of str) and body (bytes) in binary mode."""
    return _strings(*events.encode_binary(_marshalled(event, data_marshaller)))


def to_structured(event, data_marshaller=None):
    """Headers (a dict of str) and body (bytes) in structured mode."""
    return _strings(*events.encode_structured(_marshalled(event, data_marshaller)))


def to_json(event, data_marshaller=None):
    """The event in the JSON format, as bytes."""
    return to_structured(event, data_marshaller)[1]


def to_dict(event):
    """Attributes and "data" in one dict."""
    return {**event.get_attributes(), "data": event.get_data()}


def from_http(event_type, headers, data, data_unmarshaller=None):
    """The event of a request, in either mode."""
    pairs = [(str(name).lower().encode("latin-1"), str(value).encode("utf-8")) for name, value in dict(headers).items()]
    body = data.encode("utf-8") if isinstance(data, str) else bytes(data or b"")
    if not any(name == b"ce-specversion" for name, _ in pairs):
        pairs = [(b"content-type", events.STRUCTURED.encode("ascii"))]
    try:
        attributes, parsed = events.decode(pairs, body)
    except events.Refusal as problem:
        raise InvalidEvent(str(problem)) from None
    return event_type(attributes, parsed if data_unmarshaller is None else data_unmarshaller(body))


def from_json(event_type, data, data_unmarshaller=None):
    """The event of a text in the JSON format."""
    event = from_http(event_type, {}, data)
    if data_unmarshaller is not None and event.data is not None:
        event.data = data_unmarshaller(event.data if isinstance(event.data, (str, bytes)) else json.dumps(event.data))
    return event


def from_dict(event_type, event):
    """The event of a dict as to_dict makes it."""
    return event_type({name: value for name, value in event.items() if name != "data"}, event.get("data"))


def _marshalled(event, data_marshaller):
    return event if data_marshaller is None else CloudEvent(event.get_attributes(), data_marshaller(event.get_data()))


def _strings(headers, body):
    return {name.decode("ascii"): value.decode("ascii") for name, value in headers}, body

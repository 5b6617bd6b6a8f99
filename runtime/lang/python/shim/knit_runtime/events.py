"""The HTTP binding of CloudEvents 1.0: requests to events, events to answers.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

import json
import sys
from binascii import unhexlify

from .cloudevent import STRUCTURED, CloudEvent, InvalidEvent, check, data_bytes, is_json, parse_data, to_datetime, to_text


class Refusal(Exception):
    """A request that is not given to the function, with the status to answer."""

    def __init__(self, status, text, headers=()):
        super().__init__(text)
        self.status_code = status
        self.headers = headers


def decode(headers, body):
    """Attributes and data of the one event of a request; raises Refusal.

    headers is a list of pairs of bytes, names in lower case.
    """
    media_type = _header(headers, b"content-type")
    plain = media_type.split(";", 1)[0].strip().lower()
    if plain == STRUCTURED:
        return _decode(decode_structured, body)
    if plain.startswith("application/cloudevents"):
        raise Refusal(415, "content type %s is not taken: send one event in binary mode or as %s" % (plain, STRUCTURED))
    if _header(headers, b"ce-specversion"):
        return _decode(decode_binary, headers, body, media_type)
    raise Refusal(400, "the request is no CloudEvent: it has neither a ce-specversion header nor the content type " + STRUCTURED)


def _decode(how, *arguments):
    try:
        return how(*arguments)
    except InvalidEvent as problem:
        raise Refusal(400, "invalid event: %s" % problem) from None


def decode_binary(headers, body, media_type):
    attributes = {}
    for name, value in headers:
        if name.startswith(b"ce-"):
            key = name[3:].decode("latin-1")
            if key not in ("datacontenttype", "data"):
                attributes.setdefault(key, unescape(key, value))
    if media_type:
        attributes["datacontenttype"] = media_type
    check(attributes)
    return attributes, parse_data(body, media_type)


def decode_structured(body):
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise InvalidEvent("structured event: %s" % problem) from None
    if not isinstance(event, dict):
        raise InvalidEvent("structured event: want a JSON object, not %s" % type(event).__name__)
    data, encoded = event.pop("data", None), event.pop("data_base64", None)
    attributes = {name: value for name, value in event.items() if value is not None}
    for name, value in attributes.items():
        if not isinstance(value, (str, bool, int)):
            raise InvalidEvent("attribute %s must be a string, a number or a boolean" % name)
    check(attributes)
    if encoded is None:
        return attributes, data
    if data is not None:
        raise InvalidEvent("structured event: data and data_base64 exclude each other")
    return attributes, parse_data(_base64(encoded), attributes.get("datacontenttype", ""))


def _base64(text):
    import base64

    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as problem:
        raise InvalidEvent("data_base64: %s" % problem) from None


def make(attributes, data):
    """An event of the class that the function's own code knows.

    That is the SDK's when the function imported one, in whichever generation;
    else the runtime's, which answers to the names of both.
    """
    for module, timed in (("cloudevents.core.v1.event", True), ("cloudevents.http", False), ("cloudevents.v1.http", False)):
        kind = getattr(sys.modules.get(module), "CloudEvent", None)
        if kind is None or kind is CloudEvent:
            continue
        given = dict(attributes)
        if timed and "time" in given:
            given["time"] = to_datetime(given["time"])
        try:
            return kind(given, data)
        except Exception as problem:
            # The SDK may be stricter than the specification, about extensions for one.
            raise Refusal(400, "the function's cloudevents package refuses the event: %s" % problem) from None
    return CloudEvent(attributes, data)


def parts(event):
    """Attributes and data of anything that looks like an event; InvalidEvent otherwise."""
    if not hasattr(event, "get_attributes") or not hasattr(event, "get_data"):
        raise InvalidEvent("the function answered with %s, want a CloudEvent or nothing" % type(event).__name__)
    attributes = {name: value for name, value in event.get_attributes().items() if value is not None}
    check(attributes)
    return attributes, event.get_data()


def encode_binary(event):
    """Headers and body of an event in binary mode."""
    attributes, data = parts(event)
    media_type = attributes.pop("datacontenttype", None)
    if media_type is None and data is not None and not isinstance(data, (bytes, bytearray)):
        media_type = "application/json"
    headers = [(b"ce-" + name.encode("ascii"), escape(to_text(value))) for name, value in attributes.items()]
    if media_type:
        headers.append((b"content-type", _one_line(media_type)))
    return headers, data_bytes(data, media_type)


def encode_structured(event):
    """Headers and body of an event in structured mode."""
    attributes, data = parts(event)
    body = {name: value if isinstance(value, (bool, int)) else to_text(value) for name, value in attributes.items()}
    media_type = attributes.get("datacontenttype")
    if isinstance(data, (bytes, bytearray, memoryview)):
        import base64

        body["data_base64"] = base64.b64encode(data).decode("ascii")
    elif data is not None:
        body["data"] = data if is_json(media_type) else data if isinstance(data, str) else str(data)
    return [(b"content-type", STRUCTURED.encode("ascii"))], data_bytes(body, None)


def escape(text):
    """Percent-encodes what may not stand in a header value (section 3.1.3.2)."""
    if text.isascii() and text.isprintable() and not set(text) & {" ", '"', "%"}:
        return text.encode("ascii")
    out = bytearray()
    for byte in text.encode("utf-8", "replace"):
        if byte <= 0x20 or byte > 0x7E or byte in b'"%':
            out += b"%%%02X" % byte
        else:
            out.append(byte)
    return bytes(out)


def unescape(name, value):
    """Undoes escape."""
    out = bytearray()
    first, *rest = value.split(b"%")
    out += first
    for part in rest:
        try:
            if len(part) < 2:
                raise ValueError("cut short")
            out += unhexlify(part[:2])
        except ValueError:
            raise InvalidEvent("header ce-%s: %%%s is no percent-encoding" % (name, part[:2].decode("latin-1"))) from None
        out += part[2:]
    try:
        return out.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidEvent("header ce-%s is not UTF-8" % name) from None


def _header(headers, wanted):
    for name, value in headers:
        if name == wanted:
            return value.decode("latin-1")
    return ""


def _one_line(text):
    if not text.isascii() or not text.isprintable():
        raise InvalidEvent("datacontenttype %r is no media type" % text)
    return text.encode("ascii")

"""CloudEvents 1.0 without a package of the user's.

CloudEvent answers to the names of both generations of the CloudEvents SDK:
item access and .data (cloudevents.http) as well as the get_ methods
(cloudevents.core.v1). The packages in stand_in offer it under the SDK's module
names to functions that do not bring the SDK; the SDK wins where it is there.
"""

import json

_CORE = ("id", "source", "type", "specversion", "datacontenttype", "dataschema", "subject", "time")
STRUCTURED = "application/cloudevents+json"


class InvalidEvent(ValueError):
    """The event, or the request that should hold one, breaks the specification."""


class CloudEvent:
    """One event: attributes by lower-case name, and data of any kind.

    specversion, id and time get a value when they are missing; type and source
    must be given.
    """

    def __init__(self, attributes, data=None):
        self._attributes = {str(name).lower(): value for name, value in dict(attributes).items()}
        self.data = data
        self._attributes.setdefault("specversion", "1.0")
        if self._attributes.get("id") is None:
            import uuid

            self._attributes["id"] = str(uuid.uuid4())
        if self._attributes.get("time") is None:
            self._attributes["time"] = _now()
        check(self._attributes)

    @classmethod
    def create(cls, attributes, data=None):
        return cls(attributes, data)

    def get_attributes(self):
        return dict(self._attributes)

    def _get_attributes(self):
        return self._attributes

    def get_data(self):
        return self.data

    def get(self, name, default=None):
        return self._attributes.get(name, default)

    def get_extension(self, name):
        return None if name in _CORE else self._attributes.get(name)

    def get_id(self):
        return self._attributes["id"]

    def get_source(self):
        return self._attributes["source"]

    def get_type(self):
        return self._attributes["type"]

    def get_specversion(self):
        return self._attributes["specversion"]

    def get_subject(self):
        return self._attributes.get("subject")

    def get_dataschema(self):
        return self._attributes.get("dataschema")

    def get_datacontenttype(self):
        return self._attributes.get("datacontenttype")

    def get_time(self):
        return to_datetime(self._attributes.get("time"))

    def __getitem__(self, name):
        return self._attributes[name]

    def __setitem__(self, name, value):
        self._attributes[name] = value

    def __delitem__(self, name):
        del self._attributes[name]

    def __iter__(self):
        return iter(self._attributes)

    def __len__(self):
        return len(self._attributes)

    def __contains__(self, name):
        return name in self._attributes

    def __eq__(self, other):
        if not isinstance(other, CloudEvent):
            return NotImplemented
        return self._attributes == other._attributes and self.data == other.data

    __hash__ = None

    def __repr__(self):
        return repr({"attributes": self._attributes, "data": self.data})


def check(attributes):
    """Raises InvalidEvent unless the attributes make a valid event of version 1.0."""
    if attributes.get("specversion") != "1.0":
        raise InvalidEvent("specversion %r is not taken: want 1.0" % (attributes.get("specversion"),))
    for name in ("id", "source", "type"):
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise InvalidEvent("attribute %s must be a string that is not empty" % name)
    for name, value in attributes.items():
        if value is None:
            continue
        if not name.isascii() or not name.isalnum() or name != name.lower():
            raise InvalidEvent("attribute name %r: want lower-case letters and digits" % name)
        if name == "data":
            raise InvalidEvent("data is no attribute")
        if name == "time":
            to_datetime(value)
        elif name in _CORE and not isinstance(value, str):
            raise InvalidEvent("attribute %s must be a string" % name)


def to_datetime(value):
    """A time attribute (RFC 3339 text or a datetime) as a datetime with its zone."""
    if value is None:
        return None
    from datetime import datetime

    if isinstance(value, datetime):
        return value
    text = str(value)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or len(text) < 20:
        raise InvalidEvent("time %r is no timestamp of RFC 3339, such as 2026-01-02T03:04:05Z" % text)
    return found


def to_text(value):
    """The canonical string of an attribute, as CloudEvents' type system has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if hasattr(value, "isoformat"):
        text = value.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text
    if isinstance(value, (bytes, bytearray)):
        import base64

        return base64.b64encode(value).decode("ascii")
    return str(value)


def is_json(media_type):
    """Whether data of this content type is JSON; without any it is, says the JSON format."""
    if not media_type:
        return True
    plain = media_type.split(";", 1)[0].strip().lower()
    return plain.endswith("/json") or plain.endswith("+json")


def _is_text(media_type):
    plain = media_type.split(";", 1)[0].strip().lower()
    return plain.startswith("text/") or plain.endswith(("/xml", "+xml", "/yaml", "+yaml", "/x-www-form-urlencoded", "/javascript"))


def data_bytes(data, media_type):
    """Data as the bytes of a body."""
    if data is None:
        return b""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if isinstance(data, str) and not is_json(media_type):
        return data.encode("utf-8")
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as problem:
        raise InvalidEvent("data of type %s is no JSON: %s" % (type(data).__name__, problem)) from None


def parse_data(body, media_type):
    """The bytes of a body as data: JSON parsed, text as str, the rest as bytes."""
    if not body:
        return None
    if is_json(media_type):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            pass
    elif not _is_text(media_type):
        return body
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body


def _now():
    from datetime import datetime, timezone

    return datetime.now(timezone.utc).isoformat()

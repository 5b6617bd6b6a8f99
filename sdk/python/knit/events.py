"""Events: one class, whose instances Knit's runtime takes as a reply."""

import base64
import dataclasses
import json
import uuid
from datetime import datetime, timezone
from typing import Any, Dict, Generic, Optional, TypeVar

from .context import own_source
from .status import StatusError

T = TypeVar("T")

_CORE = ("specversion", "id", "type", "source", "subject", "time", "datacontenttype", "dataschema")


@dataclasses.dataclass
class Event(Generic[T]):
    """A CloudEvent. What is missing of id, source and time is filled in when it is sent.

    data may be a dataclass, anything that is JSON, or bytes.
    """

    type: str
    data: Optional[T] = None
    id: str = ""
    source: str = ""
    subject: Optional[str] = None
    time: Optional[str] = None
    datacontenttype: Optional[str] = None
    dataschema: Optional[str] = None
    extensions: Dict[str, Any] = dataclasses.field(default_factory=dict)

    def completed(self) -> "Event[T]":
        """A copy with nothing missing; raises StatusError unless it is a valid event."""
        kind = self.datacontenttype or (None if self.data is None else "application/json")
        whole = dataclasses.replace(
            self, id=self.id or str(uuid.uuid4()), source=self.source or own_source(),
            time=self.time or datetime.now(timezone.utc).isoformat(), datacontenttype=kind)
        _check(whole)
        return whole

    def get_attributes(self) -> Dict[str, Any]:
        """The attributes by name, as the CloudEvents SDK has it."""
        whole = self.completed()
        found = {"specversion": "1.0", **{name: getattr(whole, name) for name in _CORE[1:]}, **whole.extensions}
        return {name: value for name, value in found.items() if value is not None}

    def get_data(self) -> Any:
        """The data as what JSON is made of, or bytes."""
        return plain(self.data)

    def __getitem__(self, name: str) -> Any:
        return self.get_attributes()[name]

    def to_json(self) -> bytes:
        """Structured mode."""
        content, data = self.get_attributes(), self.get_data()
        if isinstance(data, (bytes, bytearray)):
            content["data_base64"] = base64.b64encode(data).decode("ascii")
        elif data is not None:
            content["data"] = data
        try:
            return json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8")
        except (TypeError, ValueError, RecursionError) as problem:
            raise StatusError(500, "event of type %r: data of type %s is no JSON: %s" % (self.type, type(self.data).__name__, problem)) from None


def _check(event):
    def wrong(what):
        return StatusError(500, "event of type %r is not valid: %s" % (event.type, what))

    for name in ("id", "type", "source", "time"):
        if not isinstance(getattr(event, name), str) or not getattr(event, name):
            raise wrong("%s must be a string with content" % name)
    for name, value in event.extensions.items():
        if name in _CORE or name in ("data", "data_base64") or not (name.isascii() and name.isalnum() and name == name.lower()):
            raise wrong("extension %r: names have lower-case letters and digits only, and are not those of attributes" % name)
        if not isinstance(value, (str, bool, int)):
            raise wrong("extension %s is neither a string, a bool nor an int" % name)


def plain(data: Any) -> Any:
    """Data as what JSON is made of: dataclasses become dicts, models of pydantic as well."""
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return dataclasses.asdict(data)
    if hasattr(data, "model_dump"):
        return data.model_dump(mode="json")
    return data


def from_attributes(attributes: Dict[str, Any], data: Any) -> Event:
    """An event that came over the wire; nothing is filled in."""
    known = {name: attributes[name] for name in _CORE[1:] if attributes.get(name) is not None}
    for name in ("id", "type", "source"):
        if not isinstance(known.get(name), str) or not known[name]:
            raise ValueError("%s is missing" % name)
    if "time" in known:
        # The CloudEvents SDK has a datetime.
        known["time"] = known["time"].isoformat() if isinstance(known["time"], datetime) else str(known["time"])
    others = {name: value for name, value in attributes.items() if name not in _CORE and value is not None}
    return Event(data=data, extensions=others, **known)


def from_any(event: Any) -> Event:
    """An event of whatever class: this one, that of Knit's runtime or of the CloudEvents SDK."""
    if isinstance(event, Event):
        return event
    if hasattr(event, "get_attributes"):
        return from_attributes(dict(event.get_attributes()), event.get_data())
    return from_attributes({name: event[name] for name in event}, event.data)

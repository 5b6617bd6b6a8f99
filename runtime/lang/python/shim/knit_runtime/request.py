"""Requests and answers of plain functions.

Request has the names of Flask's that functions use most. What a function
returns may have Flask's forms too: a body, (body, status), (body, headers) or
(body, status, headers); a body is text, bytes, or a dict or list that becomes
JSON; None is 204.
"""

import json

from . import events
from .cloudevent import CloudEvent, is_json


class Headers(dict):
    """Header values by name in any case; several of one name are joined by commas."""

    def __init__(self, pairs):
        super().__init__()
        for name, value in pairs:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            super().__setitem__(key, super().__getitem__(key) + ", " + text if key in self else text)

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def __contains__(self, name):
        return super().__contains__(str(name).lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)


class Request:
    """One HTTP request, its body read."""

    def __init__(self, scope, body):
        self.scope = scope
        self.method = scope["method"]
        self.path = scope["path"]
        self.headers = Headers(scope["headers"])
        self.body = self.data = body

    @property
    def query(self):
        """The query as a dict; the last of several values of a name counts."""
        from urllib.parse import parse_qsl

        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))

    args = query

    @property
    def form(self):
        from urllib.parse import parse_qsl

        return dict(parse_qsl(self.text, keep_blank_values=True))

    @property
    def host(self):
        return self.headers.get("host", "")

    @property
    def url(self):
        query = self.scope["query_string"].decode("latin-1")
        return "http://" + self.host + self.scope["raw_path"].decode("latin-1") + ("?" + query if query else "")

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def is_json(self):
        return "content-type" in self.headers and is_json(self.headers["content-type"])

    @property
    def json(self):
        """The body as JSON; ValueError when it is none."""
        return json.loads(self.body)

    def get_json(self, force=False, silent=False):
        if not force and not self.is_json:
            return None
        try:
            return self.json
        except ValueError:
            if silent:
                return None
            raise

    def get_data(self, as_text=False):
        return self.text if as_text else self.body


class Context(dict):
    """What the older main(context) takes: the request, and its event if it is one."""

    def __init__(self, scope, body):
        super().__init__(request=Request(scope, body))
        try:
            self["cloud_event"] = events.make(*events.decode(scope["headers"], body))
        except events.Refusal:
            pass

    @property
    def request(self):
        return self["request"]

    @property
    def cloud_event(self):
        return self.get("cloud_event")


async def respond(result, send):
    """Sends what a plain function returned."""
    status, headers = None, []
    if isinstance(result, tuple):
        result, status, headers = _parts(result)
    if hasattr(result, "get_attributes") and hasattr(result, "get_data"):
        encoded, body = events.encode_binary(result)
        headers = encoded + headers
    else:
        kind, body = _body(result)
        if kind and not any(name == b"content-type" for name, _ in headers):
            headers.append((b"content-type", kind))
    if status is None:
        status = 204 if result is None else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _parts(result):
    body, status, headers = result[0] if result else None, None, {}
    for part in result[1:]:
        if isinstance(part, int) and not isinstance(part, bool):
            status = part
        elif hasattr(part, "items") or isinstance(part, list):
            headers = part
        else:
            raise TypeError("the function returned %s where a status or headers belong" % type(part).__name__)
    pairs = headers.items() if hasattr(headers, "items") else headers
    return body, status, [(str(name).lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in pairs]


def _body(result):
    if result is None:
        return b"", b""
    if isinstance(result, (bytes, bytearray)):
        return b"application/octet-stream", bytes(result)
    if isinstance(result, str):
        return b"text/html; charset=utf-8" if result.lstrip()[:1] == "<" else b"text/plain; charset=utf-8", result.encode("utf-8")
    if isinstance(result, (dict, list, int, float, bool)) and not isinstance(result, CloudEvent):
        return b"application/json", json.dumps(result, ensure_ascii=False).encode("utf-8")
    raise TypeError("the function returned %s, want text, bytes, a dict, a list, an event or None" % type(result).__name__)

"""Calls of other functions of the namespace."""

import asyncio
import json
from typing import Any, Dict, Optional
from urllib.parse import unquote

from .context import myself
from .emitting import DNS_NAME
from .events import Event, from_any, from_attributes, plain
from .status import StatusError
from .transport import MAX_BYTES, STRUCTURED, Answer, exchange, failure


def function_url(name: str) -> str:
    """The in-cluster address of another function: visible or not from outside, scaled to zero or not."""
    namespace = myself().namespace
    if not DNS_NAME.fullmatch(name) or "." in name:
        raise StatusError(500, "%r is no name of a function" % name)
    if not namespace:
        raise StatusError(500, "the function's namespace is not known: KNIT_NAMESPACE is not set")
    return "http://%s.%s.svc.cluster.local" % (name, namespace)


def request(name: str, method: str = "GET", path: str = "/", headers: Optional[Dict[str, str]] = None, body: bytes = b"") -> Answer:
    """Sends a request to another function, once, with the trace context and the deadline of this one.

    It returns every answer: status, headers and body.
    """
    if len(body) > MAX_BYTES:
        raise StatusError(413, "call function %s: the request has %d bytes, more than %d" % (name, len(body), MAX_BYTES))
    address = function_url(name) + (path if path.startswith("/") else "/" + path)
    try:
        return exchange(address, method, headers, body)
    except StatusError as problem:
        raise StatusError(problem.status_code, "call function %s: %s" % (name, problem)) from problem


def call(name: str, value: Any = None) -> Any:
    """Posts a value as JSON to another function and returns its answer, read as JSON; None without a body.

    An answer of 300 and above is a StatusError. It blocks: an async function
    awaits call_async.
    """
    answer = _whole(name, "application/json", json.dumps(plain(value), ensure_ascii=False).encode("utf-8"))
    if not answer.body:
        return None
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as problem:
        raise StatusError(502, "call function %s: its answer is no JSON: %s" % (name, problem)) from problem


async def call_async(name: str, value: Any = None) -> Any:
    """call, in a thread."""
    return await asyncio.to_thread(call, name, value)


def send(name: str, event: Event) -> Optional[Event]:
    """Posts an event to another function and returns the event that it answers with, if it does."""
    answer = _whole(name, STRUCTURED, from_any(event).to_json())
    try:
        return _event_of(answer)
    except (ValueError, RecursionError) as problem:
        raise StatusError(502, "call function %s: its answer is no valid event: %s" % (name, problem)) from problem


async def send_async(name: str, event: Event) -> Optional[Event]:
    """send, in a thread."""
    return await asyncio.to_thread(send, name, event)


def _whole(name, media_type, body):
    answer = request(name, "POST", headers={"content-type": media_type}, body=body)
    if answer.status >= 300:
        raise failure(answer, "call function %s" % name)
    return answer


def _event_of(answer):
    """Decodes binary and structured mode."""
    media_type = answer.headers.get("content-type", "")
    if media_type.startswith(STRUCTURED):
        return from_structured(answer.body)
    if "ce-specversion" not in answer.headers:
        return None
    attributes = {name[3:]: unquote(value) for name, value in answer.headers.items() if name.startswith("ce-")}
    if media_type:
        attributes["datacontenttype"] = media_type
    return from_attributes(attributes, _data(answer.body, media_type))


def from_structured(body: bytes) -> Event:
    """Reads an event in JSON."""
    import base64

    content = json.loads(body)
    if not isinstance(content, dict):
        raise ValueError("want a JSON object")
    data, encoded = content.pop("data", None), content.pop("data_base64", None)
    return from_attributes(content, data if encoded is None else base64.b64decode(encoded))


def _data(body, media_type):
    plain_type = media_type.split(";", 1)[0].strip().lower()
    if not body:
        return None
    if plain_type.endswith(("/json", "+json")):
        return json.loads(body)
    return body.decode("utf-8", "replace") if plain_type.startswith("text/") else body

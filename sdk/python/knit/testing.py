"""Calls the handlers of a function with events and keeps what they send.

It needs no server and no cluster. Tests import it; a function itself never does.
"""

import asyncio
import contextlib
import inspect
import json
import os
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional
from urllib.parse import urlsplit

from . import context, transport
from .calls import from_structured
from .events import Event, from_any
from .status import retriable, status_of

_IDENTITY = {
    "K_SERVICE": "function", "K_CONFIGURATION": "function", "K_REVISION": "function-00001", "KNIT_NAMESPACE": "test",
    "K_SINK": "http://sink.test", "K_CE_OVERRIDES": "", "KNIT_BROKER_INGRESS": "http://broker.test",
}


class Sent(NamedTuple):
    """A request that the function made; to is "sink", "broker/<name>", "function/<name>" or the address."""

    to: str
    method: str
    headers: Dict[str, str]
    body: bytes
    event: Optional[Event]


class Result(NamedTuple):
    """What became of an event."""

    reply: Optional[Event]  # what the sender gets back
    error: Optional[BaseException]
    status: int  # that Knit's runtime answers with
    retried: bool  # whether Knative would deliver the event again


class Kit:
    """The surroundings of a function in a test: with Kit() as kit: …"""

    def __init__(self, headers: Optional[Dict[str, str]] = None, timeout: Optional[float] = None):
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}
        self.deadline = None if timeout is None else time.time() + timeout
        self.sent: List[Sent] = []
        self.slept = 0.0  # seconds that the function would have waited
        self._answers: Dict[str, Callable] = {}
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> "Kit":
        before = {name: os.environ.get(name) for name in _IDENTITY}
        os.environ.update(_IDENTITY)
        self._exit.callback(_restore, before)
        for variable, value in ((context.served, self), (transport.transport, self._take), (transport.clock, self)):
            token = variable.set(value)
            self._exit.callback(variable.reset, token)
        return self

    def __exit__(self, *_: Any) -> None:
        self._exit.close()

    def now(self) -> float:
        return time.time() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds

    def answer(self, to: str, respond: Callable[[Sent], Any]) -> None:
        """Says what a receiver answers, by its name in sent: (status, headers, body).

        The others take everything with 202.
        """
        self._answers[to] = respond

    def deliver(self, handle: Callable, event: Event) -> Result:
        """Calls a handler, async or not, with an event, as Knit's runtime would."""
        try:
            reply = handle(from_structured(from_any(event).to_json()))
            if inspect.isawaitable(reply):
                reply = asyncio.run(_wait(reply))
            if reply is None:
                return Result(None, None, 204, False)
            return Result(from_structured(from_any(reply).to_json()), None, 200, False)
        except Exception as problem:
            status = status_of(problem)
            return Result(None, problem, status, retriable(status))

    def _take(self, address, method, headers, body, _left):
        event = from_structured(body) if headers.get("content-type", "").startswith(transport.STRUCTURED) else None
        sent = Sent(_receiver(address), method, headers, body, event)
        self.sent.append(sent)
        respond = self._answers.get(sent.to)
        if respond is None:
            return transport.Answer(202, {}, b"")
        status, answered, content = respond(sent)
        content = content if isinstance(content, bytes) else content.encode("utf-8") if isinstance(content, str) else json.dumps(content).encode("utf-8")
        return transport.Answer(status, {name.lower(): value for name, value in answered.items()}, content)


async def _wait(reply):
    return await reply


def _restore(before):
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _receiver(address):
    parts = urlsplit(address)
    origin = "%s://%s" % (parts.scheme, parts.netloc)
    if origin == _IDENTITY["K_SINK"]:
        return "sink"
    prefix = "/%s/" % _IDENTITY["KNIT_NAMESPACE"]
    if origin == _IDENTITY["KNIT_BROKER_INGRESS"] and parts.path.startswith(prefix):
        return "broker/" + parts.path[len(prefix):]
    inside = ".%s.svc.cluster.local" % _IDENTITY["KNIT_NAMESPACE"]
    return "function/" + parts.hostname[: -len(inside)] if (parts.hostname or "").endswith(inside) else address

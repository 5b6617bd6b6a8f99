"""The user's function in whichever form it has, behind one interface.

    instance   new() returns an object with handle and, if it likes, start,
               stop, alive and ready
    ASGI       async def handle(scope, receive, send)
    event      [async] def handle(event): a CloudEvent in, one or None out
    request    [async] def handle(request): an answer in Flask's forms out
    context    def main(context): as request, the older form of Knative's func

With ASGI the function is one of HTTP or of CloudEvents; runtime/lang/python
finds out which. A plain def runs in a thread, so that it may block.
"""

import asyncio
import contextvars
import os

from . import events, log
from .events import Refusal

HTTP, CLOUDEVENT = "http", "cloudevent"

MOST_THREADS = 64  # calls of a plain function at once; further ones wait

EVENT_NAMES = ("event", "cloud_event", "cloudevent", "ce")
REQUEST_NAMES = ("request", "req")

ACCEPTED = """  async def handle(scope, receive, send)
  def handle(event)      or async, with a CloudEvent
  def handle(request)    or async
  def new()              returns an object with one of these handle methods"""


class Unfit(Exception):
    """The user's code has no function that can be served."""


class Function:
    """A loaded function."""

    def __init__(self, entry, target, kind):
        self._owner = None
        if not callable(target):
            raise Unfit("%s is no function but %s; write one of\n%s" % (entry, type(target).__name__, ACCEPTED))
        if entry == "new":
            self._owner = target()
            target = getattr(self._owner, "handle", None)
            if not callable(target):
                raise Unfit("new() returned %s without a method handle; write one of\n%s" % (type(self._owner).__name__, ACCEPTED))
        self._target = target
        self.takes_sockets = False  # WebSockets, as ASGI has them
        self._call, self.takes_events = self._form(entry, kind)

    def _form(self, entry, kind):
        names = parameters(self._target)
        if len(names) == 3:
            if not is_async(self._target):
                raise Unfit("%s(%s) must be async def" % (_name(self._target), ", ".join(names)))
            self.takes_sockets = kind != CLOUDEVENT
            return (self._asgi_event, True) if kind == CLOUDEVENT else (self._asgi, False)
        if entry == "main" and len(names) == 1:
            return self._context, False
        if len(names) == 1 and names[0] in EVENT_NAMES:
            return self._event, True
        if len(names) == 1 and names[0] in REQUEST_NAMES:
            return self._request, False
        if len(names) == 1:
            return (self._event, True) if kind == CLOUDEVENT else (self._request, False)
        raise Unfit("%s(%s) is not a function that Knit can serve; write one of\n%s" % (_name(self._target), ", ".join(names), ACCEPTED))

    async def start(self):
        await self._hook("start", os.environ.copy())

    async def stop(self):
        await self._hook("stop")

    async def _hook(self, name, *arguments):
        hook = getattr(self._owner, name, None)
        if callable(hook):
            result = hook(*arguments)
            if hasattr(result, "__await__"):
                await result

    def alive(self):
        return self._check("alive")

    def ready(self):
        return self._check("ready")

    def _check(self, name):
        check = getattr(self._owner, name, None)
        return check() if callable(check) else True

    async def call(self, scope, body, send):
        """Serves one request; what it raises becomes a status."""
        await self._call(scope, body, send)

    async def _asgi(self, scope, body, send):
        await self._target(scope, body, send)

    async def _asgi_event(self, scope, body, send):
        scope["event"], whole = await _take(scope, body)
        sender = EventSender(send)
        result = await self._target(scope, _Again(body, whole), sender)
        if sender.used:
            return
        await _reply(result, send)

    async def _event(self, scope, body, send):
        event, _ = await _take(scope, body)
        await _reply(await self._run(event), send)

    async def _request(self, scope, body, send):
        from .request import Request, respond

        await respond(await self._run(Request(scope, await body.all())), send)

    async def _context(self, scope, body, send):
        from .request import Context, respond

        await respond(await self._run(Context(scope, await body.all())), send)

    async def _run(self, argument):
        if is_async(self._target):
            return await self._target(argument)
        result = await in_thread(self._target, argument)
        return await result if hasattr(result, "__await__") else result


class EventSender:
    """The send of a CloudEvents function, as Knative's func has it."""

    def __init__(self, send):
        self._send = send
        self.used = False

    async def __call__(self, event, status=200):
        """Answers with an event in structured mode, or passes an ASGI message on."""
        if isinstance(event, dict) and str(event.get("type", "")).startswith("http."):
            await self.http(event)
            return
        await self.structured(event, status)

    async def structured(self, event, status=200):
        await self._answer(events.encode_structured(event), status)

    async def binary(self, event, status=200):
        await self._answer(events.encode_binary(event), status)

    async def http(self, message):
        self.used = True
        await self._send(message)

    async def _answer(self, encoded, status):
        headers, body = encoded
        await self.http({"type": "http.response.start", "status": status, "headers": headers})
        await self.http({"type": "http.response.body", "body": body})


class _Again:
    """Gives a body that was read for the event to the function once more."""

    def __init__(self, body, whole):
        self._body, self._whole = body, whole

    async def __call__(self):
        whole, self._whole = self._whole, None
        if whole is None:
            return await self._body()
        return {"type": "http.request", "body": whole, "more_body": False}


async def _take(scope, body):
    """The event of a request, and the body it came in."""
    if scope["method"] != "POST":
        raise Refusal(405, "this function takes CloudEvents: send one by POST", [(b"allow", b"POST")])
    whole = await body.all()
    attributes, data = events.decode(scope["headers"], whole)
    observed = log.observed.get()
    if observed is not None:
        observed.event(attributes)
    return events.make(attributes, data), whole


async def _reply(result, send):
    """Answers with the event that a function returned, in binary mode."""
    if result is None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    headers, body = events.encode_binary(result)
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_threads = None


async def in_thread(target, argument):
    """Calls a plain function in a thread, with the request's context."""
    global _threads
    if _threads is None:
        from concurrent.futures import ThreadPoolExecutor

        _threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="function")
    copied = contextvars.copy_context()

    def call():
        try:
            return target(argument)
        except StopIteration as problem:  # a future cannot hold it
            raise RuntimeError("the function raised StopIteration") from problem

    return await asyncio.get_running_loop().run_in_executor(_threads, copied.run, call)


def parameters(target):
    """The names of the positional parameters that a call must give."""
    import inspect

    try:
        found = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        raise Unfit("the parameters of %s cannot be read" % _name(target)) from None
    return [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]


def is_async(target):
    """Whether a call gives something to await; decorators and callable objects included."""
    import inspect

    while hasattr(target, "__wrapped__"):
        target = target.__wrapped__
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(getattr(target, "__call__", None))


def _name(target):
    return getattr(target, "__qualname__", type(target).__name__)


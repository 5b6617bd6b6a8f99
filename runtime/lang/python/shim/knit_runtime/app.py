"""What happens to one request: health checks, bounds, the function, its errors."""

import asyncio
import time

from . import log
from .cloudevent import InvalidEvent
from .events import Refusal
from .settings import parse_duration

LIVENESS = "/health/liveness"
READINESS = "/health/readiness"

_NAMED = ((b"ce-id", "eventID"), (b"ce-type", "eventType"), (b"ce-source", "eventSource"), (b"traceparent", "traceparent"))


class Application:
    """Gives requests to the function, each within its bounds."""

    def __init__(self, function, settings):
        self.function = function
        self.settings = settings
        self.server = None

    async def __call__(self, exchange):
        path = exchange.scope["path"]
        if path == LIVENESS:
            await self._health(exchange, self.function.alive, 503)
        elif path == READINESS:
            await self._readiness(exchange)
        else:
            await self._invoke(exchange)

    async def _readiness(self, exchange):
        if self.server is not None and self.server.draining:
            await answer(exchange, 503, "draining")
            return
        await self._health(exchange, self.function.ready, 503)

    async def _health(self, exchange, check, otherwise):
        """Answers by the function's own check, which says yes or no, and may say why."""
        try:
            result = check()
            if hasattr(result, "__await__"):
                result = await result
        except Exception as problem:
            log.failure("health check of the function failed", problem)
            result = False, "the health check of the function raised %s" % type(problem).__name__
        good, text = result if isinstance(result, tuple) and len(result) == 2 else (result, "")
        await answer(exchange, 200 if good else otherwise, str(text or ("OK" if good else "not OK")))

    async def _invoke(self, exchange):
        begun = time.monotonic()
        log.request.set(about(exchange.scope))
        timeout = _timeout_of(exchange.scope, self.settings.timeout)
        exchange.scope["extensions"]["knit"] = {"deadline": time.time() + timeout, "limit": self.settings.body_limit}
        log.scope.set(exchange.scope)
        # The function's own task is this one: at the deadline it is cancelled,
        # unless its answer has begun, which is never cut.
        task, late = asyncio.current_task(), []  # late: whether the body was, once the deadline has passed
        timer = asyncio.get_running_loop().call_later(timeout, _expire, task, exchange, late)
        try:
            await self._bounded(exchange, begun + timeout)
        except asyncio.CancelledError:
            if not late:
                raise
            task.uncancel()
            if late[0]:
                await self._failed(exchange, _too_slow())
                return
            log.error("request passed its deadline", timeout="%gs" % timeout)
            await self._fail(exchange, 504, "the function passed its deadline of %gs (KNIT_TIMEOUT)" % timeout)
        except (Exception, SystemExit) as problem:  # a sys.exit() of one request is not the end of all
            await self._failed(exchange, problem)
        finally:
            timer.cancel()
            if log.enabled(10):
                log.debug("request", status=exchange.status, duration="%.6fs" % (time.monotonic() - begun))

    async def _bounded(self, exchange, deadline):
        limit = self.settings.body_limit
        if limit:
            declared = _declared(exchange.scope["headers"])
            if declared > limit:
                raise Refusal(413, "request body of %d bytes is larger than the limit of %d; raise KNIT_MAX_BODY_BYTES" % (declared, limit))
        if exchange.scope["type"] == "websocket":
            await self.function.call(exchange.scope, exchange.receive, exchange.send)
            if exchange.status == 101:
                return
        else:
            await self.function.call(exchange.scope, Body(exchange, limit, deadline), exchange.send)
        if not exchange.answered and not exchange.gone:
            raise RuntimeError("the function returned without %s" % ("the end of its answer" if exchange.status else "an answer"))

    async def _failed(self, exchange, problem):
        """Answers for a function that raised, with the status that it asked for."""
        if isinstance(problem, Refusal):
            note = log.error if self.settings.mode == "job" else log.debug
            note("request refused", status=problem.status_code, error=str(problem))
            await self._fail(exchange, problem.status_code, str(problem), problem.headers)
            return
        status = 500 if isinstance(problem, InvalidEvent) else status_of(problem)
        if status is not None:
            prefix = "the function answered with an invalid event: " if isinstance(problem, InvalidEvent) else ""
            log.error("event not handled" if self.function.takes_events else "request not handled",
                      status=status, error=prefix + log.describe(problem))
            await self._fail(exchange, status, prefix + (str(problem) or type(problem).__name__))
            return
        log.failure("function panicked", problem)
        await self._fail(exchange, 500, "the function raised %s; its log has the stack" % type(problem).__name__)

    async def _fail(self, exchange, status, text, headers=()):
        """Answers with an error, or cuts an answer that has begun."""
        if exchange.begun():
            if exchange.status == 101:
                exchange.socket.close(1011)
            return  # the exchange cuts what is not whole
        exchange.restart()
        await answer(exchange, status, text, headers)


def _expire(task, exchange, late):
    if not exchange.begun():
        late.append(exchange.reading)
        task.cancel()


def _too_slow():
    return Refusal(408, "timeout: the request body was not there at the deadline")


class Body:
    """ASGI's receive within the request's bounds."""

    def __init__(self, exchange, limit, deadline):
        self._exchange = exchange
        self._limit = limit
        self._deadline = deadline
        self._read = 0
        self._whole = False

    async def __call__(self):
        if self._whole:
            return await self._exchange.receive()
        # An exchange whose answer has not begun is cancelled at its deadline;
        # one whose answer has is only kept from reading on.
        self._exchange.reading = True
        try:
            async with asyncio.timeout(max(0.0, self._deadline - time.monotonic()) if self._exchange.begun() else None):
                message = await self._exchange.receive()
        except TimeoutError:
            raise _too_slow() from None
        finally:
            self._exchange.reading = False
        self._read += len(message.get("body", b""))
        if self._limit and self._read > self._limit:
            raise Refusal(413, "request body too large: the limit is %d bytes; raise KNIT_MAX_BODY_BYTES" % self._limit)
        self._whole = message["type"] == "http.request" and not message["more_body"]
        return message

    async def all(self):
        """The whole body; Refusal when the peer left in the middle of it."""
        parts = []
        while not self._whole:
            message = await self()
            if message["type"] != "http.request":
                raise Refusal(400, "the peer closed before its request was whole")
            parts.append(message["body"])
        return b"".join(parts)


def status_of(problem):
    """The status that an exception stands for, None when it is an unforeseen one.

    A code of the function's own is an int attribute status_code from 400 to
    599, as Starlette's HTTPException and the SDK have it.
    """
    status = getattr(problem, "status_code", None)
    if isinstance(status, int) and 400 <= status <= 599:
        return int(status)
    if isinstance(problem, TimeoutError):
        return 504
    return None


def about(scope):
    """What names a request in the log; never its query or body, which may hold secrets."""
    found = {"method": scope["method"], "path": scope["path"]}
    for name, value in scope["headers"]:
        for header, key in _NAMED:
            if name == header:
                found[key] = value.decode("latin-1")
    return found


def _timeout_of(scope, most):
    """The time for one request: that of the process, or what the caller has left when that is less."""
    for name, value in scope["headers"]:
        if name == b"knit-timeout":
            try:
                asked = parse_duration(value.decode("latin-1"))
            except ValueError:
                return most
            return min(asked, most) if asked > 0 else most
    return most


def _declared(headers):
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return 0


async def answer(exchange, status, text, headers=()):
    """One whole answer of plain text."""
    body = (text + "\n").encode("utf-8", "replace")
    plain = [(b"content-type", b"text/plain; charset=utf-8"), *headers]
    await exchange.send({"type": "http.response.start", "status": status, "headers": plain})
    await exchange.send({"type": "http.response.body", "body": body})

"""Job mode: the function is called once, and the exit code says how it went."""

import asyncio
import json
import os
import time

from . import events, log
from .app import Application
from .cloudevent import STRUCTURED
from .settings import EXIT_FAILED, EXIT_OK, EXIT_USAGE

EXIT_FINAL = 65  # the function refused its input: another try would not help

MOST_RESULT = 4096  # bytes; a termination message of Kubernetes holds no more
_NO_END = 365 * 86400.0  # seconds
_AGAIN = (404, 408, 409, 429)  # of 4xx, as Knative's delivery has it


class Input(Exception):
    """KNIT_JOB_EVENT or KNIT_JOB_DATA cannot be used."""


class Call:
    """The one request of a job, in memory; it has the interface of server.Exchange."""

    def __init__(self, headers, body):
        self.scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
            "scheme": "http", "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "",
            "headers": headers, "client": None, "server": None, "extensions": {},
        }
        self.status = 0
        self.answered = self.gone = self.reading = False
        self.headers, self.result = [], b""  # of the answer
        self._body = body
        self._written = False

    async def receive(self):
        body, self._body = self._body, None
        if body is None:
            await asyncio.get_running_loop().create_future()  # nobody disconnects; the call ends first
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message):
        if message["type"] == "http.response.start" and not self.status:
            self.status, self.headers = int(message["status"]), list(message.get("headers", ()))
        elif message["type"] == "http.response.body" and self.status:
            self._written = True
            # No more is kept than is needed to see that it is too much; the
            # attributes of a structured event come on top.
            self.result = (self.result + bytes(message.get("body", b"")))[: 4 * MOST_RESULT]
            self.answered = not message.get("more_body")
        else:
            raise RuntimeError("ASGI message %r out of order" % (message["type"],))

    def begun(self):
        return self._written

    def restart(self):
        self.status = 0

    def exit_code(self):
        if not self.answered or not 200 <= self.status < 500 or self.status in _AGAIN:
            return EXIT_FAILED
        if self.status < 300:
            return EXIT_OK
        return EXIT_FINAL if self.status >= 400 else EXIT_FAILED


def make_call(settings, takes_events):
    """The request that stands for the job's input; raises Input."""
    index = os.environ.get("JOB_COMPLETION_INDEX", "")
    event, data = _read("KNIT_JOB_EVENT", settings.job_event), None
    if event is not None and not isinstance(event, dict):
        raise Input("environment variable KNIT_JOB_EVENT: want a CloudEvent as a JSON object")
    if event is None:
        data = _read("KNIT_JOB_DATA", settings.job_data)
        if takes_events:
            event = {"specversion": "1.0", "type": "dev.knit.job", "source": "/knit/job", "id": "%s-%s" % (os.uname().nodename, index)}
            if data is not None:
                event.update(datacontenttype="application/json", data=data)
    headers = [(b"content-type", (STRUCTURED if event is not None else "application/json").encode("ascii"))]
    if index:
        headers.append((b"knit-job-index", index.encode("latin-1", "replace")))
        if event is not None:
            event["jobindex"] = index
    if event is None and data is None:
        return Call(headers[1:], b"")
    return Call(headers, json.dumps(event if event is not None else data, ensure_ascii=False).encode("utf-8", "replace"))


def _read(name, value):
    """The JSON of a variable, or of the file whose absolute path it is: JSON never begins with a slash."""
    if not value:
        return None
    try:
        if value.startswith("/"):
            with open(value, "rb") as file:
                value = file.read()
        return json.loads(value)
    except OSError as problem:
        raise Input("environment variable %s: read %s: %s" % (name, value, problem.strerror)) from None
    except (ValueError, RecursionError) as problem:
        raise Input("environment variable %s: want JSON, or the path of a file with JSON: %s" % (name, problem)) from None


async def run(function, settings, ended):
    """Calls the function once and returns the exit code of the process; ended cancels it."""
    try:
        call = make_call(settings, function.takes_events)
    except Input as problem:
        log.error("function not started", error=str(problem))
        return EXIT_USAGE
    if not settings.timeout_given:
        settings.timeout = _NO_END  # what runs the job has a deadline of its own
    settings.body_limit = 0
    begun = time.monotonic()
    work = asyncio.ensure_future(Application(function, settings)(call))
    stop = asyncio.ensure_future(ended.wait())
    await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        log.error("job failed", error="stopped by a signal before it was done")
        work.cancel()
        await asyncio.wait((work,), timeout=settings.drain_delay)
        return EXIT_FAILED
    stop.cancel()
    about = {"index": os.environ.get("JOB_COMPLETION_INDEX", ""), "status": call.status, "duration": "%.3fs" % (time.monotonic() - begun)}
    code = call.exit_code()
    if code != EXIT_OK:
        log.error("job failed", **about)
        return code
    keep_result(settings.job_result, call)
    log.info("job succeeded", **about)
    return EXIT_OK


def keep_result(name, call):
    """Leaves the answer's body, or its event's data, where the platform reads it.

    A job whose work is done does not fail for a result that cannot be kept.
    """
    result = _event_data(call)
    if not name or not result:
        return
    if len(result) > MOST_RESULT:
        log.error("result not kept", error="it has more than %d bytes; store it elsewhere and return where" % MOST_RESULT)
        return
    try:
        with open(name, "wb") as file:
            file.write(result)
    except OSError as problem:
        log.error("result not kept", error="%s: %s" % (name, problem.strerror))


def _event_data(call):
    """The body; of an event in structured mode its data."""
    if not any(name == b"content-type" and value.startswith(STRUCTURED.encode("ascii")) for name, value in call.headers):
        return call.result
    try:
        attributes, data = events.decode_structured(call.result)
        return events.data_bytes(data, attributes.get("datacontenttype"))
    except ValueError:  # cut off, because it is too long
        return call.result

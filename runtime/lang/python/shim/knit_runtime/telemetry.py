"""A span and metrics of every request, for an OpenTelemetry collector.

It is loaded only where the environment names one, so that others pay nothing,
and needs no package: the official ones take longer to load than a cold start
may, and would meet the copies that functions bring.
"""

import os
import re
import threading
import time

from . import log, telemetry_settings
from .exporter import Exporter

_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT")
_OTHER = "_OTHER"

# What a caller can make a waiting span hold, in characters.
MOST_TEXT = 1024  # of one attribute
MOST_STATE = 512  # of the tracestate, as much as W3C asks to be handed on

# The bounds that OpenTelemetry's HTTP conventions advise, in seconds.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

# Callers can make the process keep no more series than this; beyond, durations
# are counted together.
MOST_SERIES = 1000

# https://www.w3.org/TR/trace-context/; versions to come may be longer.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


def start(environ):
    """Returns None when nobody collects.

    What is wrong in the settings is logged and left out: a function serves
    without telemetry, too.
    """
    settings, notes = telemetry_settings.read(environ)
    for note in notes:
        log.warn("telemetry setting", error=note)
    return Telemetry(settings) if settings.traces or settings.metrics else None


class Telemetry:
    def __init__(self, settings):
        self.settings = settings
        self.metrics = Metrics() if settings.metrics else None
        self.exporter = Exporter(settings, self.metrics)
        self.cold = True

    def begin(self, scope):
        """Continues the caller's trace, or begins one.

        The span's own context goes into the headers, so that the function hands
        it on.
        """
        observation = Observation(self, scope)
        if self.metrics:
            self.metrics.enter(observation.method)
        if self.settings.traces:
            observation.span = self._span(scope)
        return observation

    def job(self, scope, environ):
        """A span of a job's one call; the environment may hold its parent."""
        observation = Observation(self, scope)
        if self.settings.traces:
            pairs = ((name, environ[name.upper()].encode("latin-1", "replace")) for name in ("traceparent", "tracestate") if environ.get(name.upper()))
            scope["headers"] = scope["headers"] + [(name.encode("ascii"), value) for name, value in pairs]
            observation.span = self._span(scope)
        return observation

    def _span(self, scope):
        given = {name: value for name, value in scope["headers"] if name.endswith((b"traceparent", b"tracestate"))}
        # An event may bring its trace along as an extension, where who sends it
        # has none of its own.
        prefix = b"" if given.get(b"traceparent") else b"ce-"
        parent = _parse(given.get(prefix + b"traceparent", b""))
        span = Span(parent, given.get(prefix + b"tracestate", b"").decode("latin-1") if parent else "")
        span.sampled = self._samples(parent, span.trace_id)
        context = "00-%s-%s-%s" % (span.trace_id, span.id, "01" if span.sampled else "00")
        others = [pair for pair in scope["headers"] if pair[0] not in (b"traceparent", b"tracestate")]
        scope["headers"] = others + [(b"traceparent", context.encode("ascii"))]
        if span.state:
            scope["headers"].append((b"tracestate", span.state.encode("latin-1")))
        return span

    def _samples(self, parent, trace_id):
        if self.settings.parent_based and parent:
            return parent[2]
        return (int(trace_id[16:], 16) >> 1) < self.settings.ratio * (1 << 63)

    def finish(self, span):
        span.name = span.name[:MOST_TEXT]
        for key, value in span.attributes.items():
            if isinstance(value, str):
                span.attributes[key] = value[:MOST_TEXT]
        self.exporter.add(span)

    def shutdown(self):
        """Gives away what is left, within some seconds."""
        self.exporter.shutdown()


class Span:
    """One operation, as it is kept until it is exported; times in nanoseconds."""

    __slots__ = ("trace_id", "id", "parent_id", "state", "sampled", "name", "begun", "ended", "attributes", "failure")

    def __init__(self, parent, state):
        self.trace_id = parent[0] if parent else os.urandom(16).hex()
        self.id = os.urandom(8).hex()
        self.parent_id = parent[1] if parent else None
        self.state = state if len(state) <= MOST_STATE else ""
        self.name = None
        self.begun, self.ended = time.time_ns(), 0
        self.attributes = {}
        self.failure = ""


class Observation:
    """One request, or job, under way."""

    def __init__(self, telemetry, scope):
        self.telemetry = telemetry
        self.scope = scope
        self.span = None
        self.begun = time.monotonic()
        method = scope.get("method", "GET")
        self.method = method if method in _METHODS else _OTHER

    def event(self, attributes):
        """Names the event that the request holds."""
        if self.span is None:
            return
        self.span.name = "process %s" % attributes["type"]
        for name, attribute in (("id", "event_id"), ("source", "event_source"), ("type", "event_type"), ("specversion", "event_spec_version"), ("subject", "event_subject")):
            if attributes.get(name):
                self.span.attributes["cloudevents." + attribute] = attributes[name]

    def end(self, status, failure=""):
        """Takes the answer; failure is what broke it off, if anything did."""
        protocol = self.scope["http_version"]
        failure = failure or (str(status) if status >= 500 else "")
        metrics, span = self.telemetry.metrics, self.span
        if metrics:
            metrics.leave(self.method)
            metrics.observe((self.method, protocol, status, failure), time.monotonic() - self.begun)
        cold, self.telemetry.cold = self.telemetry.cold, False
        if span is None or not span.sampled:
            return
        trigger = "http" if span.name is None else "pubsub"
        span.name = span.name or ("HTTP" if self.method == _OTHER else self.method)
        span.ended, span.failure = time.time_ns(), failure
        span.attributes.update({
            "http.request.method": self.method, "url.scheme": "http",
            "url.path": self.scope["path"],  # no query, which may hold secrets
            "network.protocol.version": protocol, "faas.trigger": trigger, "faas.coldstart": cold,
        })
        if status:
            span.attributes["http.response.status_code"] = status
        if self.method == _OTHER:
            span.attributes["http.request.method_original"] = self.scope["method"]
        for name, value in self.scope["headers"]:
            if name == b"user-agent":
                span.attributes["user_agent.original"] = value.decode("latin-1")
            if name == b"host":
                span.attributes.update(_server(value.decode("latin-1")))
        self.telemetry.finish(span)

    def end_job(self, failure):
        """Is end for a job, which has no answer."""
        span = self.span
        if span is None or not span.sampled:
            return
        span.name = span.name or "job"
        span.ended, span.failure = time.time_ns(), failure
        span.attributes["faas.trigger"] = "other"
        self.telemetry.finish(span)


class Metrics:
    """Counts requests since the process began."""

    def __init__(self):
        self.begun = time.time_ns()
        self.lock = threading.Lock()
        self.durations = {}  # [counts, sum, least, most] by series; None is that of what is beyond the bound
        self.active = {}  # requests under way, by method

    def enter(self, method):
        with self.lock:
            self.active[method] = self.active.get(method, 0) + 1

    def leave(self, method):
        with self.lock:
            self.active[method] -= 1

    def observe(self, series, seconds):
        with self.lock:
            if series not in self.durations and len(self.durations) >= MOST_SERIES:
                series = None
            histogram = self.durations.setdefault(series, [[0] * (len(BOUNDS) + 1), 0.0, seconds, seconds])
            histogram[0][sum(seconds > bound for bound in BOUNDS)] += 1
            histogram[1] += seconds
            histogram[2], histogram[3] = min(histogram[2], seconds), max(histogram[3], seconds)


def _parse(value):
    """Trace, span and whether it is recorded, of a header traceparent; None of what is none."""
    match = _TRACEPARENT.fullmatch(value.decode("latin-1"))
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return trace_id, span_id, bool(int(flags, 16) & 1)


def _server(host):
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        return {"server.address": host}
    return {"server.address": name, "server.port": int(port)}

"""Sends spans and metrics to the collector, from a thread of its own.

Spans wait in a bounded queue; what comes when it is full is lost, and counted.
No request ever waits for a collector.
"""

import collections
import http.client
import itertools
import threading
import time
from urllib.parse import urlsplit

from . import log, otlp

BATCH = 512  # spans of one export
FLUSH = 5.0  # seconds that the end of the process waits for a collector
SILENCE = 60.0  # seconds in which failures of a collector are not logged again
_RETRIED = (429, 502, 503, 504)  # after which OTLP lets a client send again


class Undelivered(Exception):
    """An export failed; again says whether that may pass."""

    def __init__(self, text, again):
        super().__init__(text)
        self.again = again


class Exporter:
    def __init__(self, settings, metrics):
        self._settings = settings
        self._metrics = metrics
        self._spans = collections.deque()
        self._lost = 0
        self._changed = threading.Condition()  # guards what is above
        self._ended = False
        self._connections = {}  # by scheme and host
        self._logged = -SILENCE
        self._problems = []  # of the last exports
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def add(self, span):
        with self._changed:
            if len(self._spans) >= self._settings.queue:
                self._lost += 1
                return
            self._spans.append(span)
            if len(self._spans) == min(BATCH, self._settings.queue):
                self._changed.notify()

    def shutdown(self):
        """Lets the export under way end and sends what is left; says what nobody got."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(FLUSH)
        with self._changed:
            spans = len(self._spans) + self._lost
        problems = self._problems if not self._thread.is_alive() else ["no answer within %gs" % FLUSH]
        if spans or problems:
            log.warn("telemetry lost", spans=spans, error="\n".join(problems))

    def _run(self):
        spans = metrics = time.monotonic()
        while not self._wait(min(spans + self._settings.delay, metrics + self._settings.interval)):
            now = time.monotonic()
            if now >= spans + self._settings.delay or len(self._spans) >= min(BATCH, self._settings.queue):
                self._try(self._send_spans)
                spans = time.monotonic()
            if now >= metrics + self._settings.interval:
                self._try(self._send_metrics)
                metrics = time.monotonic()
        found = []
        for send in (self._send_spans, self._send_metrics):
            try:
                send()
            except Exception as problem:
                found.append(str(problem))
        self._problems = found

    def _wait(self, until):
        """Returns at the time, or when a batch is full; tells whether all is at its end."""
        with self._changed:
            if not self._ended:
                self._changed.wait(max(0.0, until - time.monotonic()))
            return self._ended

    def _try(self, send):
        try:
            send()
        except Exception as problem:
            if self._ended or time.monotonic() - self._logged < SILENCE:
                return
            self._logged = time.monotonic()
            log.warn("telemetry not delivered", error=str(problem), waiting=len(self._spans), lost=self._lost)

    def _send_spans(self):
        """Sends all that wait.

        A batch that the collector may take later stays at the head of the queue;
        one that it refuses is lost.
        """
        while True:
            with self._changed:
                batch = list(itertools.islice(self._spans, BATCH))
            if not batch:
                return
            refused = None
            try:
                self._post(self._settings.traces, otlp.encode_spans(self._settings.resource, batch))
            except Undelivered as problem:
                if problem.again:
                    raise
                refused = problem
            with self._changed:
                for _ in batch:
                    self._spans.popleft()
                self._lost += len(batch) if refused else 0
            if refused:
                raise refused

    def _send_metrics(self):
        if self._metrics is not None:
            from .telemetry import BOUNDS

            self._post(self._settings.metrics, otlp.encode_metrics(self._settings.resource, self._metrics, BOUNDS))

    def _post(self, url, body):
        parts = urlsplit(url)
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        connection = self._connect(parts)
        try:
            connection.request("POST", target, body, {**self._settings.headers, "Content-Type": "application/json"})
            response = connection.getresponse()
            response.read(64 << 10)
            if not response.isclosed():
                connection.close()
        except (OSError, http.client.HTTPException) as problem:
            connection.close()
            raise Undelivered("the collector at %s: %s" % (url, problem or type(problem).__name__), True) from None
        if not 200 <= response.status < 300:
            raise Undelivered("the collector at %s answered %d" % (url, response.status), response.status in _RETRIED)

    def _connect(self, parts):
        """A connection that is kept; http.client opens it anew when it has ended."""
        key = (parts.scheme, parts.netloc)
        if key not in self._connections:
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            self._connections[key] = kind(parts.hostname, parts.port, timeout=self._settings.timeout)
        return self._connections[key]

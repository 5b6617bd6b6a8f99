"""What the variables of OpenTelemetry ask for.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import json
import os
from urllib.parse import unquote, urlsplit

LONGEST = 2**31 - 1  # of a timer, in milliseconds


class TelemetrySettings:
    """Where telemetry goes and how; times in seconds."""

    def __init__(self):
        self.traces = self.metrics = ""  # URLs; empty: not wanted
        self.headers = {}
        self.resource = {}
        self.parent_based, self.ratio = True, 1.0  # of the sampler
        self.timeout = 10.0  # of one export
        self.delay = 5.0  # between two exports of spans
        self.interval = 60.0  # between two exports of metrics
        self.queue = 2048  # spans that may wait


def read(environ):
    """Returns the settings and notes on what cannot be used."""
    reader, settings = _Reader(environ), TelemetrySettings()
    if reader.value("OTEL_SDK_DISABLED").lower() == "true":
        return settings, []
    settings.traces, settings.metrics = reader.endpoint("TRACES"), reader.endpoint("METRICS")
    if settings.traces or settings.metrics:
        settings.headers = dict(reader.pairs("OTEL_EXPORTER_OTLP_HEADERS"))
        settings.resource = reader.resource()
        settings.parent_based, settings.ratio = reader.sampler()
        settings.timeout = reader.number("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000) / 1000
        settings.delay = reader.number("OTEL_BSP_SCHEDULE_DELAY", 5_000) / 1000
        settings.interval = reader.number("OTEL_METRIC_EXPORT_INTERVAL", 60_000) / 1000
        settings.queue = reader.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048)
    return settings, reader.notes


class _Reader:
    def __init__(self, environ):
        self.environ = environ
        self.notes = []

    def value(self, name):
        return self.environ.get(name, "").strip()

    def note(self, name, value, want):
        note = "environment variable %s=%s: %s" % (name, json.dumps(value), want)
        if note not in self.notes:
            self.notes.append(note)

    def endpoint(self, signal):
        """Where one kind of signal goes.

        The one endpoint of all gets the signal's path; that of a signal is
        taken as it is.
        """
        if self.value("OTEL_%s_EXPORTER" % signal).lower() == "none":
            return ""
        own = "OTEL_EXPORTER_OTLP_%s_ENDPOINT" % signal
        name = own if self.value(own) else "OTEL_EXPORTER_OTLP_ENDPOINT"
        value = self.value(name)
        if not value:
            return ""
        if not _is_url(value):
            self.note(name, value, "want a URL such as http://collector:4318; no %s are sent" % signal.lower())
            return ""
        self._protocol(signal)
        return value if name == own else value.removesuffix("/") + "/v1/" + signal.lower()

    def _protocol(self, signal):
        """Says so when another one than JSON over HTTP is asked for."""
        for name in ("OTEL_EXPORTER_OTLP_%s_PROTOCOL" % signal, "OTEL_EXPORTER_OTLP_PROTOCOL"):
            value = self.value(name)
            if not value:
                continue
            if value != "http/json":
                self.note(name, value, "this runtime sends http/json, which collectors take on their HTTP port (4318); set http/json to silence this line")
            return

    def pairs(self, name):
        """A list as of W3C Baggage: key=value, percent-encoded, by commas.

        A value is never shown: headers hold logins.
        """
        for number, entry in enumerate(self.value(name).split(","), 1):
            if not entry.strip():
                continue
            key, equals, value = entry.partition("=")
            if not equals or not key.strip():
                self.notes.append("environment variable %s: entry %d is left out: want key=value, percent-encoded" % (name, number))
                continue
            yield key.strip(), unquote(value.strip())

    def resource(self):
        """Who this process is. What the environment says goes first."""
        name, service = os.uname().nodename, self.value("K_SERVICE")
        found = {"service.name": service or "unknown_service:python", "faas.instance": name, "service.instance.id": name}
        if service:
            found["faas.name"] = service
        if self.value("K_REVISION"):
            found["faas.version"] = self.value("K_REVISION")
        found.update(self.pairs("OTEL_RESOURCE_ATTRIBUTES"))
        if self.value("OTEL_SERVICE_NAME"):
            found["service.name"] = self.value("OTEL_SERVICE_NAME")
        return {**found, "telemetry.sdk.name": "knit", "telemetry.sdk.language": "python"}

    def sampler(self):
        """Whether a caller's decision holds, and the ratio of other traces that are recorded."""
        kind = self.value("OTEL_TRACES_SAMPLER")
        parent_based, rest = kind.startswith("parentbased_"), kind.removeprefix("parentbased_")
        if rest in ("always_on", "always_off"):
            return parent_based, 1.0 if rest == "always_on" else 0.0
        if rest == "traceidratio":
            return parent_based, self._ratio()
        if kind:
            self.note("OTEL_TRACES_SAMPLER", kind, "want always_on, always_off or traceidratio, with or without parentbased_ before it; parentbased_always_on holds")
        return True, 1.0

    def _ratio(self):
        name = "OTEL_TRACES_SAMPLER_ARG"
        value = self.value(name)
        if not value:
            return 1.0
        try:
            ratio = float(value)
        except ValueError:
            ratio = -1.0
        if 0 <= ratio <= 1:
            return ratio
        self.note(name, value, "want a number from 0 to 1; all traces are taken")
        return 1.0

    def number(self, name, otherwise):
        value = self.value(name)
        if not value:
            return otherwise
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0
        if 1 <= number <= LONGEST:
            return number
        self.note(name, value, "want a whole number from 1; %d holds" % otherwise)
        return otherwise


def _is_url(value):
    try:
        url = urlsplit(value)
        return url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        return False

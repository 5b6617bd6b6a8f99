"""The JSON form of OTLP 1: ids in hexadecimal, whole numbers of 64 bits as strings.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

import json
import time

_SERVER = 2  # SPAN_KIND_SERVER
_ERROR = 2  # STATUS_CODE_ERROR
_CUMULATIVE = 2  # AGGREGATION_TEMPORALITY_CUMULATIVE
_HAS_REMOTE, _IS_REMOTE, _SAMPLED = 0x100, 0x200, 1
_SCOPE = {"name": "knit.dev/runtime"}


def encode_spans(resource, spans):
    scopes = [{"scope": _SCOPE, "spans": [_span(span) for span in spans]}]
    return _bytes({"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": scopes}]})


def _span(span):
    encoded = {
        "traceId": span.trace_id, "spanId": span.id, "name": span.name, "kind": _SERVER,
        "flags": _HAS_REMOTE | _SAMPLED | (_IS_REMOTE if span.parent_id else 0),
        "startTimeUnixNano": str(span.begun), "endTimeUnixNano": str(max(span.begun, span.ended)),
        "attributes": _attributes({**span.attributes, "error.type": span.failure} if span.failure else span.attributes),
    }
    if span.parent_id:
        encoded["parentSpanId"] = span.parent_id
    if span.state:
        encoded["traceState"] = span.state
    if span.failure:
        encoded["status"] = {"code": _ERROR}
    return encoded


def encode_metrics(resource, metrics, bounds):
    with metrics.lock:
        times = {"startTimeUnixNano": str(metrics.begun), "timeUnixNano": str(time.time_ns())}
        durations = [{**_histogram(series, histogram, bounds), **times} for series, histogram in metrics.durations.items()]
        active = [{"attributes": _attributes({"http.request.method": method, "url.scheme": "http"}), "asInt": str(count), **times}
                  for method, count in metrics.active.items()]
    found = [
        {"name": "http.server.request.duration", "unit": "s", "description": "Duration of requests to the function.",
         "histogram": {"aggregationTemporality": _CUMULATIVE, "dataPoints": durations}},
        {"name": "http.server.active_requests", "unit": "{request}", "description": "Requests under way.",
         "sum": {"aggregationTemporality": _CUMULATIVE, "isMonotonic": False, "dataPoints": active}},
    ]
    return _bytes({"resourceMetrics": [{"resource": {"attributes": _attributes(resource)}, "scopeMetrics": [{"scope": _SCOPE, "metrics": found}]}]})


def _histogram(series, histogram, bounds):
    counts, total, least, most = histogram
    attributes = {"otel.metric.overflow": True}
    if series is not None:
        method, protocol, status, failure = series
        attributes = {"http.request.method": method, "url.scheme": "http", "network.protocol.version": protocol}
        if status:
            attributes["http.response.status_code"] = status
        if failure:
            attributes["error.type"] = failure
    return {"attributes": _attributes(attributes), "count": str(sum(counts)), "sum": total, "min": least, "max": most,
            "bucketCounts": [str(count) for count in counts], "explicitBounds": list(bounds)}


def _attributes(attributes):
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value):
    if isinstance(value, bool):
        return {"boolValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}


def _bytes(document):
    return json.dumps(document).encode("ascii")

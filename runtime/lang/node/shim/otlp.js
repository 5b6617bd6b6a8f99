'use strict';

const { bounds } = require('./metrics.js');

// The JSON form of OTLP 1: ids in hexadecimal, whole numbers of 64 bits as
// strings (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).

const server = 2; // SPAN_KIND_SERVER
const statusError = 2; // STATUS_CODE_ERROR
const cumulative = 2; // AGGREGATION_TEMPORALITY_CUMULATIVE
const hasRemote = 0x100;
const isRemote = 0x200;
const scope = { name: 'knit.dev/runtime' };

function encodeSpans(resource, spans) {
  return JSON.stringify({ resourceSpans: [{ resource: { attributes: encodeAttributes(resource) }, scopeSpans: [{ scope, spans: spans.map(encodeSpan) }] }] });
}

function encodeSpan(span) {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId,
    traceState: span.traceState,
    flags: hasRemote | (span.parentSpanId ? isRemote : 0) | 1,
    name: span.name,
    kind: server,
    startTimeUnixNano: nanoseconds(span.begun),
    endTimeUnixNano: nanoseconds(span.ended),
    attributes: encodeAttributes({ ...span.attributes, 'error.type': span.failure || undefined }),
    status: span.failure ? { code: statusError } : undefined,
  };
}

function encodeMetrics(resource, metrics) {
  const times = { startTimeUnixNano: nanoseconds(metrics.begun), timeUnixNano: nanoseconds(Date.now()) };
  const durations = [...metrics.durations.values()].map((histogram) => ({ ...encodeHistogram(histogram), ...times }));
  const active = [...metrics.active].map(([method, n]) => ({
    attributes: encodeAttributes({ 'http.request.method': method, 'url.scheme': 'http' }), asInt: String(n), ...times,
  }));
  const list = [{
    name: 'http.server.request.duration', unit: 's', description: 'Duration of requests to the function.',
    histogram: { aggregationTemporality: cumulative, dataPoints: durations },
  }, {
    name: 'http.server.active_requests', unit: '{request}', description: 'Requests under way.',
    sum: { aggregationTemporality: cumulative, isMonotonic: false, dataPoints: active },
  }];
  return JSON.stringify({ resourceMetrics: [{ resource: { attributes: encodeAttributes(resource) }, scopeMetrics: [{ scope, metrics: list }] }] });
}

function encodeHistogram({ series, counts, count, sum, min, max }) {
  const attributes = series === undefined ? { 'otel.metric.overflow': true } : {
    'http.request.method': series.method, 'url.scheme': 'http', 'network.protocol.version': series.protocol,
    'http.response.status_code': series.status, 'error.type': series.failure || undefined,
  };
  return { attributes: encodeAttributes(attributes), count: String(count), sum, min, max, bucketCounts: counts.map(String), explicitBounds: bounds };
}

function encodeAttributes(attributes) {
  const encoded = [];
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null) continue;
    encoded.push({ key, value: encodeValue(value) });
  }
  return encoded;
}

function encodeValue(value) {
  if (typeof value === 'boolean') return { boolValue: value };
  return typeof value === 'number' ? { intValue: String(value) } : { stringValue: String(value) };
}

// nanoseconds of a time in milliseconds, which no number of JavaScript holds.
function nanoseconds(ms) { return `${BigInt(Math.round(ms * 1000)) * 1000n}`; }

module.exports = { encodeSpans, encodeMetrics };

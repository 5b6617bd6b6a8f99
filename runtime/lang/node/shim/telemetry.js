'use strict';

// A span and metrics of every request, for an OpenTelemetry collector. It is
// loaded only where the environment names one, so that others pay nothing, and
// needs no package: the official ones take longer to load than a cold start may,
// and would meet the copies that functions bring.

const { randomBytes } = require('node:crypto');
const { Exporter } = require('./exporter.js');
const { Metrics } = require('./metrics.js');
const { readTelemetrySettings } = require('./telemetrySettings.js');

// What a caller can make a waiting span hold, in characters.
const mostText = 1024; // of one attribute
const mostState = 512; // of the tracestate, as much as W3C asks to be handed on

const methods = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE', 'CONNECT'];

// startTelemetry returns nothing when nobody collects. What is wrong in the
// settings is logged and left out: a function serves without telemetry, too.
function startTelemetry(env, log) {
  const { settings, notes } = readTelemetrySettings(env);
  for (const error of notes) log.warn({ error }, 'telemetry setting');
  return settings.traces || settings.metrics ? new Telemetry(settings, log) : undefined;
}

class Telemetry {
  #settings;
  #exporter;
  #metrics;
  #cold = true;

  constructor(settings, log) {
    this.#settings = settings;
    this.#metrics = settings.metrics && new Metrics();
    this.#exporter = new Exporter(settings, this.#metrics, log);
  }

  // begin continues the caller's trace, or begins one, and puts the span's own
  // context into the headers, so that the function hands it on.
  begin(request) {
    const observation = new Observation(this, request);
    this.#metrics?.enter(observation.method);
    if (!this.#settings.traces) return observation;
    const { headers } = request;
    // An event may bring its trace along as an extension, where who sends it has
    // none of its own.
    const prefix = headers.traceparent ? '' : 'ce-';
    observation.span = this.newSpan(headers[`${prefix}traceparent`], headers[`${prefix}tracestate`]);
    putInto(headers, observation.span);
    return observation;
  }

  // job makes a span of a job's one call; the environment may hold its parent.
  job(headers, env) {
    if (!this.#settings.traces) return undefined;
    const observation = new Observation(this);
    observation.span = this.newSpan(env.TRACEPARENT, env.TRACESTATE);
    putInto(headers, observation.span);
    return observation;
  }

  newSpan(traceparent, tracestate) {
    const parent = parseTraceparent(traceparent);
    const traceId = parent?.traceId ?? newId(16);
    return {
      traceId, spanId: newId(8), parentSpanId: parent?.spanId,
      traceState: parent && tracestate?.length <= mostState ? tracestate || undefined : undefined, // of a trace that nobody knows it says nothing
      sampled: this.#settings.sample(parent, traceId),
      name: undefined, begun: now(), ended: 0, attributes: {}, failure: '',
    };
  }

  finish(span) {
    if (!span.sampled) return;
    span.name = cut(span.name);
    for (const [key, value] of Object.entries(span.attributes)) span.attributes[key] = cut(value);
    this.#exporter.add(span);
  }

  answered(series, seconds) {
    this.#metrics?.leave(series.method);
    this.#metrics?.observe(series, seconds);
    const cold = this.#cold;
    this.#cold = false;
    return cold;
  }

  // shutdown gives away what is left, within some seconds.
  shutdown() { return this.#exporter.shutdown(); }
}

// Observation is one request, or job, under way.
class Observation {
  span;
  #telemetry;
  #request;
  #begun = performance.now();

  constructor(telemetry, request) {
    this.#telemetry = telemetry;
    this.#request = request;
    this.method = methods.includes(request?.method) ? request.method : '_OTHER';
  }

  // event names the event that the request holds.
  event(event) {
    if (!this.span) return;
    this.span.name = `process ${event.type}`;
    Object.assign(this.span.attributes, {
      'cloudevents.event_id': event.id, 'cloudevents.event_source': event.source, 'cloudevents.event_type': event.type,
      'cloudevents.event_spec_version': event.specversion, 'cloudevents.event_subject': event.subject,
    });
  }

  // end takes the answer; failure is what broke it off, if anything did.
  end(status, failure = '') {
    const { span } = this;
    const { method, httpVersion, httpVersionMajor, headers, url } = this.#request;
    const protocol = httpVersionMajor >= 2 ? String(httpVersionMajor) : httpVersion;
    const error = failure || (status >= 500 ? String(status) : '');
    const cold = this.#telemetry.answered({ method: this.method, protocol, status, failure: error }, (performance.now() - this.#begun) / 1000);
    if (!span?.sampled) return;
    const trigger = span.name === undefined ? 'http' : 'pubsub';
    span.name ??= this.method === '_OTHER' ? 'HTTP' : this.method;
    span.ended = now();
    span.failure = error;
    Object.assign(span.attributes, {
      'http.request.method': this.method,
      'http.request.method_original': this.method === '_OTHER' ? method : undefined,
      'url.scheme': 'http',
      'url.path': url.split('?', 1)[0], // no query, which may hold secrets
      'network.protocol.version': protocol,
      'http.response.status_code': status,
      'faas.trigger': trigger,
      'faas.coldstart': cold,
      'user_agent.original': headers['user-agent'],
      ...serverOf(headers.host ?? headers[':authority'] ?? ''),
    });
    this.#telemetry.finish(span);
  }

  // endJob is end for a job, which has no answer.
  endJob(error) {
    this.span.name ??= 'job';
    this.span.ended = now();
    this.span.attributes['faas.trigger'] = 'other';
    if (error) this.span.failure = error.name || typeof error;
    this.#telemetry.finish(this.span);
  }
}

// cut bounds a text. What is cut from the request line is copied, or the engine
// would keep the whole of it.
function cut(value) {
  return typeof value === 'string' && value.length > 12 ? Buffer.from(value.slice(0, mostText)).toString() : value;
}

function putInto(headers, span) {
  headers.traceparent = `00-${span.traceId}-${span.spanId}-${span.sampled ? '01' : '00'}`;
  if (span.traceState) headers.tracestate = span.traceState;
  else delete headers.tracestate;
}

// parseTraceparent reads W3C Trace Context (https://www.w3.org/TR/trace-context/).
// Versions to come may be longer.
function parseTraceparent(value) {
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(value ?? '');
  if (!match) return undefined;
  const [, version, traceId, spanId, flags, more] = match;
  if (version === 'ff' || (version === '00' && more) || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

function newId(bytes) { return randomBytes(bytes).toString('hex'); }

// now is in milliseconds since 1970, with the microseconds.
function now() { return performance.timeOrigin + performance.now(); }

function serverOf(host) {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(host);
  if (!match) return {};
  return { 'server.address': match[1] || undefined, 'server.port': match[2] === undefined ? undefined : Number(match[2]) };
}

module.exports = { startTelemetry };

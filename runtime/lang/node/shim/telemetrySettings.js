'use strict';

const os = require('node:os');

// What the variables of OpenTelemetry ask for:
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.

const longestTimer = 2 ** 31 - 1;

// readTelemetrySettings returns settings without endpoints when nobody collects,
// and notes on what it cannot use. Times are in milliseconds.
function readTelemetrySettings(env) {
  const reader = new Reader(env);
  if (reader.value('OTEL_SDK_DISABLED').toLowerCase() === 'true') return { settings: {}, notes: [] };
  const traces = reader.endpoint('TRACES');
  const metrics = reader.endpoint('METRICS');
  if (!traces && !metrics) return { settings: {}, notes: reader.notes };
  const settings = {
    traces,
    metrics,
    headers: Object.fromEntries(reader.pairs('OTEL_EXPORTER_OTLP_HEADERS')),
    resource: reader.resource(),
    sample: reader.sampler(),
    timeout: reader.number('OTEL_EXPORTER_OTLP_TIMEOUT', 10_000), // of one export
    delay: reader.number('OTEL_BSP_SCHEDULE_DELAY', 5000), // between two exports of spans
    interval: reader.number('OTEL_METRIC_EXPORT_INTERVAL', 60_000), // between two exports of metrics
    queue: reader.number('OTEL_BSP_MAX_QUEUE_SIZE', 2048), // spans that may wait
  };
  return { settings, notes: reader.notes };
}

class Reader {
  notes = [];
  #env;

  constructor(env) { this.#env = env; }

  value(name) { return (this.#env[name] ?? '').trim(); }

  #note(name, value, want) {
    const note = `environment variable ${name}=${JSON.stringify(value)}: ${want}`;
    if (!this.notes.includes(note)) this.notes.push(note);
  }

  // endpoint is where one kind of signal goes. The one endpoint of all gets the
  // signal's path; that of a signal is taken as it is.
  endpoint(signal) {
    if (this.value(`OTEL_${signal}_EXPORTER`).toLowerCase() === 'none') return undefined;
    const own = `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`;
    const name = this.value(own) ? own : 'OTEL_EXPORTER_OTLP_ENDPOINT';
    const value = this.value(name);
    if (!value) return undefined;
    const url = URL.canParse(value) ? new URL(value) : undefined;
    if (!['http:', 'https:'].includes(url?.protocol)) {
      this.#note(name, value, `want a URL such as http://collector:4318; no ${signal.toLowerCase()} are sent`);
      return undefined;
    }
    this.#protocol(signal);
    return name === own ? url : new URL(`${value.replace(/\/$/, '')}/v1/${signal.toLowerCase()}`);
  }

  // #protocol says so when another one than JSON over HTTP is asked for.
  #protocol(signal) {
    const name = [`OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`, 'OTEL_EXPORTER_OTLP_PROTOCOL'].find((n) => this.value(n));
    if (name === undefined || this.value(name) === 'http/json') return;
    this.#note(name, this.value(name), 'this runtime sends http/json, which collectors take on their HTTP port (4318); set http/json to silence this line');
  }

  // pairs reads a list as of W3C Baggage: key=value, percent-encoded, by commas.
  // A value is never shown: headers hold logins.
  pairs(name) {
    const pairs = [];
    for (const [i, entry] of this.value(name).split(',').entries()) {
      if (entry.trim() === '') continue;
      const pair = pairOf(entry);
      if (pair) pairs.push(pair);
      else this.notes.push(`environment variable ${name}: entry ${i + 1} is left out: want key=value, percent-encoded`);
    }
    return pairs;
  }

  // resource is who this process is. What the environment says goes first.
  resource() {
    const name = os.hostname();
    const service = this.value('K_SERVICE');
    const resource = { 'service.name': service || 'unknown_service:node', 'faas.instance': name, 'service.instance.id': name };
    if (service) resource['faas.name'] = service;
    if (this.value('K_REVISION')) resource['faas.version'] = this.value('K_REVISION');
    Object.assign(resource, Object.fromEntries(this.pairs('OTEL_RESOURCE_ATTRIBUTES')));
    if (this.value('OTEL_SERVICE_NAME')) resource['service.name'] = this.value('OTEL_SERVICE_NAME');
    return { ...resource, 'telemetry.sdk.name': 'knit', 'telemetry.sdk.language': 'nodejs' };
  }

  // sampler returns a function that decides which traces are recorded.
  sampler() {
    const kind = this.value('OTEL_TRACES_SAMPLER');
    const parentBased = kind === '' || kind.startsWith('parentbased_');
    const ratio = this.#ratio(kind.replace(/^parentbased_/, ''));
    if (ratio === undefined) {
      this.#note('OTEL_TRACES_SAMPLER', kind, 'want always_on, always_off or traceidratio, with or without parentbased_ before it; parentbased_always_on holds');
      return (parent) => parent?.sampled ?? true;
    }
    const sampled = (traceId) => Number(BigInt(`0x${traceId.slice(16)}`) >> 1n) < ratio * 2 ** 63;
    return (parent, traceId) => (parentBased && parent ? parent.sampled : sampled(traceId));
  }

  #ratio(kind) {
    if (kind === '' || kind === 'always_on') return 1;
    if (kind === 'always_off') return 0;
    if (kind !== 'traceidratio') return undefined;
    const name = 'OTEL_TRACES_SAMPLER_ARG';
    const value = this.value(name);
    const ratio = value === '' ? 1 : Number(value);
    if (ratio >= 0 && ratio <= 1) return ratio;
    this.#note(name, value, 'want a number from 0 to 1; all traces are taken');
    return 1;
  }

  number(name, otherwise) {
    const value = this.value(name);
    if (value === '') return otherwise;
    const n = /^\d+$/.test(value) ? Number(value) : NaN;
    if (n >= 1 && n <= longestTimer) return n;
    this.#note(name, value, `want a whole number from 1; ${otherwise} holds`);
    return otherwise;
  }
}

function pairOf(entry) {
  const at = entry.indexOf('=');
  const key = entry.slice(0, Math.max(at, 0)).trim();
  if (key === '') return undefined;
  try {
    return [key, decodeURIComponent(entry.slice(at + 1).trim())];
  } catch {
    return undefined;
  }
}

module.exports = { readTelemetrySettings };

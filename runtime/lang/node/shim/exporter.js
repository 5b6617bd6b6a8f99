'use strict';

const { encodeSpans, encodeMetrics } = require('./otlp.js');

const batchSize = 512; // spans of one export
const flushTimeout = 5000; // milliseconds that the end of the process waits for a collector
const silence = 60_000; // milliseconds in which failures of a collector are not logged again
const retried = [429, 502, 503, 504]; // after which OTLP lets a client send again

// Exporter sends spans and metrics to the collector. Spans wait in a bounded
// queue; what comes when it is full is lost, and counted. Nobody waits for it but
// the end of the process.
class Exporter {
  #settings;
  #metrics;
  #log;
  #agents = new Map();
  #spans = [];
  #lost = 0;
  #sending = Promise.resolve(); // one export at a time
  #queued = false;
  #controller = new AbortController(); // breaks off the export under way
  #timers;
  #logged = -Infinity;

  constructor(settings, metrics, log) {
    this.#settings = settings;
    this.#metrics = metrics;
    this.#log = log;
    this.#timers = [
      setInterval(() => this.#later(() => this.#sendSpans()), settings.delay),
      setInterval(() => this.#later(() => this.#sendMetrics()), settings.interval),
    ];
    for (const timer of this.#timers) timer.unref();
  }

  add(span) {
    if (this.#spans.length >= this.#settings.queue) {
      this.#lost++;
      return;
    }
    this.#spans.push(span);
    if (this.#spans.length === Math.min(batchSize, this.#settings.queue)) this.#later(() => this.#sendSpans());
  }

  // #later puts an export behind the one under way, and no more than one.
  #later(send) {
    if (this.#queued) return;
    this.#queued = true;
    this.#sending = this.#sending.then(() => {
      this.#queued = false;
      return send();
    }).catch((error) => this.#report(error));
  }

  // shutdown lets the export under way end and sends what is left; it says what
  // nobody got.
  async shutdown() {
    for (const timer of this.#timers) clearInterval(timer);
    this.#queued = true; // nothing further
    const timer = setTimeout(() => this.#controller.abort(new Error(`no answer within ${flushTimeout} ms`)), flushTimeout);
    await this.#sending;
    const results = await Promise.allSettled([this.#sendSpans(), this.#sendMetrics()]);
    clearTimeout(timer);
    const errors = results.filter((result) => result.status === 'rejected').map((result) => result.reason.message);
    const spans = this.#spans.length + this.#lost;
    if (errors.length > 0 || spans > 0) this.#log.warn({ spans, error: errors.join('\n') }, 'telemetry lost');
  }

  // #sendSpans sends all that wait. A batch that the collector may take later
  // stays at the head of the queue; one that it refuses is lost.
  async #sendSpans() {
    while (this.#spans.length > 0) {
      const batch = this.#spans.slice(0, batchSize);
      const { error, again } = await this.#post(this.#settings.traces, encodeSpans(this.#settings.resource, batch));
      if (error && again) throw error;
      this.#spans.splice(0, batch.length);
      if (error) {
        this.#lost += batch.length;
        throw error;
      }
    }
  }

  async #sendMetrics() {
    if (this.#metrics === undefined) return;
    const { error } = await this.#post(this.#settings.metrics, encodeMetrics(this.#settings.resource, this.#metrics));
    if (error) throw error;
  }

  // #post tells whether a failure may pass.
  async #post(url, body) {
    try {
      const status = await this.#request(url, body);
      if (status >= 200 && status < 300) return {};
      return { error: new Error(`the collector at ${url} answered ${status}`), again: retried.includes(status) };
    } catch (error) {
      return { error, again: true };
    }
  }

  #request(url, body) {
    const { signal } = this.#controller;
    if (signal.aborted) return Promise.reject(signal.reason);
    const http = require(url.protocol === 'https:' ? 'node:https' : 'node:http');
    if (!this.#agents.has(url.protocol)) this.#agents.set(url.protocol, new http.Agent({ keepAlive: true, maxSockets: 2 }));
    return new Promise((resolve, reject) => {
      const headers = { ...this.#settings.headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const request = http.request(url, { method: 'POST', headers, agent: this.#agents.get(url.protocol) });
      const end = (error) => request.destroy(error);
      const aborted = () => end(signal.reason);
      const timer = setTimeout(() => end(new Error(`the collector at ${url} did not answer within ${this.#settings.timeout} ms`)), this.#settings.timeout);
      timer.unref();
      signal.addEventListener('abort', aborted);
      request.on('response', (response) => {
        response.resume(); // so that the connection is used again
        response.on('error', () => {}); // the status is known
        resolve(response.statusCode);
      });
      request.on('error', reject);
      request.on('close', () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', aborted);
      });
      request.end(body);
    });
  }

  #report(error) {
    if (this.#controller.signal.aborted || performance.now() - this.#logged < silence) return;
    this.#logged = performance.now();
    this.#log.warn({ error: error.message, waiting: this.#spans.length, lost: this.#lost }, 'telemetry not delivered');
  }
}

module.exports = { Exporter };

'use strict';

const http = require('node:http');
const { Exchange } = require('./exchange.js');
const { Protocols } = require('./protocols.js');

// Paths that the runtime answers itself; the function never sees them.
const livenessPath = '/health/liveness';
const readinessPath = '/health/readiness';

// Bounds on what a peer may hold open without sending a request.
const limits = {
  maxHeaderSize: 64 << 10, // bytes
  headersTimeout: 10_000, // milliseconds
  keepAliveTimeout: 120_000, // longer than queue-proxy keeps an idle connection (90 s)
  connectionsCheckingInterval: 1000,
  requestTimeout: 0, // each exchange has its own deadline
};

// serve answers requests until stop resolves, then drains. The order is the one
// Knative expects: readiness fails first and requests are still answered, so
// that whoever routed one here before it learnt of the end does not lose it;
// only then the listener closes and what is under way finishes. It tells
// whether all of it did.
async function serve(loaded, settings, log, stop, telemetry) {
  const server = new Server(loaded, settings, log, telemetry);
  try {
    log.info({ address: await server.listen() }, 'function ready');
  } catch (error) {
    log.error({ error: `${error.message}; set PORT to a free port, and let the function's code not listen itself` }, 'function not started');
    return false;
  }
  await stop;
  server.draining = true;
  log.info({ delay: `${settings.drainDelay}ms`, inFlight: server.inFlight }, 'function draining');
  await sleep(settings.drainDelay);
  const finished = await server.close();
  try {
    await within(settings.timeout, loaded.shutdown());
  } catch (error) {
    log.error({ error: error.message, stack: error.stack }, 'function stopped early');
    return false;
  } finally {
    await telemetry?.shutdown();
  }
  if (finished) log.info('function stopped');
  else log.error({ error: `${server.inFlight} requests still under way after ${settings.timeout}ms` }, 'function stopped early');
  return finished;
}

function sleep(ms) { return new Promise((resolve) => { setTimeout(resolve, ms); }); }

function within(ms, work) {
  return Promise.race([work, sleep(ms).then(() => { throw new Error(`shutdown did not end within ${ms}ms`); })]);
}

class Server {
  #http;
  #protocols;
  #idle; // called when nothing is under way any more; set when the listener is closed

  constructor(loaded, settings, log, telemetry) {
    this.telemetry = telemetry; // undefined: nobody collects
    this.loaded = loaded;
    this.settings = settings;
    this.log = log;
    this.draining = false;
    this.inFlight = 0;
    this.origins = loaded.handlers.cors?.();
    const { liveness, readiness } = loaded.handlers;
    this.checks = new Map([[livenessPath, liveness], [readinessPath, readiness]]);
    for (const check of [liveness, readiness]) {
      if (typeof check?.path === 'string') this.checks.set(check.path, check);
    }
    const route = (request, response) => this.#route(request, response);
    this.#http = http.createServer(limits, route);
    this.#http.timeout = 0;
    this.#http.on('checkContinue', route);
    this.#http.on('clientError', refuse);
    if (loaded.handlers.upgrade) this.#http.on('upgrade', (...args) => this.#upgrade(...args));
    this.#protocols = new Protocols(this.#http, limits, route);
  }

  // listen returns the address as Go writes it.
  listen() {
    const { host, port } = this.settings;
    return new Promise((resolve, reject) => {
      this.#http.once('error', reject);
      this.#http.listen({ host, port }, () => {
        const { address, family, port: actual } = this.#http.address();
        resolve(family === 'IPv6' ? `[${address}]:${actual}` : `${address}:${actual}`);
      });
    });
  }

  #route(request, response) {
    const { url } = request;
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    if (this.checks.has(path)) {
      this.#check(path, request, response);
      return;
    }
    this.inFlight++;
    new Exchange(this, request, response).run();
  }

  done() {
    this.inFlight--;
    if (this.#idle === undefined) return;
    // The connection of the answer that just ended may be idle now.
    setImmediate(() => this.#http.closeIdleConnections());
    if (this.inFlight === 0) this.#idle();
  }

  // #check answers 200 unless the function's own check throws, returns false or
  // the process drains; what the check returns is the body.
  async #check(path, request, response) {
    request.resume();
    const check = this.checks.get(path);
    if (this.draining && check === this.checks.get(readinessPath) && path !== livenessPath) {
      this.#answer(request, response, 503, 'draining');
      return;
    }
    try {
      const result = await check?.(request, response);
      if (response.headersSent) return;
      this.#answer(request, response, result === false ? 503 : 200, typeof result === 'string' ? result : 'OK');
    } catch (error) {
      this.log.warn({ path, error: String(error?.message ?? error) }, 'health check failed');
      if (!response.headersSent) this.#answer(request, response, 503, 'the function says that it is not well; its log says why');
    }
  }

  #answer(request, response, status, message) {
    const headers = { 'content-type': 'text/plain; charset=utf-8', 'content-length': Buffer.byteLength(message) };
    if (this.draining && request.httpVersionMajor === 1) headers.connection = 'close';
    response.writeHead(status, headers);
    response.end(message);
  }

  // #upgrade hands a WebSocket over to the function, which then owns it.
  #upgrade(request, socket, head) {
    this.inFlight++;
    socket.on('close', () => this.done());
    socket.on('error', () => {}); // close follows
    try {
      this.loaded.handlers.upgrade(request, socket, head);
    } catch (error) {
      this.log.error({ path: request.url.split('?', 1)[0], panic: String(error?.message ?? error), stack: error?.stack }, 'function panicked');
      socket.destroy();
    }
  }

  // close stops listening and waits for what is under way, at most as long as
  // one request may take. It tells whether all of it ended.
  async close() {
    this.#http.close();
    this.#protocols.close();
    const idle = new Promise((resolve) => {
      this.#idle = () => resolve(true);
      if (this.inFlight === 0) resolve(true);
    });
    const finished = await Promise.race([idle, sleep(this.settings.timeout).then(() => false)]);
    return finished;
  }
}

// refuse answers what is no HTTP request, or has a header block that is too
// large or too late.
function refuse(error, socket) {
  const status = { HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large', ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout' }[error.code] ?? '400 Bad Request';
  if (socket.writable && !socket.destroyed) socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  else socket.destroy();
}

module.exports = { serve };

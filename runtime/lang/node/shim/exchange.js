'use strict';

const { pipeline, Readable } = require('node:stream');
const { checkHeaders, decode, looksLikeEvent } = require('./decode.js');
const { answerOf, isStream } = require('./answer.js');
const { parseBody, parseForm } = require('./body.js');
const { Context } = require('./context.js');
const { duration } = require('./settings.js');
const { Refusal, ownStatus, statusOf } = require('./status.js');

// A function that passes its deadline has this long, in milliseconds, to say so
// itself.
const deadlineGrace = 1000;

// A connection that ends although its peer still sends takes what it sends for
// this long, in milliseconds: a reset would destroy the answer on its way.
const linger = 500;

const empty = Buffer.alloc(0);
const text = 'text/plain; charset=utf-8';

// Func's runtime lets browsers of every origin call an HTTP function; one that
// exports cors names the origins itself.
const corsMethods = 'OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH';

// Exchange is one request to the function and its answer.
class Exchange {
  #server;
  #response;
  #begun = Date.now();
  #timeout; // milliseconds
  #controller; // made when the function asks for its signal
  #timer;
  #isEvent = false;
  #called = false; // the function has the request
  #settled = false; // the outcome is known
  #over = false; // the answer is out, or nobody waits for it any more

  constructor(server, request, response) {
    this.#server = server;
    this.#response = response;
    this.request = request;
    this.rawBody = empty;
    this.#timeout = timeoutOf(request.headers, server.settings.timeout);
  }

  // run answers the request. It never throws.
  run() {
    this.#response.on('close', () => this.#closed());
    this.#timer = setTimeout(() => this.#deadlinePassed(), this.#timeout);
    try {
      this.#isEvent = this.#takesEvent();
      if (this.#isPreflight()) this.#answerPreflight();
      else this.#readBody();
    } catch (error) {
      this.#fail(error);
    }
  }

  // #takesEvent decides between the two kinds, as func does: by the request,
  // unless the function says that it takes one kind only.
  #takesEvent() {
    const { method, headers } = this.request;
    const { kind } = this.#server.loaded;
    if (kind === 'http' || (kind === '' && !(method === 'POST' && looksLikeEvent(headers)))) return false;
    if (method !== 'POST') throw new Refusal(405, 'this function takes CloudEvents: send one by POST');
    checkHeaders(headers);
    return true;
  }

  // #isPreflight finds the question of a browser whether a page of another
  // origin may send the request it has in mind
  // (https://fetch.spec.whatwg.org/#cors-preflight-request). Func answers it
  // for HTTP functions.
  #isPreflight() {
    const { method, headers } = this.request;
    return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
  }

  #answerPreflight() {
    const headers = { 'access-control-allow-headers': this.request.headers['access-control-request-headers'] ?? '*' };
    this.#allowOrigins(headers);
    this.#settled = true;
    this.#send(204, headers, undefined);
  }

  #readBody() {
    const { request } = this;
    const { headers } = request;
    const limit = this.#server.settings.bodyLimit || Infinity;
    const declared = headers['content-length'];
    if (Number(declared) > limit) {
      throw new Refusal(413, `request body of ${declared} bytes is larger than the limit of ${limit}; raise KNIT_MAX_BODY_BYTES`);
    }
    const none = declared === undefined && headers['transfer-encoding'] === undefined && request.httpVersionMajor === 1;
    if (none || declared === '0') {
      this.#call(empty);
      return;
    }
    if (headers.expect !== undefined && request.httpVersionMajor === 1) this.#response.writeContinue();
    const chunks = [];
    let size = 0;
    request.on('data', (chunk) => {
      size += chunk.length;
      if (size <= limit) chunks.push(chunk);
      else if (!this.#settled) this.#fail(new Refusal(413, `request body is too large: the limit is ${limit} bytes; raise KNIT_MAX_BODY_BYTES`));
    });
    request.on('end', () => this.#call(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size)));
    request.on('error', () => {}); // the caller is gone: the response closes
  }

  #call(body) {
    if (this.#settled) return;
    this.#called = true;
    this.rawBody = body;
    let result;
    try {
      result = this.#isEvent ? this.#callWithEvent(body) : this.#callWithBody(body);
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (typeof result?.then === 'function') result.then((value) => this.#finish(value), (error) => this.#fail(error));
    else this.#finish(result);
  }

  #callWithEvent(body) {
    const event = decode(this.request.headers, body, this.#server.loaded.eventClass);
    const context = new Context(this, event.data);
    context.cloudevent = event;
    return this.#server.loaded.handle(context, event);
  }

  #callWithBody(body) {
    const value = parseBody(this.request.headers['content-type'], body);
    return this.#server.loaded.handle(new Context(this, value), value);
  }

  #finish(value) {
    this.#settled = true;
    if (this.#over) {
      this.#server.done();
      return;
    }
    try {
      const { status, headers, body } = answerOf(value, this.#isEvent && this.#server.loaded.kind === 'cloudevent');
      if (!this.#isEvent) this.#allowOrigins(headers);
      if (isStream(body)) this.#stream(status, headers, body);
      else this.#send(status, headers, body);
    } catch (error) {
      this.#fail(error);
    }
  }

  #allowOrigins(headers) {
    headers['access-control-allow-methods'] ??= corsMethods;
    const { origins } = this.#server;
    const { origin } = this.request.headers;
    if (origins === undefined || origins.includes('*')) headers['access-control-allow-origin'] ??= '*';
    else if (origins.includes(origin)) headers['access-control-allow-origin'] ??= origin;
  }

  #send(status, headers, body) {
    clearTimeout(this.#timer);
    if (body !== undefined) headers['content-length'] = Buffer.byteLength(body);
    else if (status !== 204 && status !== 304) headers['content-length'] = 0;
    this.#writeHead(status, headers);
    this.#response.end(body);
  }

  #stream(status, headers, body) {
    this.#writeHead(status, headers);
    pipeline(typeof body.pipe === 'function' ? body : Readable.from(body), this.#response, (error) => {
      if (error && !this.#over) this.#server.log.error({ ...this.#attributes(), error: error.message }, 'answer cut off');
    });
  }

  #writeHead(status, headers) {
    const { request } = this;
    // The peer opens its next connection elsewhere; closing an idle one under it
    // could lose a request. What it still sends of a body that nobody reads is
    // not worth keeping the connection for.
    const unread = !(request.complete || this.#called);
    if (request.httpVersionMajor === 1 && (this.#server.draining || unread)) headers.connection = 'close';
    if (request.httpVersionMajor === 1 && unread) lingerOn(request.socket);
    this.#response.writeHead(status, headers);
    if (!request.complete) request.resume();
  }

  // #fail answers for an error of the caller or of the function. When part of an
  // answer is already out the connection is cut instead, so that no peer takes
  // it for the whole.
  #fail(error) {
    this.#settled = true;
    if (!(error instanceof Refusal)) this.#logFailure(error);
    if (this.#over) {
      this.#server.done();
      return;
    }
    if (this.#response.headersSent) {
      this.#response.destroy();
      return;
    }
    const status = statusOf(error, this.#controller?.signal);
    const headers = { 'content-type': text };
    if (status === 405) headers.allow = 'POST';
    this.#send(status, headers, `${this.#messageFor(error, status)}\n`);
  }

  // #messageFor keeps what an error of an HTTP function says from the caller,
  // who may be anybody, unless it was made for the caller by having a status.
  // The sender of an event is the platform, which keeps it with the dead letter.
  #messageFor(error, status) {
    if (this.#isEvent || ownStatus(error) !== undefined) return messageOf(error);
    return status === 504 ? 'the function passed its deadline' : 'the function failed; its log has the stack';
  }

  #logFailure(error) {
    const status = ownStatus(error);
    if (status === undefined) this.#server.log.error({ ...this.#attributes(), panic: messageOf(error), stack: error?.stack }, 'function panicked');
    else this.#server.log.error({ ...this.#attributes(), status, error: messageOf(error) }, this.#isEvent ? 'event not handled' : 'request not handled');
  }

  #deadlinePassed() {
    if (!this.#called && !this.#settled) {
      this.#fail(new Refusal(408, 'the request body was not there within KNIT_TIMEOUT'));
      return;
    }
    this.#controller?.abort(timeoutError());
    if (this.#settled) return; // an answer under way is not cut
    this.#timer = setTimeout(() => {
      if (this.#settled || this.#over) return;
      this.#server.log.error({ ...this.#attributes(), status: 504 }, 'function passed its deadline');
      this.#send(504, { 'content-type': text }, 'the function passed its deadline\n');
    }, deadlineGrace);
  }

  // #closed runs when the answer is out, or the caller gone. A function that
  // still works then counts until it ends.
  #closed() {
    this.#over = true;
    clearTimeout(this.#timer);
    if (!this.#response.writableFinished) this.#controller?.abort(new Error('the caller is gone'));
    if (this.#server.log.isLevelEnabled('debug')) {
      this.#server.log.debug({ ...this.#attributes(), status: this.#response.statusCode, duration: `${Date.now() - this.#begun}ms` }, 'request');
    }
    if (this.#called && !this.#settled) return;
    this.#settled = true;
    this.#server.done();
  }

  // #attributes names a request in the log; never its query or body, which may
  // hold secrets.
  #attributes() {
    const { method, url, headers } = this.request;
    return {
      method,
      path: url.split('?', 1)[0],
      eventID: headers['ce-id'],
      eventType: headers['ce-type'],
      eventSource: headers['ce-source'],
      traceparent: headers.traceparent,
    };
  }

  log() {
    const { traceparent } = this.request.headers;
    return traceparent === undefined ? this.#server.log : this.#server.log.child({ traceparent });
  }

  query() {
    const { url } = this.request;
    const mark = url.indexOf('?');
    return mark < 0 ? {} : parseForm(url.slice(mark + 1));
  }

  get deadline() { return new Date(this.#begun + this.#timeout); }

  get signal() {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#over) this.#controller.abort(new Error('the caller is gone'));
      else if (Date.now() >= this.deadline) this.#controller.abort(timeoutError());
    }
    return this.#controller.signal;
  }
}

// timeoutOf is the time for one request: that of the process, or what the caller
// says that it has left when that is less.
function timeoutOf(headers, most) {
  const asked = headers['knit-timeout'];
  if (asked === undefined) return most;
  const milliseconds = duration(asked);
  return milliseconds > 0 ? Math.min(milliseconds, most) : most;
}

// lingerOn makes Node, which ends the connection after the answer by this
// method, end only its own half at first.
function lingerOn(socket) {
  socket.destroySoon = () => {
    socket.end();
    setTimeout(() => socket.destroy(), linger);
  };
}

function messageOf(error) { return String(error?.message ?? error); }

function timeoutError() { return new DOMException('the deadline of the request has passed', 'TimeoutError'); }

module.exports = { Exchange };

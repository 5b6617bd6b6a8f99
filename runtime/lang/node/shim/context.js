'use strict';

const { CloudEvent } = require('./event.js');

// Context is the first argument of every function: what Knative's func gives,
// and the request's deadline.
class Context {
  #exchange;

  constructor(exchange, body) {
    const { request } = exchange;
    this.#exchange = exchange;
    this.method = request.method;
    this.headers = request.headers;
    this.httpVersion = request.httpVersion;
    this.httpVersionMajor = request.httpVersionMajor;
    this.httpVersionMinor = request.httpVersionMinor;
    this.contentType = request.headers['content-type'];
    this.body = body;
    this.query = exchange.query();
    this.cloudevent = undefined;
    this.log = exchange.log();
    // func also attaches the query's parameters to the context itself. One that
    // bears the name of a member is found in query only: a caller must not be
    // able to change what the function sees of the request.
    for (const name of Object.keys(this.query)) {
      if (!(name in this)) this[name] = this.query[name];
    }
  }

  // req is the request of node:http or node:http2, its body already read.
  get req() { return this.#exchange.request; }

  // rawBody is the body as it came, as text.
  get rawBody() { return this.#exchange.rawBody.toString(); }

  // signal aborts at the deadline, or when the caller has gone. Hand it to
  // fetch and the like; what they throw then becomes the right status.
  get signal() { return this.#exchange.signal; }

  // deadline is when the platform stops waiting for the answer.
  get deadline() { return this.#exchange.deadline; }

  // cloudEventResponse begins an event as an answer.
  cloudEventResponse(data) { return new CloudEventResponse(data); }
}

// CloudEventResponse builds an event step by step. Returning it does the same
// as returning its response().
class CloudEventResponse {
  #attributes;

  constructor(data) { this.#attributes = { data }; }

  version(value) { return this.#set('specversion', value); }
  id(value) { return this.#set('id', value); }
  type(value) { return this.#set('type', value); }
  source(value) { return this.#set('source', value); }
  response() { return new CloudEvent(this.#attributes); }

  #set(name, value) {
    this.#attributes[name] = value;
    return this;
  }
}

module.exports = { Context, CloudEventResponse };

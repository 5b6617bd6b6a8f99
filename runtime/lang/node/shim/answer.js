'use strict';

const { encode } = require('./encode.js');
const { isEvent } = require('./event.js');
const { CloudEventResponse } = require('./context.js');

// What a function may return, and the answer that it becomes. An answer has a
// status, headers with lower-case names, and a body: a string, bytes, a stream,
// or undefined.

const text = 'text/plain; charset=utf-8';
const json = 'application/json; charset=utf-8';
const bytes = 'application/octet-stream';

// These belong to the connection and to the runtime, which knows the length.
const ownHeaders = new Set(['connection', 'content-length', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']);

// answerOf maps the value that a function returned. onlyEvents refuses all but
// events and nothing. It throws when there is no answer to make of the value.
function answerOf(value, onlyEvents) {
  if (value instanceof CloudEventResponse) value = value.response();
  if (isEvent(value)) return { status: 200, ...encode(value) };
  if (onlyEvents) {
    if (value === undefined || value === null) return { status: 204, headers: {}, body: undefined };
    throw new TypeError(`the function returned ${nameOf(value)}, want a CloudEvent or nothing`);
  }
  if (!value) return { status: 204, headers: {}, body: undefined };
  if (typeof value === 'function' || typeof value === 'symbol') throw new TypeError(`the function returned ${nameOf(value)}, which cannot be sent`);
  if (isWebResponse(value)) return webAnswer(value);
  if (typeof value !== 'object' || isBytes(value) || isStream(value)) return withBody(200, {}, value);
  const headers = headersOf(value.headers);
  const status = value.statusCode ? statusOf(value.statusCode) : 200;
  // As func has it: an object without a body is itself the body, with its
  // statusCode and headers, and always JSON; a body that is a string goes out
  // as it is, as JSON unless the headers say otherwise.
  if (value.body === undefined) return withBody(status, { ...headers, 'content-type': json }, value);
  return withBody(status, typeof value.body === 'string' ? { 'content-type': json, ...headers } : headers, value.body);
}

function statusOf(value) {
  if (Number.isInteger(value) && value >= 200 && value <= 599) return value;
  throw new RangeError(`the function returned statusCode ${nameOf(value)}, want a number from 200 to 599`);
}

function headersOf(given) {
  const headers = {};
  if (typeof given !== 'object' || given === null) return headers;
  for (const [name, value] of typeof given.entries === 'function' ? given.entries() : Object.entries(given)) {
    const lower = name.toLowerCase();
    if (value !== undefined && value !== null && !ownHeaders.has(lower)) headers[lower] = value;
  }
  return headers;
}

// withBody keeps the content type that the function set, and otherwise says
// what the body is.
function withBody(status, headers, body) {
  if (body === null || body === '') return { status, headers, body: undefined };
  if (isStream(body)) return { status, headers: { 'content-type': bytes, ...headers }, body };
  if (isBytes(body)) return { status, headers: { 'content-type': bytes, ...headers }, body };
  if (typeof body === 'string') return { status, headers: { 'content-type': text, ...headers }, body };
  const encoded = JSON.stringify(body);
  if (encoded === undefined) throw new TypeError(`the function returned the body ${nameOf(body)}, which cannot be sent`);
  return { status, headers: { 'content-type': json, ...headers }, body: encoded };
}

function webAnswer(response) {
  const headers = headersOf(response.headers);
  const cookies = response.headers.getSetCookie();
  if (cookies.length > 0) headers['set-cookie'] = cookies;
  return { status: response.status, headers, body: response.body ?? undefined };
}

// isWebResponse does not name the class Response: Node loads its whole fetch
// for that.
function isWebResponse(value) { return typeof value.arrayBuffer === 'function' && typeof value.headers?.getSetCookie === 'function'; }

function isBytes(value) { return value instanceof Uint8Array; }

function isStream(value) {
  return typeof value?.pipe === 'function' || typeof value?.[Symbol.asyncIterator] === 'function';
}

// nameOf describes a value without showing what may be a secret in it.
function nameOf(value) {
  if (typeof value === 'object' && value !== null) return value.constructor?.name ? `an object of ${value.constructor.name}` : 'an object';
  return typeof value === 'string' ? 'a string' : `${typeof value} ${String(value)}`;
}

module.exports = { answerOf, isStream };

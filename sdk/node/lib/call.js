'use strict';

const { myself } = require('./context.js');
const { Event } = require('./event.js');
const { StatusError } = require('./status.js');
const { exchange, failure, maxBytes, structured } = require('./transport.js');
const { dnsName } = require('./emit.js');

// functionURL is the address of another function of the namespace, within the
// cluster: visible or not from outside, scaled to zero or not.
function functionURL(name) {
  const { namespace } = myself();
  if (!dnsName.test(name) || name.includes('.')) throw new StatusError(500, `${JSON.stringify(name)} is no name of a function`);
  if (namespace === '') throw new StatusError(500, "the function's namespace is not known: KNIT_NAMESPACE is not set");
  return `http://${name}.${namespace}.svc.cluster.local`;
}

// request sends a request to another function of the namespace, with the trace
// context and the deadline of the one that is being served, once. It resolves to
// { status, headers, body } for every answer; body is a Buffer.
async function request(context, name, { method = 'GET', path = '/', headers, body } = {}) {
  if (body !== undefined && Buffer.byteLength(body) > maxBytes) {
    throw new StatusError(413, `call function ${name}: the request has ${Buffer.byteLength(body)} bytes, more than ${maxBytes}`);
  }
  const address = functionURL(name) + (path.startsWith('/') ? path : `/${path}`);
  try {
    return await exchange(context, address, { method, headers, body });
  } catch (error) {
    throw new StatusError(error.statusCode ?? 500, `call function ${name}: ${error.message}`, { cause: error });
  }
}

// call posts a value as JSON to another function and resolves to its answer, read
// as JSON; undefined when it has no body. An answer of 300 and above is an error
// with its status.
async function call(context, name, value) {
  const answer = await whole(context, name, 'application/json', JSON.stringify(value ?? null));
  if (answer.body.length === 0) return undefined;
  try {
    return JSON.parse(answer.body);
  } catch (error) {
    throw new StatusError(502, `call function ${name}: its answer is no JSON: ${error.message}`, { cause: error });
  }
}

// send posts an event to another function and resolves to the event that it
// answers with, if it does. It fills in what is missing as emit does.
async function send(context, name, event) {
  const answer = await whole(context, name, structured, JSON.stringify(new Event(event)));
  try {
    return eventOf(answer);
  } catch (error) {
    throw new StatusError(502, `call function ${name}: its answer is no valid event: ${error.message}`, { cause: error });
  }
}

async function whole(context, name, type, body) {
  const answer = await request(context, name, { method: 'POST', headers: { 'content-type': type }, body });
  if (answer.status >= 300) throw failure(answer, `call function ${name}`);
  return answer;
}

// eventOf decodes binary and structured mode.
function eventOf({ headers, body }) {
  const type = headers.get('content-type') ?? '';
  if (type.startsWith(structured)) return strict(JSON.parse(body));
  if (!headers.has('ce-specversion')) return undefined;
  const attributes = {};
  for (const [name, value] of headers) {
    if (name.startsWith('ce-')) attributes[name.slice(3)] = decodeURIComponent(value);
  }
  if (type !== '') attributes.datacontenttype = type;
  return strict({ ...attributes, data: dataOf(type, body) });
}

// strict fills in nothing: what another function says is its own.
function strict(attributes) {
  for (const name of ['id', 'type', 'source']) {
    if (typeof attributes[name] !== 'string' || attributes[name] === '') throw new Error(`${name} is missing`);
  }
  return new Event(attributes);
}

function dataOf(type, body) {
  if (body.length === 0) return undefined;
  if (/^[^;]+[/+]json\b/i.test(type)) return JSON.parse(body);
  return type.startsWith('text/') ? body.toString() : body;
}

module.exports = { call, send, request, functionURL };

'use strict';

const { problemOf, members, specversion } = require('./event.js');

const defaultType = 'application/json; charset=utf-8';
const plainHeader = /^[\x21\x23\x24\x26-\x7e]*$/;

// encode returns headers and body of an event in binary mode. An event that is
// not valid is an error: the sender would otherwise lose the reply without a
// word.
function encode(event) {
  const problem = problemOf(event);
  if (problem) throw new TypeError(`the function returned an invalid event: ${problem}`);
  const headers = { 'ce-specversion': specversion };
  for (const name of ['id', 'type', 'source', 'subject', 'dataschema', 'time']) setHeader(headers, name, event[name]);
  for (const name of Object.keys(event)) {
    if (!members.has(name)) setHeader(headers, name, event[name]);
  }
  const { data } = event;
  if (data === undefined || data === null) {
    if (event.datacontenttype) headers['content-type'] = event.datacontenttype;
    return { headers, body: undefined };
  }
  headers['content-type'] = event.datacontenttype || defaultType;
  return { headers, body: bodyOf(data) };
}

function bodyOf(data) {
  if (data instanceof Uint8Array || typeof data === 'string') return data;
  return JSON.stringify(data);
}

function setHeader(headers, name, value) {
  if (value === undefined || value === null) return;
  headers[`ce-${name}`] = escape(textOf(value));
}

// textOf is the canonical form of an attribute's type (CloudEvents, "Type System").
function textOf(value) {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return String(value);
}

// escape percent-encodes what the HTTP binding, section 3.1.3.2, says may not
// stand in a header value: all but printable ASCII, and space, quote and percent.
function escape(value) {
  if (plainHeader.test(value)) return value;
  let escaped = '';
  for (const byte of Buffer.from(value)) {
    const character = String.fromCharCode(byte);
    escaped += plainHeader.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return escaped;
}

module.exports = { encode };

'use strict';

const { Refusal } = require('./status.js');
const { CloudEvent, problemOf, isJSON, members, attributeName, specversion } = require('./event.js');

// Media types of the CloudEvents HTTP binding, section 3:
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
const structuredType = 'application/cloudevents+json';
const eventTypes = 'application/cloudevents';
const headerPrefix = 'ce-';

// Buffer.from takes anything for base64 and leaves out what is none.
const base64 = /^[A-Za-z0-9+/]*={0,2}$/;

// looksLikeEvent tells events from other requests by their headers.
function looksLikeEvent(headers) {
  return headers['ce-specversion'] !== undefined || headers['ce-id'] !== undefined
    || headers['content-type']?.toLowerCase().startsWith(eventTypes) === true;
}

// checkHeaders refuses what is no event before its body is read.
function checkHeaders(headers) {
  const type = mediaType(headers);
  if (type === structuredType) return;
  if (type.startsWith(eventTypes)) {
    throw new Refusal(415, `content type ${type} is not taken: send one event in binary mode or as ${structuredType}`);
  }
  const version = headers['ce-specversion'];
  if (version === undefined) {
    throw new Refusal(400, `the request is no CloudEvent: it has neither a ce-specversion header nor the content type ${structuredType}`);
  }
  if (version !== specversion) throw new Refusal(400, `ce-specversion ${JSON.stringify(version)} is not taken: want ${specversion}`);
}

function mediaType(headers) {
  const type = headers['content-type'];
  return type === undefined ? '' : type.split(';', 1)[0].trim().toLowerCase();
}

// decode reads the one event of a request whose headers passed checkHeaders.
// Event is the class that the function gets. Errors are Refusals.
function decode(headers, body, Event = CloudEvent) {
  const attributes = mediaType(headers) === structuredType ? structured(body) : binary(headers, body);
  const problem = problemOf(attributes);
  if (problem) throw new Refusal(400, `invalid event: ${problem}`);
  const event = make(Event, attributes);
  // The class fills in the time of its making, which is not the sender's.
  return attributes.time === undefined && event instanceof CloudEvent ? withoutTime(event) : event;
}

// make takes a refusal of the class, which may be the user's, for the sender's
// fault: the attributes are all that it knows.
function make(Event, attributes) {
  try {
    return new Event(attributes, false);
  } catch (error) {
    throw new Refusal(400, `invalid event: ${error.message}`);
  }
}

function withoutTime(event) {
  event.time = undefined;
  return event;
}

function structured(body) {
  let attributes;
  try {
    attributes = JSON.parse(body);
  } catch (error) {
    throw new Refusal(400, `structured event: ${error.message}`);
  }
  if (typeof attributes !== 'object' || attributes === null || Array.isArray(attributes)) {
    throw new Refusal(400, 'structured event: want one JSON object');
  }
  const encoded = attributes.data_base64;
  if (encoded === undefined) return attributes;
  if (typeof encoded !== 'string' || attributes.data !== undefined) {
    throw new Refusal(400, 'structured event: data_base64 must be a string and stand without data');
  }
  if (encoded.length % 4 !== 0 || !base64.test(encoded)) throw new Refusal(400, 'structured event: data_base64 is no base64');
  const { data_base64: _, ...rest } = attributes;
  return { ...rest, data: Buffer.from(encoded, 'base64') };
}

function binary(headers, body) {
  const attributes = {};
  for (const header in headers) {
    if (!header.startsWith(headerPrefix)) continue;
    const name = header.slice(headerPrefix.length);
    if (name === 'datacontenttype') continue; // the Content-Type header holds it
    if (!attributeName.test(name) || (members.has(name) && name.startsWith('data') && name !== 'dataschema')) {
      throw new Refusal(400, `header ${header}: not the name of an attribute`);
    }
    attributes[name] = headerValue(header, headers[header]);
  }
  const type = headers['content-type'];
  if (type !== undefined) attributes.datacontenttype = type;
  if (body.length > 0) attributes.data = binaryData(type, body);
  return attributes;
}

// headerValue undoes percent-encoding. Node reads header bytes as Latin-1; a
// sender that did not encode its UTF-8 is understood all the same.
function headerValue(header, value) {
  const text = /[\x80-\xff]/.test(value) ? Buffer.from(value, 'latin1').toString() : value;
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refusal(400, `header ${header}: broken percent-encoding`);
  }
}

// binaryData gives JSON as a value, text as a string and everything else as bytes.
function binaryData(type, body) {
  if (type === undefined) return body;
  if (isJSON(type)) {
    try {
      return JSON.parse(body);
    } catch (error) {
      throw new Refusal(400, `the event's data is no JSON, as its content type ${type} says: ${error.message}`);
    }
  }
  return /^text\//i.test(type) ? body.toString() : body;
}

module.exports = { decode, checkHeaders, looksLikeEvent, structuredType };

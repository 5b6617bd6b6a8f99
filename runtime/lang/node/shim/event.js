'use strict';

const { randomUUID } = require('node:crypto');

// CloudEvents 1.0 (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md).

const specversion = '1.0';
const required = ['id', 'source', 'type', 'specversion'];
const members = new Set([...required, 'datacontenttype', 'dataschema', 'subject', 'time', 'data', 'data_base64']);
const attributeName = /^[a-z0-9]+$/;
const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i;
const jsonType = /^[^;\s]+\/(?:[^;\s]+\+)?json\s*(?:;|$)/i;

// CloudEvent stands in for the class of the npm package cloudevents, with the
// same members, where the user's code does not bring that package.
class CloudEvent {
  constructor(attributes, strict = true) {
    this.id = attributes.id ?? randomUUID();
    this.time = attributes.time ?? new Date().toISOString();
    this.type = attributes.type;
    this.source = attributes.source;
    this.specversion = attributes.specversion ?? specversion;
    this.datacontenttype = attributes.datacontenttype;
    this.subject = attributes.subject;
    this.dataschema = attributes.dataschema;
    for (const name of Object.keys(attributes)) {
      if (!members.has(name)) this[name] = attributes[name];
    }
    this.data = attributes.data_base64 === undefined ? attributes.data : Buffer.from(attributes.data_base64, 'base64');
    if (strict) this.validate();
  }

  validate() {
    const problem = problemOf(this);
    if (problem) throw new TypeError(`invalid event: ${problem}`);
    return true;
  }

  cloneWith(changes, strict = true) { return new CloudEvent({ ...this, ...changes }, strict); }

  toJSON() {
    const { data, ...rest } = this;
    if (data instanceof Uint8Array) return { ...rest, data_base64: Buffer.from(data).toString('base64') };
    return { ...rest, data };
  }

  toString() { return JSON.stringify(this); }
}

// isEvent knows an event of this class or of any version of the npm package:
// the user's code may bring a copy of its own.
function isEvent(value) {
  return value instanceof CloudEvent || (typeof value?.cloneWith === 'function' && typeof value.specversion === 'string');
}

// problemOf says what is wrong with the attributes of an event, or nothing.
function problemOf(event) {
  for (const name of required) {
    if (typeof event[name] !== 'string' || event[name] === '') return `${name} is ${event[name] === undefined ? 'missing' : 'not a string with content'}`;
  }
  if (event.specversion !== specversion) return `specversion ${JSON.stringify(event.specversion)} is not taken: want ${specversion}`;
  for (const name of ['datacontenttype', 'dataschema', 'subject']) {
    const value = event[name];
    if (value !== undefined && value !== null && (typeof value !== 'string' || value === '')) return `${name} is not a string with content`;
  }
  if (event.time !== undefined && event.time !== null && !(event.time instanceof Date) && !isTime(event.time)) {
    return `time ${JSON.stringify(event.time)} is no RFC 3339 time`;
  }
  for (const name of Object.keys(event)) {
    if (members.has(name) || event[name] === undefined || event[name] === null) continue;
    if (!attributeName.test(name)) return `attribute ${JSON.stringify(name)}: names have lower-case letters and digits only`;
    if (!isAttributeValue(event[name])) return `attribute ${name} is neither string, boolean, whole number, time, URL nor bytes`;
  }
}

function isTime(value) {
  return typeof value === 'string' && rfc3339.test(value) && !Number.isNaN(Date.parse(value));
}

function isAttributeValue(value) {
  return typeof value === 'string' || typeof value === 'boolean' || Number.isInteger(value)
    || value instanceof Date || value instanceof URL || value instanceof Uint8Array;
}

const isJSON = (mediaType) => jsonType.test(mediaType);

module.exports = { CloudEvent, isEvent, problemOf, isJSON, members, attributeName, specversion };

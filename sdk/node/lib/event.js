'use strict';

const { createHash, randomUUID } = require('node:crypto');
const { ownSource } = require('./context.js');
const { StatusError, reject } = require('./status.js');

const core = new Set(['specversion', 'id', 'type', 'source', 'subject', 'time', 'datacontenttype', 'dataschema', 'data', 'data_base64']);
const extensionName = /^[a-z0-9]+$/;

// Event is a CloudEvent. What is missing of id, source and time is filled in.
// Knit's runtime and the npm package cloudevents know it by its members.
class Event {
  constructor(attributes) {
    this.specversion = '1.0';
    this.id = attributes.id || randomUUID();
    this.type = attributes.type;
    this.source = attributes.source || ownSource();
    this.time = timeOf(attributes.time);
    for (const [name, value] of Object.entries(attributes)) {
      if (!(name in this) && value !== undefined && value !== null && name !== 'data' && name !== 'data_base64') this[name] = value;
    }
    const data = attributes.data_base64 === undefined ? attributes.data : Buffer.from(attributes.data_base64, 'base64');
    if (data !== undefined && data !== null) {
      this.datacontenttype ??= 'application/json';
      this.data = data;
    }
    check(this);
  }

  cloneWith(changes) { return new Event({ ...this, ...changes }); }

  // toJSON is structured mode.
  toJSON() {
    const { data, ...rest } = this;
    if (data instanceof Uint8Array) return { ...rest, data_base64: Buffer.from(data).toString('base64') };
    return { ...rest, data };
  }
}

function timeOf(time) {
  if (time === undefined || time === null) return new Date().toISOString();
  return time instanceof Date ? time.toISOString() : time;
}

function check(event) {
  const wrong = (what) => new StatusError(500, `event of type ${JSON.stringify(event.type)} is not valid: ${what}`);
  for (const name of ['id', 'type', 'source', 'time']) {
    if (typeof event[name] !== 'string' || event[name] === '') throw wrong(`${name} must be a string with content`);
  }
  for (const name of Object.keys(event)) {
    if (core.has(name)) continue;
    if (!extensionName.test(name)) throw wrong(`attribute ${JSON.stringify(name)}: names have lower-case letters and digits only`);
    if (!['string', 'boolean', 'number'].includes(typeof event[name])) throw wrong(`attribute ${name} is neither string, boolean nor number`);
  }
}

// typed makes an event function of one whose data has a type:
//
//     export const handle = typed(async (event, context) => ({ type: 'order.taken', data: … }), { parse });
//
// parse turns the data into the type, and throws when it does not fit: the event
// is then answered with 422 and not delivered again. What the function returns
// becomes an event; nothing is none.
//
// A reply without an id gets one that is made from the event it answers: the
// same event delivered twice is answered with the same id.
function typed(handle, options = {}) {
  return async (context, event) => {
    if (event === undefined || event === null) throw reject('the function takes CloudEvents: send one by POST');
    const reply = await handle(withParsed(event, options.parse), context);
    if (reply === undefined || reply === null) return undefined;
    return new Event({ ...reply, id: reply.id || replyId(event, reply.type), subject: reply.subject ?? event.subject });
  };
}

function withParsed(event, parse) {
  if (parse === undefined) return event;
  let data;
  try {
    data = parse(event.data);
  } catch (error) {
    throw new StatusError(422, `event ${event.id} of type ${event.type}: data does not fit: ${error?.message ?? error}`, { cause: error });
  }
  return new Event({ ...event, data });
}

function replyId(event, type) {
  return createHash('sha256').update([event.source, event.id, ownSource(), type].join('\0')).digest('hex').slice(0, 32);
}

module.exports = { Event, typed };

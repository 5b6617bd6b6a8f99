'use strict';

// What the author of a function imports: handlers with typed data, events sent
// to a sink or a broker, calls of other functions, errors with a status. It
// needs nothing but Node.

const { myself, requestId, traceParent } = require('./lib/context.js');
const { StatusError, reject, retry, statusOf, retriable } = require('./lib/status.js');
const { Event, typed } = require('./lib/event.js');
const { emit, broker, sink, url } = require('./lib/emit.js');
const { call, send, request, functionURL } = require('./lib/call.js');
const { maxBytes } = require('./lib/transport.js');

// Node finds the names for `import { … }` by reading this literal.
module.exports = {
  myself, requestId, traceParent,
  StatusError, reject, retry, statusOf, retriable,
  Event, typed,
  emit, broker, sink, url,
  call, send, request, functionURL,
  maxBytes,
};

'use strict';

// myself is what a function knows of itself; empty where nobody said so, as in a
// test.
function myself() {
  const { K_SERVICE = '', KNIT_NAMESPACE = '', K_REVISION = '' } = process.env;
  return { function: K_SERVICE, namespace: KNIT_NAMESPACE, revision: K_REVISION };
}

// ownSource is the default of an event's attribute source.
function ownSource() {
  const self = myself();
  return self.function === '' ? '/functions' : `/functions/${self.namespace}/${self.function}`;
}

// header reads one of the request that is being served.
function header(context, name) {
  const value = context?.headers?.[name];
  return Array.isArray(value) ? value[0] : value ?? '';
}

// traceParent is the W3C trace context of the request, empty without one.
function traceParent(context) { return header(context, 'traceparent'); }

// requestId names the request in logs: its header x-request-id or, when the
// ingress sets none, the trace id of its trace context. It may be empty.
function requestId(context) {
  const id = header(context, 'x-request-id');
  if (id !== '') return id;
  const parts = traceParent(context).split('-');
  return parts.length < 4 ? '' : parts[1];
}

module.exports = { myself, ownSource, header, requestId, traceParent };

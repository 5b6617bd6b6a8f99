'use strict';

const { format } = require('node:util');

// StatusError is an error with a status of HTTP, from 400 to 599. Thrown by an
// event function it decides what the sender does: Knative delivers again after
// 404, 408, 409, 429 and 5xx, and gives up after any other 4xx, so that the
// event goes to the dead letter sink.
class StatusError extends Error {
  constructor(statusCode, message, options) {
    super(message, options);
    this.name = 'StatusError';
    this.statusCode = statusCode;
  }
}

// reject is for events that must not be delivered again: `throw reject('no such item %s', item)`.
function reject(message, ...values) { return new StatusError(422, format(message, ...values)); }

// retry is for events that should be delivered again. An error without a status
// has the same effect.
function retry(message, ...values) { return new StatusError(503, format(message, ...values)); }

// statusOf is what Knit's runtime answers for what an event function threw.
function statusOf(error) {
  for (const value of [error?.statusCode, error?.code]) {
    if (Number.isInteger(value) && value >= 400 && value <= 599) return value;
  }
  return error?.name === 'TimeoutError' ? 504 : 500;
}

// retriable tells whether a sender that gets the status tries again, by the
// rules of Knative's delivery.
function retriable(status) { return [404, 408, 409, 429].includes(status) || status >= 500; }

module.exports = { StatusError, reject, retry, statusOf, retriable };

'use strict';

// Refusal is an answer that the runtime itself decides on: a request that is
// no event, too large, or too late.
class Refusal extends Error {
  constructor(statusCode, message) {
    super(message);
    this.statusCode = statusCode;
  }
}

// ownStatus is the status that an error brings along: statusCode, or a number
// in code as Knative's func has it. Other numbers than those of failures, and
// codes of the system such as ENOENT, are none.
function ownStatus(error) {
  for (const value of [error?.statusCode, error?.code]) {
    if (Number.isInteger(value) && value >= 400 && value <= 599) return value;
  }
}

// statusOf maps what a function threw to the answer. Without a status of its
// own it is a 500: Knative tries again after 5xx, 404, 408, 409 and 429 and
// gives up after any other 4xx.
function statusOf(error, signal) {
  const own = ownStatus(error);
  if (own !== undefined) return own;
  if (error?.name === 'TimeoutError' || (error?.name === 'AbortError' && signal?.reason?.name === 'TimeoutError')) return 504;
  return 500;
}

module.exports = { Refusal, ownStatus, statusOf };

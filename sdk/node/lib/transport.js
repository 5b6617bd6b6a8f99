'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { header } = require('./context.js');
const { StatusError } = require('./status.js');

// maxBytes is the largest event or request that is sent, and the largest answer
// that is read: as much as a function takes unless it says otherwise.
const maxBytes = 10 << 20;

const structured = 'application/cloudevents+json';

// A test puts its own transport and clock into the context, under these names.
const transportKey = Symbol.for('dev.knit.transport');
const clockKey = Symbol.for('dev.knit.clock');

const realClock = { now: () => Date.now(), sleep: (ms, signal) => sleep(ms, undefined, { signal }) };

function clockOf(context) { return context?.[clockKey] ?? realClock; }

// post sends a request with the trace context and the deadline of the one that
// is being served. It follows no redirect and reads the whole answer. Its errors
// have a status: 504 after the deadline, else 502.
async function exchange(context, address, { method = 'POST', headers = {}, body, most }) {
  const all = new Headers(headers);
  for (const name of ['traceparent', 'tracestate', 'x-request-id']) {
    const value = header(context, name);
    if (value !== '' && !all.has(name)) all.set(name, value);
  }
  const left = timeLeft(context, most);
  if (left.fromCaller) all.set('knit-timeout', `${Math.max(1, Math.round(left.ms))}ms`);
  const signals = [AbortSignal.timeout(Math.max(0, Math.round(left.ms)))];
  if (context?.signal instanceof AbortSignal) signals.push(context.signal);
  try {
    const transport = context?.[transportKey] ?? fetch;
    const answer = await transport(address, { method, headers: all, body, redirect: 'manual', signal: AbortSignal.any(signals) });
    return { status: answer.status, headers: answer.headers, body: await readAll(answer) };
  } catch (error) {
    if (error instanceof StatusError) throw error;
    const { hostname } = new URL(address);
    if (error?.name === 'TimeoutError') throw new StatusError(504, `${hostname} did not answer in time`, { cause: error });
    throw new StatusError(502, `no answer from ${hostname}: ${error?.cause?.message ?? error?.message ?? error}`, { cause: error });
  }
}

// timeLeft is until the deadline of the request that is being served, but no
// more than most milliseconds.
function timeLeft(context, most = 2 ** 31 - 1) {
  if (!(context?.deadline instanceof Date)) return { ms: most, fromCaller: false };
  return { ms: Math.min(context.deadline.getTime() - clockOf(context).now(), most), fromCaller: true };
}

async function readAll(answer) {
  if (answer.body === null) return Buffer.alloc(0);
  const chunks = [];
  let size = 0;
  for await (const chunk of answer.body) {
    size += chunk.length;
    if (size > maxBytes) throw new StatusError(500, `the answer has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

// failure is the error that an answer stands for, with the beginning of its text.
function failure(answer, what) {
  const status = answer.status < 400 ? 502 : answer.status; // a redirect or the like
  const said = answer.body.subarray(0, 512).toString().trim();
  return new StatusError(status, `${what}: answered ${answer.status}${said === '' ? '' : `: ${said}`}`);
}

module.exports = { exchange, failure, timeLeft, clockOf, maxBytes, structured };

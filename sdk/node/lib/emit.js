'use strict';

const { myself } = require('./context.js');
const { Event } = require('./event.js');
const { StatusError, retriable, statusOf } = require('./status.js');
const { exchange, failure, timeLeft, clockOf, maxBytes, structured } = require('./transport.js');

// Bounds on the tries of one event; milliseconds.
const tries = 5;
const firstPause = 200; // doubled after each try
const longestPause = 60_000; // a receiver that asks for more is given up
const tryTimeout = 30_000;

// defaultIngress takes the events for brokers of Knative's own class.
const defaultIngress = 'http://broker-ingress.knative-eventing.svc.cluster.local';

const dnsName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

// Destinations: what the function is bound to by K_SINK, a broker of the
// function's namespace, or any address that takes CloudEvents.
const sink = () => ({ name: 'the sink', address: sinkAddress, bound: true });
const broker = (name) => ({
  name: `broker ${name}`, address: () => brokerAddress(name),
  missing: () => `; is there a broker ${name} in the namespace ${myself().namespace}, and is it ready?`,
});
const url = (address) => ({ name: address, address: () => checked(address) });

// emit sends an event and resolves when the receiver has taken it over. It fills
// in what is missing of id, source and time, and passes on the trace context of
// the request that is being served.
//
// After 404, 408, 409, 429, 5xx and failures of the network it tries again, at
// most five times before context.deadline, with growing pauses, or those that
// Retry-After asks for. All tries send the same id. The error that is left has
// the receiver's last status.
async function emit(context, event, { to = sink() } = {}) {
  let whole = new Event(event);
  const what = `emit event ${whole.id} of type ${whole.type} to ${to.name}`;
  const address = to.address();
  if (to.bound) whole = override(whole, process.env.K_CE_OVERRIDES);
  const body = JSON.stringify(whole);
  if (Buffer.byteLength(body) > maxBytes) {
    throw new StatusError(413, `${what}: it has ${Buffer.byteLength(body)} bytes, more than ${maxBytes}; send a reference to the data instead`);
  }
  try {
    await deliver(context, address, body, what);
  } catch (error) {
    if (to.missing === undefined || statusOf(error) !== 404) throw error;
    throw new StatusError(404, error.message + to.missing(), { cause: error });
  }
}

async function deliver(context, address, body, what) {
  for (let attempt = 1; ; attempt++) {
    const { error, asked } = await post(context, address, body, what);
    if (error === undefined) return;
    if (!retriable(statusOf(error)) || attempt === tries) throw error;
    const pause = pauseAfter(attempt, asked);
    if (pause > longestPause || pause > timeLeft(context).ms) throw error;
    await clockOf(context).sleep(pause, context?.signal);
  }
}

async function post(context, address, body, what) {
  let answer;
  try {
    answer = await exchange(context, address, { headers: { 'content-type': structured }, body, most: tryTimeout });
  } catch (error) {
    return { error: new StatusError(statusOf(error), `${what}: ${error.message}`, { cause: error }), asked: 0 };
  }
  if (answer.status < 300) return {};
  return { error: failure(answer, what), asked: retryAfter(answer.headers.get('retry-after'), clockOf(context).now()) };
}

// retryAfter reads the header of this name, in seconds or as a date, in
// milliseconds (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).
function retryAfter(value, now) {
  if (value === null) return 0;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? 0 : Math.max(0, at - now);
}

// pauseAfter is what the receiver asked for, but never less than the own pause,
// half of which is left to chance, so that senders do not come back all at once.
function pauseAfter(attempt, asked) {
  const own = firstPause * 2 ** (attempt - 1);
  return Math.max(asked, own / 2 + Math.random() * own / 2);
}

function sinkAddress() {
  const { K_SINK } = process.env;
  if (!K_SINK) {
    throw new StatusError(500, "the function has no sink: K_SINK is not set; bind one with a SinkBinding, set K_SINK in the Function's env, or send to broker(name)");
  }
  return checked(K_SINK);
}

// checked refuses what is no address, before it is tried again and again.
function checked(address) {
  const parsed = URL.canParse(address) ? new URL(address) : undefined;
  if (parsed === undefined || parsed.host === '' || !['http:', 'https:'].includes(parsed.protocol)) {
    throw new StatusError(500, `${JSON.stringify(address)} is no address: want http://host/path`);
  }
  return address;
}

// brokerAddress is where a broker takes events. KNIT_BROKER_INGRESS replaces the
// ingress of Knative's own brokers by that of another class.
function brokerAddress(name) {
  const { namespace } = myself();
  if (!dnsName.test(name)) throw new StatusError(500, `${JSON.stringify(name)} is no name of a broker`);
  if (namespace === '') throw new StatusError(500, "the function's namespace is not known: KNIT_NAMESPACE is not set");
  const ingress = process.env.KNIT_BROKER_INGRESS || defaultIngress;
  return checked(`${ingress.replace(/\/+$/, '')}/${namespace}/${name}`);
}

// override sets the attributes that a binding asks for.
function override(event, overrides) {
  if (!overrides) return event;
  let extensions;
  try {
    ({ extensions } = JSON.parse(overrides));
    return new Event({ ...event, ...extensions });
  } catch (error) {
    throw new StatusError(500, `K_CE_OVERRIDES cannot be applied: ${error.message}`, { cause: error });
  }
}

module.exports = { emit, broker, sink, url, dnsName };

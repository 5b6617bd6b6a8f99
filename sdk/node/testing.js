'use strict';

// Calls the handlers of a function with events and keeps what they send, without
// a server and without a cluster. Tests import it; a function itself never does.

const { Event } = require('./lib/event.js');
const { retriable, statusOf } = require('./lib/status.js');

const identity = {
  K_SERVICE: 'function', K_CONFIGURATION: 'function', K_REVISION: 'function-00001', KNIT_NAMESPACE: 'test',
  K_SINK: 'http://sink.test', K_CE_OVERRIDES: '', KNIT_BROKER_INGRESS: 'http://broker.test',
};

// Kit is the surroundings of a function in a test: an identity, a sink, brokers
// and other functions, and a clock that does not wait.
class Kit {
  sent = [];
  slept = 0; // milliseconds that the function would have waited
  #answers = new Map();
  #headers;
  #deadline;

  constructor({ headers = {}, timeout } = {}) {
    Object.assign(process.env, identity);
    this.#headers = headers;
    this.#deadline = timeout === undefined ? undefined : new Date(Date.now() + timeout);
  }

  // answer says what a receiver answers, by its name in sent: "sink",
  // "broker/<name>", "function/<name>", or the address. The others take
  // everything with 202. It may be a function of what was sent.
  answer(to, response) { this.#answers.set(to, response); }

  // context is that of a request: what is sent with it ends in the kit.
  get context() {
    const log = { child: () => log };
    for (const level of ['trace', 'debug', 'info', 'warn', 'error']) log[level] = () => {};
    return {
      method: 'POST', headers: this.#headers, query: {}, log, deadline: this.#deadline, signal: new AbortController().signal,
      [Symbol.for('dev.knit.transport')]: (address, init) => this.#take(address, init),
      [Symbol.for('dev.knit.clock')]: { now: () => Date.now() + this.slept, sleep: async (ms) => { this.slept += ms; } },
    };
  }

  // deliver calls a handler with an event, as Knit's runtime would, and tells
  // what the sender gets: { reply, error, status, retried }.
  async deliver(handle, event) {
    try {
      const reply = await handle({ ...this.context, cloudevent: event }, new Event(event));
      if (reply === undefined || reply === null) return { status: 204, retried: false };
      return { reply: new Event(JSON.parse(JSON.stringify(new Event(reply)))), status: 200, retried: false };
    } catch (error) {
      const status = statusOf(error);
      return { error, status, retried: retriable(status) };
    }
  }

  async #take(address, { method, headers, body }) {
    const text = body === undefined ? '' : Buffer.from(body).toString();
    const sent = { to: receiver(address), method, headers: Object.fromEntries(headers), body: text };
    if (sent.headers['content-type']?.startsWith('application/cloudevents+json')) sent.event = JSON.parse(text);
    this.sent.push(sent);
    const answer = this.#answers.get(sent.to);
    if (typeof answer === 'function') return answer(sent);
    return answer === undefined ? new Response(null, { status: 202 }) : answer.clone();
  }
}

function receiver(address) {
  const { origin, hostname, pathname } = new URL(address);
  if (origin === identity.K_SINK) return 'sink';
  const prefix = `/${identity.KNIT_NAMESPACE}/`;
  if (origin === identity.KNIT_BROKER_INGRESS && pathname.startsWith(prefix)) return `broker/${pathname.slice(prefix.length)}`;
  const inside = `.${identity.KNIT_NAMESPACE}.svc.cluster.local`;
  return hostname.endsWith(inside) ? `function/${hostname.slice(0, -inside.length)}` : address;
}

module.exports = { Kit };

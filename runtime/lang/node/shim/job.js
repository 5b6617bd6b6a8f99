'use strict';

const fs = require('node:fs');
const { answerOf, isStream } = require('./answer.js');
const { decode, structuredType } = require('./decode.js');
const { CloudEvent } = require('./event.js');
const { Context } = require('./context.js');
const { ownStatus } = require('./status.js');

// Job mode: one call of the function, and the end.

// A termination message of Kubernetes holds no more.
const maxResultBytes = 4096;

// Statuses below 500 after which another try may help.
const retried = [404, 408, 409, 429];

// Input is a wrong setting of a job.
class Input extends Error {}

// runJob calls the function with the event of KNIT_JOB_EVENT or the parameters
// of KNIT_JOB_DATA and returns the exit code.
async function runJob(loaded, env, settings, log, stop, exit) {
  const job = new Job(settings, log);
  // Node ends when nothing can happen any more, as if all had gone well.
  process.once('beforeExit', () => job.giveUp(new Error('the function waits for what can never come')));
  stop.then(() => job.cancel(new Error('the job was told to stop before it was done')));
  const begun = Date.now();
  let names;
  try {
    const { context, argument } = job.prepare(loaded, env);
    names = { index: context.job.index, eventID: context.cloudevent?.id, eventType: context.cloudevent?.type, eventSource: context.cloudevent?.source };
    const value = await Promise.race([loaded.handle(context, argument), job.cancelled]);
    const result = await resultOf(value, loaded.kind === 'cloudevent');
    await loaded.shutdown();
    writeResult(env.KNIT_JOB_RESULT, result, log);
    log.info({ ...names, duration: `${Date.now() - begun}ms` }, 'job succeeded');
    return exit.ok;
  } catch (error) {
    if (error instanceof Input) {
      log.error({ error: error.message }, 'function not started');
      return exit.usage;
    }
    log.error({ ...names, panic: String(error?.message ?? error), stack: error?.stack }, 'job failed');
    const status = ownStatus(error);
    return status >= 400 && status < 500 && !retried.includes(status) ? exit.final : exit.failed;
  }
}

// Job is to the context what an exchange is when serving.
class Job {
  controller = new AbortController();
  request = { method: 'POST', url: '/', headers: {}, httpVersion: '1.1', httpVersionMajor: 1, httpVersionMinor: 1 };
  rawBody = Buffer.alloc(0);
  deadline;
  cancelled; // rejects when the function has not ended in time after it was told to
  #giveUp;
  #grace;
  #log;

  // A job has a deadline only when it is given one: what runs it has its own.
  constructor(settings, log) {
    this.#log = log;
    this.#grace = settings.drainDelay;
    this.cancelled = new Promise((_, reject) => { this.#giveUp = reject; });
    if (!settings.timeoutIsSet) return;
    this.deadline = new Date(Date.now() + settings.timeout);
    setTimeout(() => this.cancel(new DOMException('the job passed its deadline', 'TimeoutError')), settings.timeout);
  }

  // cancel tells the function by its signal, and then waits no longer than
  // KNIT_DRAIN_DELAY for it.
  cancel(reason) {
    this.controller.abort(reason);
    setTimeout(() => this.giveUp(reason), this.#grace);
  }

  giveUp(reason) { this.#giveUp(reason); }

  // prepare makes the arguments of the one call.
  prepare(loaded, env) {
    const event = readJSON(env, 'KNIT_JOB_EVENT');
    const data = event === undefined ? readJSON(env, 'KNIT_JOB_DATA') : undefined;
    if (event !== undefined && !/^\s*\{/.test(event)) throw new Input('environment variable KNIT_JOB_EVENT: want a CloudEvent as a JSON object');
    this.rawBody = Buffer.from(event ?? data ?? '');
    const { headers } = this.request;
    if (event !== undefined) headers['content-type'] = structuredType;
    if (data !== undefined) headers['content-type'] = 'application/json';
    const index = env.JOB_COMPLETION_INDEX || undefined;
    if (index !== undefined) headers['knit-job-index'] = index;
    const context = new Context(this, data === undefined ? undefined : parse('KNIT_JOB_DATA', data));
    context.job = { index: index === undefined ? undefined : Number(index) };
    context.cloudevent = this.#event(loaded, event, context.body, index);
    if (context.cloudevent !== undefined) context.body = context.cloudevent.data;
    else if (event !== undefined) context.body = this.rawBody; // as an HTTP function gets it
    return { context, argument: context.cloudevent ?? context.body };
  }

  // #event is what a function that takes events is called with. One that takes
  // nothing else gets its parameters as an event too.
  #event(loaded, event, data, index) {
    const extensions = index === undefined ? {} : { jobindex: index };
    const Event = loaded.eventClass ?? CloudEvent;
    if (event !== undefined && loaded.kind !== 'http') return new Event({ ...decode({ 'content-type': structuredType }, event), ...extensions }, false);
    if (event === undefined && loaded.kind === 'cloudevent') return new Event({ type: 'dev.knit.job', source: '/knit/job', data, ...extensions }, false);
  }

  get signal() { return this.controller.signal; }
  query() { return {}; }
  log() { return this.#log; }
}

// readJSON gives the variable's value, or the content of the file that it names:
// JSON never begins with a slash.
function readJSON(env, name) {
  const value = env[name];
  if (!value) return undefined;
  if (!value.startsWith('/')) return value;
  try {
    return fs.readFileSync(value, 'utf8');
  } catch (error) {
    throw new Input(`environment variable ${name}: read ${value}: ${error.message}`);
  }
}

function parse(name, text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Input(`environment variable ${name}: no JSON: ${error.message}`);
  }
}

// resultOf is the body of what the function would have answered, of an event its
// data. A status of failure is a failure of the job.
async function resultOf(value, onlyEvents) {
  const { status, body } = answerOf(value, onlyEvents);
  if (status >= 300) throw Object.assign(new Error(`the function returned statusCode ${status}`), { statusCode: status });
  if (!isStream(body)) return body === undefined ? undefined : Buffer.from(body);
  const chunks = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size <= maxResultBytes + 1) chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks);
}

// writeResult leaves the result where the platform reads it. A job whose work is
// done does not fail for a result that cannot be kept.
function writeResult(file, result, log) {
  if (!file || result === undefined) return;
  if (result.length > maxResultBytes) {
    log.error({ error: `it has ${result.length} bytes, more than ${maxResultBytes}; store it elsewhere and return where` }, 'result not kept');
    return;
  }
  try {
    fs.writeFileSync(file, result);
  } catch (error) {
    log.error({ error: error.message }, 'result not kept');
  }
}

module.exports = { runJob };

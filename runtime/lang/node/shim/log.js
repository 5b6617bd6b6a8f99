'use strict';

const util = require('node:util');

// The structured log: one JSON object per line on standard output, with time
// (UTC), level, msg and fields. It has the methods of pino's loggers that
// functions call as context.log, for Knative's func promises them.

const ranks = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, fatal: 60, silent: Infinity };
const names = { trace: 'DEBUG', debug: 'DEBUG', info: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'ERROR' };

class Log {
  #level;
  #rank;
  #fields;

  constructor(level, fields) {
    this.level = level;
    this.#fields = fields;
  }

  get level() { return this.#level; }

  set level(name) {
    if (!(name in ranks)) throw new RangeError(`unknown log level ${util.inspect(name)}; use one of ${Object.keys(ranks).join(', ')}`);
    this.#level = name;
    this.#rank = ranks[name];
  }

  isLevelEnabled(name) { return ranks[name] >= this.#rank; }

  // child is a log whose lines all carry the given fields.
  child(fields) { return new Log(this.level, { ...this.#fields, ...fields }); }

  trace(...args) { this.#write('trace', args); }
  debug(...args) { this.#write('debug', args); }
  info(...args) { this.#write('info', args); }
  warn(...args) { this.#write('warn', args); }
  error(...args) { this.#write('error', args); }
  fatal(...args) { this.#write('fatal', args); }
  silent() {}

  #write(level, args) {
    if (ranks[level] < this.#rank) return;
    let [first, ...rest] = args;
    let fields = this.#fields;
    let message = first;
    if (first instanceof Error) {
      fields = { ...fields, error: first.message, stack: first.stack };
      message = rest.length > 0 ? rest.shift() : first.message;
    } else if (typeof first === 'object' && first !== null) {
      fields = { ...fields, ...first };
      message = rest.shift();
    }
    if (typeof message === 'string' && rest.length > 0) message = interpolate(message, rest);
    print(level, message, fields);
  }
}

// interpolate fills printf's placeholders. Arguments without one are left out,
// as pino does: an object that is only passed along, such as the context with
// its headers, shall not end up in the log by accident.
function interpolate(message, args) {
  const wanted = message.match(/%[sdifjoOc]/g)?.length ?? 0;
  return wanted === 0 ? message : util.format(message, ...args.slice(0, wanted));
}

function print(level, message, fields) {
  const line = { time: '', level: '', msg: '', ...fields };
  line.time = new Date().toISOString(); // whatever the fields say
  line.level = names[level];
  if (message !== undefined) line.msg = message;
  process.stdout.write(serialize(line) + '\n');
}

// serialize never fails: what JSON cannot express is written as util.inspect
// writes it.
function serialize(line) {
  try {
    return JSON.stringify(line);
  } catch {
    const safe = {};
    for (const [key, value] of Object.entries(line)) {
      safe[key] = value === null || typeof value === 'string' || typeof value === 'number' ? value : util.inspect(value);
    }
    return JSON.stringify(safe);
  }
}

// joinConsole makes what the user's code prints by console part of the log.
function joinConsole(log) {
  const methods = { trace: 'debug', debug: 'debug', log: 'info', info: 'info', warn: 'warn', error: 'error' };
  for (const [method, level] of Object.entries(methods)) {
    console[method] = (...args) => {
      if (log.isLevelEnabled(level)) print(level, util.format(...args));
    };
  }
}

module.exports = { Log, joinConsole };

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

// loadFunction imports the user's module and finds the function in it. Errors
// are for the function's author: they name the file, and the line where there
// is one.
async function loadFunction(entry, kind = '') {
  if (!entry) throw new Error('no file of the function is given: start the runtime as `node main.js FILE`');
  const file = path.resolve(entry);
  if (!fs.existsSync(file)) throw new Error(`${entry}: no such file in ${process.cwd()}; is it what "main" in package.json names, and did the build script write it?`);
  const exported = await importModule(file).catch((error) => { throw explained(error, entry); });
  return new LoadedFunction(findHandlers(exported, entry), kind, file);
}

// importModule prefers require: it is faster for CommonJS and takes ES modules
// too, all but those that await at the top.
async function importModule(file) {
  if (/\.m[jt]s$/.test(file)) return import(pathToFileURL(file).href);
  try {
    return require(file);
  } catch (error) {
    if (error?.code !== 'ERR_REQUIRE_ASYNC_MODULE' && error?.code !== 'ERR_REQUIRE_ESM') throw error;
    return import(pathToFileURL(file).href);
  }
}

// explained puts the place of a syntax error into the message. Node prints it
// above the stack of an error in CommonJS, and keeps it to itself for modules.
function explained(error, entry) {
  if (!(error instanceof Error)) return new Error(`${entry} threw ${String(error)} while it was loaded`);
  if (!(error instanceof SyntaxError)) return error;
  const place = /^(\/[^\n]*?:\d+)\n/.exec(error.stack ?? '');
  if (place) return withoutStack(`${path.relative(process.cwd(), place[1])}: ${error.message}`);
  const { stderr } = require('node:child_process').spawnSync(process.execPath,
    ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules', path.join(__dirname, 'check.js'), entry], { encoding: 'utf8', timeout: 10_000 });
  const told = stderr.replace(/\s*Node\.js v\S+\s*$|^    at .*\n/gm, '').trim();
  return told ? withoutStack(told) : error;
}

// withoutStack is an error whose message says all; the stack would be the
// runtime's own.
function withoutStack(message) {
  const error = new Error(message);
  error.stack = undefined;
  return error;
}

// findHandlers returns the object whose methods are the function's. The module
// may be the function itself, or hold handle by name or in its default export.
function findHandlers(exported, entry) {
  for (const candidate of [exported, exported?.default, exported?.default?.default]) {
    if (typeof candidate === 'function' && typeof candidate.handle !== 'function') return { handle: candidate };
    if (typeof candidate?.handle === 'function') return candidate;
  }
  const names = exported && typeof exported === 'object' ? Object.keys(exported) : [];
  throw new Error(`${entry} exports no function handle (it exports ${names.length > 0 ? names.join(', ') : 'nothing'}); `
    + 'write `module.exports = { handle }` or `export { handle }` with `async function handle(context, body) {}`');
}

// LoadedFunction is the user's code, ready to be called. Only handle has to be
// there.
class LoadedFunction {
  constructor(handlers, kind, file) {
    this.handlers = handlers;
    this.kind = kind; // "http", "cloudevent" or "": each request decides
    this.file = file;
    this.eventClass = loadedEventClass();
    for (const name of ['init', 'shutdown', 'liveness', 'readiness', 'cors', 'upgrade']) {
      const given = handlers[name];
      if (given !== undefined && typeof given !== 'function') throw new Error(`${path.basename(file)} exports ${name}, but it is no function`);
    }
  }

  handle(context, data) { return this.handlers.handle(context, data); }

  // init runs before the process listens.
  async init() { await this.handlers.init?.(); }

  // shutdown runs after the last request.
  async shutdown() { await this.handlers.shutdown?.(); }
}

// loadedEventClass is the class of the npm package cloudevents when the user's
// code has loaded it: events of this class are then what the function gets, so
// that instanceof and the package's own functions know them.
function loadedEventClass() {
  for (const [name, module] of Object.entries(require.cache)) {
    if (/\/node_modules\/cloudevents\/dist\/index\.js$/.test(name) && typeof module.exports.CloudEvent === 'function') return module.exports.CloudEvent;
  }
}

module.exports = { loadFunction };

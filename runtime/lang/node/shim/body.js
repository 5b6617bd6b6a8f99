'use strict';

const { Refusal } = require('./status.js');

// Bounds on nested names in forms and queries; what goes beyond keeps its
// brackets in the name.
const maxDepth = 5;
const maxParameters = 1000;

// parseBody gives an HTTP function what func gives it: JSON as a value, forms as
// an object, plain text as a string and everything else as bytes. No body at
// all is undefined.
function parseBody(contentType, bytes) {
  const type = contentType === undefined ? '' : contentType.split(';', 1)[0].trim().toLowerCase();
  if (type === 'text/plain') return bytes.toString();
  if (bytes.length === 0) return undefined;
  if (type === 'application/json') {
    try {
      return JSON.parse(bytes);
    } catch (error) {
      throw new Refusal(400, `the body is no JSON, as its content type ${type} says: ${error.message}`);
    }
  }
  if (type === 'application/x-www-form-urlencoded') return parseForm(bytes.toString(), true);
  return bytes;
}

// parseForm reads parameters; a name that comes again gives an array. Nested
// names such as a[b] and a[] become objects and arrays when asked for.
function parseForm(text, nested = false) {
  const form = {};
  let count = 0;
  for (const [name, value] of new URLSearchParams(text)) {
    if (++count > maxParameters) break;
    const path = nested ? pathOf(name) : [name];
    if (!path.includes('__proto__')) setAt(form, path, value);
  }
  return form;
}

// pathOf splits a[b][] into a, b and an empty string.
function pathOf(name) {
  const match = /^([^[\]]+)((?:\[[^[\]]*\])+)$/.exec(name);
  if (!match) return [name];
  const inner = match[2].slice(1, -1).split('][');
  return inner.length <= maxDepth ? [match[1], ...inner] : [name];
}

function setAt(form, path, value) {
  let at = form;
  for (let i = 0; i < path.length - 1; i++) {
    const existing = Object.hasOwn(at, path[i]) ? at[path[i]] : undefined;
    if (typeof existing !== 'object') at[path[i]] = path[i + 1] === '' ? [] : {};
    at = at[path[i]];
  }
  const last = path.at(-1);
  if (last === '') {
    if (Array.isArray(at)) at.push(value);
    return;
  }
  at[last] = Object.hasOwn(at, last) ? [].concat(at[last], value) : value;
}

module.exports = { parseBody, parseForm };

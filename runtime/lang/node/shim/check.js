'use strict';

// Finds what would keep a function from being loaded, without running any of it:
//
//     node --experimental-vm-modules check.js ENTRY
//
// It reads the entry and the files that it imports by relative names, strips
// types, and compiles. The build calls it, so that a syntax error ends the build
// with file and line instead of the first pod; the loader calls it when Node does
// not tell the line.

const fs = require('node:fs');
const { stripTypeScriptTypes } = require('node:module');
const path = require('node:path');
const vm = require('node:vm');

const extensions = ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts'];
const maxFiles = 2000;

// Of an error that nobody catches, Node prints file, line, the line itself and a
// mark below the column; the checker's own stack is of little use beside that.
Error.stackTraceLimit = 1;

function checkAll(entry) {
  const waiting = [path.resolve(entry)];
  const seen = new Set(waiting);
  for (const file of waiting) {
    for (const name of check(file)) {
      const imported = path.resolve(path.dirname(file), name);
      const real = [imported, ...extensions.map((e) => imported + e), ...extensions.map((e) => path.join(imported, 'index' + e))].find(isFile);
      if (real === undefined || seen.has(real) || seen.size >= maxFiles || !extensions.includes(path.extname(real))) continue;
      seen.add(real);
      waiting.push(real);
    }
  }
}

// check compiles one file and returns the relative names that it imports.
function check(file) {
  const extension = path.extname(file);
  if (!extensions.includes(extension)) return [];
  let source = fs.readFileSync(file, 'utf8').replace(/^#!/, '//');
  if (extension.endsWith('ts')) source = stripped(file, source);
  switch (formOf(file)) {
    case 'module': return compileModule(file, source);
    case 'commonjs': return compileScript(file, source);
  }
  // Node looks for itself: CommonJS, unless only a module can be written so.
  try {
    return compileScript(file, source);
  } catch (error) {
    if (/^\s*(import|export)\b/m.test(source) || /\bawait\b/.test(source)) return compileModule(file, source);
    throw error;
  }
}

function stripped(file, source) {
  try {
    return stripTypeScriptTypes(source);
  } catch (error) {
    process.stderr.write(`${nameOf(file)}${error.stack}\n`); // the stack begins with the line
    process.exit(1);
  }
}

function formOf(file) {
  const extension = path.extname(file);
  if (extension.startsWith('.m')) return 'module';
  if (extension.startsWith('.c')) return 'commonjs';
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const manifest = path.join(folder, 'package.json');
    if (isFile(manifest)) return JSON.parse(fs.readFileSync(manifest, 'utf8')).type;
    if (folder === path.dirname(folder)) return undefined;
  }
}

function compileModule(file, source) {
  return new vm.SourceTextModule(source, { identifier: nameOf(file) }).dependencySpecifiers.filter(isRelative);
}

function compileScript(file, source) {
  vm.compileFunction(source, ['exports', 'require', 'module', '__filename', '__dirname'], { filename: nameOf(file) });
  return [...source.matchAll(/\brequire\(\s*(['"])(\.\.?\/[^'"]+)\1\s*\)/g)].map((match) => match[2]);
}

function isRelative(name) { return name.startsWith('./') || name.startsWith('../'); }

function isFile(name) { return fs.statSync(name, { throwIfNoEntry: false })?.isFile() === true; }

function nameOf(file) { return path.relative(process.cwd(), file); }

checkAll(process.argv[2]);

'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { handle } = require('./index.js');

test('a request is greeted', async () => {
  assert.equal(await handle({}), 'Hello from Knit!\n');
});

test('an event is logged', async () => {
  const logged = [];
  const log = { info: (fields) => logged.push(fields) };
  assert.equal(await handle({ log, cloudevent: { type: 'dev.knit.hello', source: '/test', id: '1' } }), undefined);
  assert.deepEqual(logged, [{ type: 'dev.knit.hello', source: '/test', id: '1' }]);
});

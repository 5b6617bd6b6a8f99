import assert from 'node:assert/strict';
import { test } from 'node:test';
import { handle } from './index.ts';
import type { Context } from './knit.d.ts';

const context = { method: 'POST', query: {}, log: { info() {} } } as unknown as Context;

test('greets the world', async () => {
  assert.deepEqual(await handle(context), { message: 'Hello, world!' });
});

test('greets who is named in the body, then in the query', async () => {
  assert.deepEqual(await handle(context, { name: 'Ada' }), { message: 'Hello, Ada!' });
  assert.deepEqual(await handle({ ...context, query: { name: 'Grace' } }), { message: 'Hello, Grace!' });
});

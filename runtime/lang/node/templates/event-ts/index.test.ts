import assert from 'node:assert/strict';
import { test } from 'node:test';
import { greet } from './index.ts';

test('greets the world', () => {
  assert.deepEqual(greet(), { message: 'Hello, world!' });
});

test('greets who is named', () => {
  assert.deepEqual(greet({ name: 'Ada' }), { message: 'Hello, Ada!' });
});

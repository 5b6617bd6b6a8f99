import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kit } from '@knit-dev/sdk/testing';
import { handle } from './index.ts';

test('a request is greeted', async () => {
  assert.equal(await handle(new Kit().context), 'Hello from Knit!\n');
});

test('an event is logged', async () => {
  const logged: object[] = [];
  const { context } = new Kit();
  context.log.info = (fields: object | string) => logged.push(Object(fields));
  context.cloudevent = { specversion: '1.0', type: 'dev.knit.hello', source: '/test', id: '1' };
  assert.equal(await handle(context), undefined);
  assert.deepEqual(logged, [{ type: 'dev.knit.hello', source: '/test', id: '1' }]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kit } from '@knit-dev/sdk/testing';
import { handle, limitOf } from './index.ts';

const placed = (data: unknown, id = '1') => ({ id, type: 'shop.order.placed', source: '/functions/test/order-api', subject: 'o-1', data });

test('orders are paid or declined', async (t) => {
  const cases = {
    'an ordinary order': { order: { customer: 'ada', cents: 1200 }, type: 'shop.payment.accepted', reason: undefined },
    'a gift': { order: { customer: 'ada', cents: 0 }, type: 'shop.payment.accepted', reason: undefined },
    'at the limit': { order: { customer: 'ada', cents: 100_000 }, type: 'shop.payment.accepted', reason: undefined },
    'over the limit': { order: { customer: 'ada', cents: 100_001 }, type: 'shop.payment.declined', reason: '100001 cents are over the limit of 100000' },
    'an empty account': { order: { customer: 'broke', cents: 1 }, type: 'shop.payment.declined', reason: 'the account of broke is empty' },
  };
  for (const [name, c] of Object.entries(cases)) {
    await t.test(name, async () => {
      const { reply, status } = await new Kit().deliver(handle, placed({ id: 'o-1', lines: [], ...c.order }));
      assert.equal(status, 200);
      assert.equal(reply?.type, c.type);
      assert.equal(reply?.data.order, 'o-1');
      assert.equal(reply?.data.reason, c.reason);
      assert.equal(reply?.subject, 'o-1');
    });
  }
});

test('the same order has one payment', async () => {
  const kit = new Kit();
  const order = { id: 'o-1', customer: 'ada', cents: 1200 };
  const [first, again, other] = [await kit.deliver(handle, placed(order)), await kit.deliver(handle, placed(order)), await kit.deliver(handle, placed(order, '2'))];
  assert.equal(first.reply?.id, again.reply?.id);
  assert.notEqual(first.reply?.id, other.reply?.id);
});

test('what is no order is not delivered again', async () => {
  for (const data of [undefined, [], 'order', { customer: 'ada', cents: 1 }, { id: 'o-1', cents: 1 }, { id: 'o-1', customer: 'ada', cents: 1.5 }]) {
    const { status, retried } = await new Kit().deliver(handle, placed(data));
    assert.deepEqual({ status, retried }, { status: 422, retried: false });
  }
});

test('the limit is a setting', () => {
  assert.equal(limitOf(undefined), 100_000);
  assert.equal(limitOf('50'), 50);
  for (const wrong of ['much', '-1', '1.5']) assert.throws(() => limitOf(wrong), /PAYMENT_LIMIT_CENTS/);
});

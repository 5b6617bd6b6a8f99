import { typed, type CloudEvent, type Context } from '@knit-dev/sdk';
import { parseOrder, type Order } from './order.ts';

export interface Decision {
  order: string;
  cents: number;
  reason?: string;
}

const limit = limitOf(process.env.PAYMENT_LIMIT_CENTS);

// handle answers an order with a payment. The same order is always answered with
// the same event, so one that is delivered twice is paid once.
export const handle = typed<Order, Decision>((event: CloudEvent<Order> & { data: Order }, context: Context) => {
  const order = event.data;
  const reason = objection(order, limit);
  context.log.info({ order: order.id, cents: order.cents, reason }, reason === undefined ? 'payment accepted' : 'payment declined');
  return {
    type: reason === undefined ? 'shop.payment.accepted' : 'shop.payment.declined',
    data: { order: order.id, cents: order.cents, reason },
  };
}, { parse: parseOrder });

/** objection is why an order is not paid; undefined when it is. */
export function objection(order: Order, most: number): string | undefined {
  if (order.customer === 'broke') return 'the account of broke is empty';
  if (order.cents > most) return `${order.cents} cents are over the limit of ${most}`;
  return undefined;
}

/** limitOf reads the setting; a wrong one ends the start of the process. */
export function limitOf(text: string | undefined): number {
  if (text === undefined || text === '') return 100_000;
  if (!/^\d{1,12}$/.test(text)) throw new Error(`PAYMENT_LIMIT_CENTS=${JSON.stringify(text)}: want a whole number of cents`);
  return Number(text);
}

/** What payment needs to know of an order. */
export interface Order {
  id: string;
  customer: string;
  cents: number;
}

/** parseOrder takes data that is an order and throws for everything else. */
export function parseOrder(data: unknown): Order {
  const { id, customer, cents } = (data ?? {}) as Record<string, unknown>;
  if (typeof id !== 'string' || id === '') throw new TypeError('id is missing');
  if (typeof customer !== 'string' || customer === '') throw new TypeError('customer is missing');
  if (typeof cents !== 'number' || !Number.isInteger(cents) || cents < 0) throw new TypeError('cents is no amount');
  return { id, customer, cents };
}

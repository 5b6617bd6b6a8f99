import type { CloudEvent, Context, Event, EventInit } from './index.d.ts';

export interface Sent {
  /** "sink", "broker/<name>", "function/<name>", or the address. */
  to: string;
  method: string;
  headers: Record<string, string>;
  body: string;
  event?: CloudEvent<any>;
}

export interface Result {
  /** What the sender gets back. */
  reply?: Event<any>;
  error?: any;
  /** What Knit's runtime answers with. */
  status: number;
  /** Whether Knative would deliver the event again. */
  retried: boolean;
}

/** The surroundings of a function in a test. */
export declare class Kit {
  constructor(options?: { headers?: Record<string, string>; timeout?: number });
  sent: Sent[];
  /** Milliseconds that the function would have waited. */
  slept: number;
  readonly context: Context;
  answer(to: string, response: Response | ((sent: Sent) => Response | Promise<Response>)): void;
  deliver(handle: (context: Context, event: any) => unknown, event: EventInit): Promise<Result>;
}

/** A CloudEvent whose data is a T. */
export interface CloudEvent<T = unknown> {
  specversion: string;
  id: string;
  type: string;
  source: string;
  subject?: string;
  time?: string;
  datacontenttype?: string;
  dataschema?: string;
  data?: T;
  [extension: string]: unknown;
}

/** What an event is made from: the rest is filled in. */
export interface EventInit<T = unknown> {
  type: string;
  id?: string;
  /** Default: /functions/<namespace>/<function>. */
  source?: string;
  /** Default of a reply: that of the event it answers. */
  subject?: string;
  time?: string | Date;
  datacontenttype?: string;
  dataschema?: string;
  data?: T;
  [extension: string]: unknown;
}

export declare class Event<T = unknown> implements CloudEvent<T> {
  constructor(attributes: EventInit<T>);
  specversion: string;
  id: string;
  type: string;
  source: string;
  time: string;
  subject?: string;
  datacontenttype?: string;
  dataschema?: string;
  data?: T;
  [extension: string]: unknown;
  cloneWith<U = T>(changes: Partial<EventInit<U>>): Event<U>;
  toJSON(): object;
}

export interface Logger {
  trace(message: string, ...values: unknown[]): void;
  trace(fields: object, message?: string): void;
  debug(message: string, ...values: unknown[]): void;
  debug(fields: object, message?: string): void;
  info(message: string, ...values: unknown[]): void;
  info(fields: object, message?: string): void;
  warn(message: string, ...values: unknown[]): void;
  warn(fields: object, message?: string): void;
  error(message: string, ...values: unknown[]): void;
  error(fields: object, message?: string): void;
  child(fields: object): Logger;
}

/** The first argument of every function. The runtime gives more; see runtime/lang/node. */
export interface Context {
  method: string;
  headers: Record<string, string | string[] | undefined>;
  query: Record<string, any>;
  body?: any;
  cloudevent?: CloudEvent;
  log: Logger;
  /** Aborts at the deadline, or when the caller has gone. */
  signal: AbortSignal;
  /** When the platform stops waiting for the answer. A job may have none. */
  deadline?: Date;
}

export interface Self {
  function: string;
  namespace: string;
  revision: string;
}

/** What a function knows of itself; empty where nobody said so. */
export declare function myself(): Self;
/** The request's name in logs: X-Request-Id, else the trace id; may be empty. */
export declare function requestId(context: Context): string;
/** The W3C trace context of the request, empty without one. */
export declare function traceParent(context: Context): string;

/** An error with a status from 400 to 599, which decides whether an event is delivered again. */
export declare class StatusError extends Error {
  constructor(statusCode: number, message: string, options?: ErrorOptions);
  statusCode: number;
}
/** For events that must not be delivered again (422). */
export declare function reject(message: string, ...values: unknown[]): StatusError;
/** For events that should be delivered again (503). */
export declare function retry(message: string, ...values: unknown[]): StatusError;
/** What Knit's runtime answers for what an event function threw. */
export declare function statusOf(error: unknown): number;
/** Whether a sender that gets the status tries again. */
export declare function retriable(status: number): boolean;

export type Handler<Out = unknown> = (context: Context, event: CloudEvent) => Promise<Event<Out> | undefined>;

/** Makes an event function of one whose data has a type. What parse throws is answered with 422. */
export declare function typed<In, Out = unknown>(
  handle: (event: CloudEvent<In> & { data: In }, context: Context) => EventInit<Out> | undefined | void | Promise<EventInit<Out> | undefined | void>,
  options?: { parse?: (data: unknown) => In },
): Handler<Out>;

export interface Destination {
  name: string;
  address(): string;
}
/** What the function is bound to by K_SINK. */
export declare function sink(): Destination;
/** A broker of the function's namespace. */
export declare function broker(name: string): Destination;
/** Any address that takes CloudEvents. */
export declare function url(address: string): Destination;

/** Sends an event, to the sink unless told otherwise, with up to five tries; resolves when it is taken over. */
export declare function emit(context: Context | undefined, event: EventInit, options?: { to?: Destination }): Promise<void>;

/** The in-cluster address of another function of the namespace. */
export declare function functionURL(name: string): string;
/** Posts a value as JSON to another function; resolves to its answer, read as JSON. */
export declare function call<Out = unknown>(context: Context | undefined, name: string, value?: unknown): Promise<Out>;
/** Posts an event to another function; resolves to the event that it answers with, if it does. */
export declare function send<Out = unknown>(context: Context | undefined, name: string, event: EventInit): Promise<Event<Out> | undefined>;
/** Sends any request to another function; resolves for every answer. */
export declare function request(
  context: Context | undefined,
  name: string,
  options?: { method?: string; path?: string; headers?: Record<string, string>; body?: string | Uint8Array },
): Promise<{ status: number; headers: Headers; body: Uint8Array }>;

/** The largest event or request that is sent, and the largest answer that is read. */
export declare const maxBytes: number;

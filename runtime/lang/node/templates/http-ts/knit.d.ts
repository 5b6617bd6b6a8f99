// What Knit gives to a function.

export interface Context {
  method: string;
  headers: Record<string, string | string[] | undefined>;
  query: Record<string, any>;
  body: any;
  httpVersion: string;
  httpVersionMajor: number;
  httpVersionMinor: number;
  contentType?: string;
  /** The body as it came, as text. */
  rawBody: string;
  /** The event that the function is called with, if it is one. */
  cloudevent?: CloudEvent;
  /** One JSON object per line on standard output, with the request's trace context. */
  log: Logger;
  /** Aborts at the deadline, or when the caller has gone: hand it to fetch. */
  signal: AbortSignal;
  /** When the platform stops waiting for the answer. A job may have none. */
  deadline?: Date;
  /** Set when the function runs as a job. */
  job?: { index?: number };
  /** Begins an event as the answer. */
  cloudEventResponse<T>(data: T): CloudEventResponse<T>;
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

export interface CloudEvent<T = unknown> {
  id: string;
  type: string;
  source: string;
  specversion: string;
  time?: string;
  subject?: string;
  datacontenttype?: string;
  dataschema?: string;
  data?: T;
  [extension: string]: unknown;
}

export interface CloudEventResponse<T> {
  id(value: string): this;
  type(value: string): this;
  source(value: string): this;
  version(value: string): this;
  response(): CloudEvent<T>;
}

import { CloudEvent, HTTP } from 'cloudevents';

enum Kind { Echo = 'echo' }

const handle = async (_context: object, event?: CloudEvent<{ name: string }>) => {
  if (!(event instanceof CloudEvent)) return 'no event';
  return HTTP.binary(new CloudEvent({ source: 'function', type: Kind.Echo, data: { name: event.data?.name } }));
};

export { handle };

'use strict';

// greeting is the line to change: edit it, run `knit deploy` and ask again.
const greeting = 'Hello from Knit!';

// handle answers requests with a greeting and logs the events that reach it. See
// knit.yaml for what sends them.
async function handle(context) {
  const event = context.cloudevent;
  if (event === undefined) return `${greeting}\n`;
  context.log.info({ type: event.type, source: event.source, id: event.id }, 'event received');
}

module.exports = { handle };

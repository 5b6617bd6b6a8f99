// handle takes one CloudEvent. What it returns goes back to the sender, which for
// a broker means that it is delivered like any other event; nothing is fine too.
// An error makes the sender try again.
export async function handle(context, event) {
  context.log.info({ id: event.id, type: event.type, source: event.source }, 'event received');
  return context.cloudEventResponse(greet(event.data)).type('dev.knit.greeting').source('/function').response();
}

export function greet(person) {
  return { message: `Hello, ${person?.name ?? 'world'}!` };
}

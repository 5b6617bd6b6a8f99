// handle answers every HTTP request. The context tells about the request; body is
// an object for JSON and forms, a string for text, a Buffer for everything else,
// and undefined when there is none.
export async function handle(context, body) {
  const name = body?.name ?? context.query.name ?? 'world';
  context.log.info({ method: context.method }, 'greeting');
  return { message: `Hello, ${name}!` };
}

// The instance that the conformance suite drives: in TypeScript, the module. The
// other languages' fixtures behave alike.

const print = (text: string): void => { process.stdout.write(`${text}\n`); };

export async function init(): Promise<void> {
  print(`start ${process.env.FIXTURE_WORD ?? ''}`);
  if (process.env.FIXTURE_START === 'fail') throw new Error('no database');
}

export function handle(): string {
  print('handle');
  return 'handled';
}

export async function shutdown(): Promise<void> { print('stop'); }

export const readiness = (): boolean => process.env.FIXTURE_READY !== 'no';

export function liveness(): void {
  if (process.env.FIXTURE_ALIVE === 'no') throw new Error('no pulse');
}

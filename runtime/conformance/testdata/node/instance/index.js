'use strict';

// The instance that the conformance suite drives: in Node, the module. The
// other languages' fixtures behave alike.

const print = (text) => { process.stdout.write(`${text}\n`); };

exports.init = async () => {
  print(`start ${process.env.FIXTURE_WORD ?? ''}`);
  if (process.env.FIXTURE_START === 'fail') throw new Error('no database');
};

exports.handle = () => {
  print('handle');
  return 'handled';
};

exports.shutdown = async () => { print('stop'); };

exports.readiness = () => process.env.FIXTURE_READY !== 'no';

exports.liveness = () => { if (process.env.FIXTURE_ALIVE === 'no') throw new Error('no pulse'); };

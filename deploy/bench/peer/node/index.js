'use strict';

// The benchmark's function for Google's functions-framework for Node, whose
// CloudEvents functions answer with the JSON of what they return.

const functions = require('@google-cloud/functions-framework');

functions.cloudEvent('take', () => {});
functions.cloudEvent('echo', (event) => event);

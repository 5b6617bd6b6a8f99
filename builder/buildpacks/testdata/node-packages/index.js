const express = require('express');

const greeting = 'Hello from many packages';

exports.handle = () => `${greeting}, ${typeof express}`;

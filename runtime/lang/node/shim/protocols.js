'use strict';

// HTTP/2 without TLS by prior knowledge, beside HTTP/1.1 on the same port. The
// first bytes of a connection decide (RFC 9113, section 3.4).

const preface = Buffer.from('PRI');

// Protocols stands between the listener of an HTTP/1.1 server and its
// connections. node:http2 is loaded for the first connection that speaks it: a
// function starts without it.
class Protocols {
  #serveHTTP1;
  #http2;
  #limits;
  #route;
  #undecided = new Set(); // sockets that have not said enough
  #sessions = new Set();

  constructor(server, limits, route) {
    const [serve] = server.listeners('connection');
    this.#serveHTTP1 = (socket) => serve.call(server, socket);
    this.#limits = limits;
    this.#route = route;
    server.removeAllListeners('connection');
    server.on('connection', (socket) => this.#decide(socket));
  }

  #decide(socket) {
    this.#undecided.add(socket);
    let head = Buffer.alloc(0);
    const give = () => socket.destroy();
    const timer = setTimeout(give, this.#limits.headersTimeout);
    const settle = () => {
      clearTimeout(timer);
      this.#undecided.delete(socket);
      socket.off('readable', look).off('error', give).off('close', settle);
    };
    const look = () => {
      const chunk = socket.read();
      if (chunk === null) return; // the peer has closed, or nothing is there yet
      head = Buffer.concat([head, chunk]);
      const compared = Math.min(head.length, preface.length);
      const same = head.compare(preface, 0, compared, 0, compared) === 0;
      if (same && compared < preface.length) return; // one segment more decides
      settle();
      socket.unshift(head);
      if (same) this.#serveHTTP2(socket);
      else this.#serveHTTP1(socket);
    };
    socket.on('readable', look).on('error', give).on('close', settle);
  }

  #serveHTTP2(socket) {
    this.#http2 ??= this.#startHTTP2();
    this.#http2.emit('connection', socket);
  }

  #startHTTP2() {
    const server = require('node:http2').createServer({
      settings: { maxHeaderListSize: this.#limits.maxHeaderSize, maxConcurrentStreams: 250 },
    }, this.#route);
    server.on('session', (session) => {
      this.#sessions.add(session);
      session.setTimeout(this.#limits.keepAliveTimeout, () => session.close());
      session.on('close', () => this.#sessions.delete(session));
    });
    server.on('sessionError', () => {}); // the session ends; a peer's mistake is not worth a line
    return server;
  }

  // close ends connections without a request and tells HTTP/2 peers to open no
  // further streams.
  close() {
    for (const socket of this.#undecided) socket.destroy();
    for (const session of this.#sessions) session.close();
  }
}

module.exports = { Protocols };

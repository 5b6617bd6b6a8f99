package gateway

import "time"

// What one client may cost. The gateway shares its process with etcd and the
// kubelet, so the number of open files is bounded by maxConnections for each
// visibility plus maxRequests for connections to pods.
const (
	maxHeaderBytes    = 64 << 10 // request line and headers; more is answered with 431
	maxConnections    = 4096     // accepted connections of one visibility; more wait in the kernel's queue
	maxRequests       = 8192     // requests, streams and tunnels in flight; more are answered with 503
	maxStreams        = 500      // HTTP/2 streams of one connection
	readHeaderTimeout = 10 * time.Second
	clientIdleTimeout = 5 * time.Minute
	clientPingAfter   = 60 * time.Second // silence on an HTTP/2 connection before it is checked
	pingTimeout       = 15 * time.Second
	lingerTime        = 500 * time.Millisecond // for the client of an early answer to read it
	lingerBytes       = 1 << 20                // taken of what it still sends meanwhile
	maxHops           = 4                      // passes of one request through this gateway; more are answered with 508
)

// How pods are reached. There is no limit on the time of a response: a stream
// may last as long as both sides want.
const (
	dialTimeout        = time.Second
	endpointWindow     = time.Second           // how long a request waits for a backend without reachable endpoints
	retryPause         = 50 * time.Millisecond // between two attempts when every endpoint refuses
	ejectTime          = time.Second           // how long an endpoint that refused is avoided while others are there
	backendIdleTimeout = 90 * time.Second
	backendIdlePerPod  = 128
	backendIdleTotal   = 1024
	backendPingAfter   = 10 * time.Second
	maxResponseHeaders = 256 << 10
)

// How the gateway starts and stops.
const (
	startWindow    = 5 * time.Second // how long a request waits for the first routing table
	shutdownGrace  = 5 * time.Second
	crdPoll        = 500 * time.Millisecond
	crdAbsent      = 4 // answers without the CRD in a row; a new API server needs a moment to know its own
	copyBufferSize = 32 << 10
)

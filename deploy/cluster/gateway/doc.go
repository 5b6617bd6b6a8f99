// Package gateway is the Knative ingress of the embedded cluster: it turns
// networking.internal.knative.dev Ingresses of its class into a routing table
// and serves them with a reverse proxy for HTTP/1.1, h2c, WebSocket and gRPC.
//
// knit-cluster runs one Gateway in its own process, with listeners on the
// host's loopback and on the pod bridge. Three parts meet at immutable values:
//
//   - watch.go, build.go: informers → table, swapped atomically;
//   - resolve.go, backends.go: Services and EndpointSlices → the addresses of a
//     backend, swapped atomically and apart from the table, because pods come
//     and go far more often than routes;
//   - front.go, forward.go, transport.go: the request path, which only reads.
//
// status.go reports an Ingress ready after knative.dev/networking's prober has
// seen its hash on the listeners.
//
// The package never creates routes of its own, never reads Ingresses of another
// class, and is not meant for a cluster of several nodes.
package gateway

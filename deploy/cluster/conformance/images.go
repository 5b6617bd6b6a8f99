// Package conformance runs Knative's own conformance suite for ingresses
// against the gateway of a running embedded cluster. `go test -tags e2e` calls
// it; the cluster never imports it.
package conformance

// TestImages are the programs that the suite runs in its pods, by the name it
// asks for. They live in the module knative.dev/networking and are built from
// the module folder of the cluster, which pins its version.
var TestImages = map[string]string{
	"grpc-ping": "knative.dev/networking/test/test_images/grpc-ping",
	"httpproxy": "knative.dev/networking/test/test_images/httpproxy",
	"retry":     "knative.dev/networking/test/test_images/retry",
	"runtime":   "knative.dev/networking/test/test_images/runtime",
	"timeout":   "knative.dev/networking/test/test_images/timeout",
	"wsserver":  "knative.dev/networking/test/test_images/wsserver",
}

// Command controlplane is Knit's control plane: all controllers and the extension API
// server in one process. `knit install` runs it as a Deployment; it is the
// only place in which flags of the control plane are read. It decides nothing
// itself.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	var o options
	o.add(flag.CommandLine)
	klog.InitFlags(nil)
	flag.Parse()
	ctrl.SetLogger(klog.NewKlogr())
	if err := o.check(flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "controlplane: %v\n", err)
		os.Exit(2)
	}
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		klog.ErrorS(err, "The control plane ended")
		klog.Flush()
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	namespace      string
	buildNamespace string
	listen         string
	health         string
	metrics        string
	registryCA     string
	letters        string
	podIP          string
	letterStore    string
	letterReplicas int
	qps            float64
	burst          int
}

func (o *options) add(flags *flag.FlagSet) {
	namespace := os.Getenv("POD_NAMESPACE")
	if namespace == "" {
		namespace = "knit-system"
	}
	flags.StringVar(&o.namespace, "namespace", namespace, "namespace of the control plane and its settings")
	flags.StringVar(&o.buildNamespace, "build-namespace", "knit-builds", "namespace of the build pods")
	flags.StringVar(&o.listen, "listen", ":8443", "TLS address of the extension API server")
	flags.StringVar(&o.health, "health-address", ":8081", "address of /healthz and /readyz")
	flags.StringVar(&o.metrics, "metrics-address", "127.0.0.1:8080", "address of /metrics; 0 for none")
	flags.StringVar(&o.registryCA, "registry-ca", "/etc/knit/registry-ca/ca.crt", "PEM file with the registry's certificate authorities, besides the system's; may be absent")
	flags.StringVar(&o.letters, "dead-letter-listen", ":8090", "address of the dead-letter sink")
	flags.StringVar(&o.podIP, "pod-ip", os.Getenv("POD_IP"), "address of this pod, to which events that are watched are sent")
	flags.StringVar(&o.letterStore, "dead-letter-store", "nats://knit-dead-letter-store."+namespace+".svc:4222", "address of the JetStream server that keeps dead letters")
	flags.IntVar(&o.letterReplicas, "dead-letter-replicas", 1, "how many JetStream servers keep each dead letter: 1, 3 or 5")
	flags.Float64Var(&o.qps, "kube-qps", 50, "requests a second to the API server, sustained")
	flags.IntVar(&o.burst, "kube-burst", 100, "requests to the API server, at once")
}

func (o *options) check(args []string) error {
	switch {
	case len(args) > 0:
		return fmt.Errorf("unexpected argument %q; see --help", args[0])
	case o.namespace == "" || o.buildNamespace == "":
		return errors.New("--namespace and --build-namespace must not be empty")
	case o.namespace == o.buildNamespace:
		return errors.New("--build-namespace must be another than --namespace: builds run foreign code")
	case o.letterReplicas < 1 || o.letterReplicas > 5 || o.letterReplicas%2 == 0:
		return fmt.Errorf("--dead-letter-replicas=%d is none of 1, 3 and 5", o.letterReplicas)
	case o.qps <= 0 || o.burst <= 0:
		return errors.New("--kube-qps and --kube-burst must be positive")
	}
	return nil
}

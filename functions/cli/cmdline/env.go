// Package cmdline is what every knit command shares: the streams and global
// flags, the way to the cluster, output formats, lines of progress, and the
// translation of errors into sentences and exit codes. The */cli packages
// call it and main.go starts it. It never knows a particular command.
package cmdline

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// clientQPS and clientBurst bound what one command asks of the API server; a
// deploy of many functions polls them all.
const (
	clientQPS   = 50
	clientBurst = 100
)

// Env is what a command runs with: its streams, the global flags and a clock.
// The zero flags mean "as the kubeconfig says".
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	Now      func() time.Time

	Namespace  string // --namespace
	Context    string // --context
	Kubeconfig string // --kubeconfig

	begun bool // a command runs: its arguments were accepted
}

// NewEnv returns the environment of a real process.
func NewEnv() *Env {
	return &Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Now: time.Now}
}

// addFlags declares the global flags on the root command.
func (e *Env) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVarP(&e.Namespace, "namespace", "n", "", "namespace to work in (default: the one of the kubeconfig's context)")
	flags.StringVar(&e.Context, "context", "", "context of the kubeconfig to use")
	flags.StringVar(&e.Kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, then ~/.kube/config)")
}

// loader applies the global flags to the usual kubeconfig rules.
func (e *Env) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = e.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: e.Context}
	overrides.Context.Namespace = e.Namespace
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
}

// RESTConfig returns how to reach the cluster that the flags and kubeconfig name.
func (e *Env) RESTConfig() (*rest.Config, error) {
	config, err := e.loader().ClientConfig()
	if err != nil {
		return nil, Advise(fmt.Errorf("read the kubeconfig: %w", err),
			"start a cluster with `knit cluster up`, or name a kubeconfig with --kubeconfig or $KUBECONFIG")
	}
	config.QPS, config.Burst = clientQPS, clientBurst
	config.UserAgent = "knit"
	config.WarningHandler = rest.NewWarningWriter(e.Err, rest.WarningWriterOptions{Deduplicate: true})
	return config, nil
}

// WorkingNamespace returns the namespace that the flags and kubeconfig select.
func (e *Env) WorkingNamespace() (string, error) {
	namespace, _, err := e.loader().Namespace()
	if err != nil {
		return "", Advise(fmt.Errorf("read the kubeconfig: %w", err), "name one with --kubeconfig or $KUBECONFIG")
	}
	return namespace, nil
}

// Cluster is an open way to one cluster.
type Cluster struct {
	client.WithWatch
	Config    *rest.Config
	HTTP      *http.Client // carries the caller's Kubernetes identity
	Namespace string       // the namespace to work in
}

// Connect opens the cluster for the kinds in scheme. It sends nothing: kinds
// are mapped to resources without discovery, which saves a round trip each.
func (e *Env) Connect(scheme *runtime.Scheme) (*Cluster, error) {
	config, err := e.RESTConfig()
	if err != nil {
		return nil, err
	}
	namespace, err := e.WorkingNamespace()
	if err != nil {
		return nil, err
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("use the kubeconfig's credentials for %s: %w", config.Host, err)
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, HTTPClient: httpClient, Mapper: staticMapper(scheme)})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", config.Host, err)
	}
	return &Cluster{WithWatch: c, Config: config, HTTP: httpClient, Namespace: namespace}, nil
}

// Terminal tells whether w is a terminal a person looks at.
func Terminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Colour tells whether text on w may carry colours (https://no-color.org).
func Colour(w io.Writer) bool {
	return Terminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

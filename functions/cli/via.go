package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/knit-dev/knit/functions/api/invocation"
	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// way is how a call reaches a function.
type way string

// The ways. Auto is the URL, and the API where the URL cannot be reached.
const (
	viaAuto way = "auto"
	viaURL  way = "url"
	viaAPI  way = "api"
)

var ways = []string{string(viaAuto), string(viaURL), string(viaAPI)}

// String is the value as a flag shows it.
func (w *way) String() string {
	if *w == "" {
		return string(viaAuto)
	}
	return string(*w)
}

// Type names the value in help.
func (w *way) Type() string { return strings.Join(ways, "|") }

// Set takes the value of a flag.
func (w *way) Set(value string) error {
	if !slices.Contains(ways, value) {
		return fmt.Errorf("%q is none of %s", value, strings.Join(ways, ", "))
	}
	*w = way(value)
	return nil
}

// call is one call of one function, by one way or the other.
type call struct {
	*invoker
	cluster  *cmdline.Cluster
	function *v1alpha1.Function
	took     way // the way of the last attempt, and its times
	times    *times
}

// make calls the function. After its URL the API is tried only when nothing of
// the call can have reached the function: it must not happen twice.
func (c *call) make(ctx context.Context) (*http.Response, error) {
	if c.via == viaAPI {
		return c.byAPI(ctx, "")
	}
	if c.via != viaURL && c.function.Spec.Reach() == v1alpha1.VisibilityClusterLocal {
		return c.byAPI(ctx, "the function is cluster-local")
	}
	if c.function.Status.URL == "" {
		return nil, noURL(c.function)
	}
	response, err := c.byURL(ctx)
	if err == nil {
		return response, nil
	}
	if c.via == viaURL || ctx.Err() != nil || !unconnected(err) {
		return nil, c.unreachable(ctx, err)
	}
	response, apiErr := c.byAPI(ctx, bare(err).Error())
	if apiErr != nil {
		return nil, fmt.Errorf("call %s: %w; and %w", c.function.Status.URL, bare(err), apiErr)
	}
	return response, nil
}

// byURL calls the function where everybody does.
func (c *call) byURL(ctx context.Context) (*http.Response, error) {
	request, err := c.request(ctx, strings.TrimSuffix(c.function.Status.URL, "/"))
	if err != nil {
		return nil, err
	}
	return gatewayClient().Do(request.WithContext(c.begin(ctx, viaURL, c.function.Status.URL, "")))
}

// byAPI wraps the request into one to the function service.
func (c *call) byAPI(ctx context.Context, because string) (*http.Response, error) {
	inner, err := c.request(ctx, "http://"+anyHost)
	if err != nil {
		return nil, err
	}
	if inner.Host != anyHost {
		return nil, cmdline.Usagef("--header Host has no effect through the API, which chooses the function by its name; add --via url")
	}
	path := invocation.Path(c.function.Namespace, c.function.Name, inner.Method, inner.URL.RequestURI())
	address, err := c.cluster.URL(path)
	if err != nil {
		return nil, err
	}
	path, _, _ = strings.Cut(path, "?")
	outer, err := http.NewRequestWithContext(c.begin(ctx, viaAPI, path, because), http.MethodPost, address, inner.Body)
	if err != nil {
		return nil, err
	}
	outer.ContentLength = inner.ContentLength
	invocation.Wrap(outer.Header, inner.Header)
	response, err := c.cluster.Send(outer)
	if err != nil {
		return nil, c.refused(ctx, err)
	}
	status, err := strconv.Atoi(response.Header.Get(invocation.HeaderStatus))
	if err != nil {
		_ = response.Body.Close()
		return nil, fmt.Errorf("call %s through the API: the answer is none of a function; is another API server in the way?", c.function.Name)
	}
	response.StatusCode, response.Status = status, strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
	response.Header = invocation.Unwrap(response.Header)
	return response, nil
}

// anyHost stands for the function in a request that goes through the API.
const anyHost = "function"

// begin starts the clock of an attempt and tells which way it goes.
func (c *call) begin(ctx context.Context, took way, to, because string) context.Context {
	c.took, c.times = took, newTimes(c.env.Now)
	if c.verbose && because != "" {
		because = " (" + because + ")"
	}
	if c.verbose {
		fmt.Fprintf(c.env.Err, "via %s: %s%s\n", took, to, because)
	}
	return httptrace.WithClientTrace(ctx, c.times.trace())
}

// unconnected reports that there was no connection which a request could go by.
func unconnected(err error) bool {
	var resolve *net.DNSError
	var connect *net.OpError
	return errors.As(err, &resolve) || errors.As(err, &connect) && (connect.Op == "dial" || connect.Op == "proxyconnect")
}

// bare is a transport's error without the method and the URL.
func bare(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// noURL says why a function cannot be called yet.
func noURL(function *v1alpha1.Function) error {
	ready := currentCondition(function.Status.Conditions, v1alpha1.ConditionReady, function.Generation)
	err := fmt.Errorf("function %s has no URL yet: %s", function.Name, waiting(function.Name, ready))
	return cmdline.Advise(err, "see the whole state with `knit describe %s -n %s`", function.Name, function.Namespace)
}

// unreachable says why the URL did not answer.
func (c *call) unreachable(ctx context.Context, err error) error {
	f := c.function
	if ctx.Err() != nil {
		return c.late(fmt.Errorf("call %s: %w", f.Status.URL, ctx.Err()))
	}
	err = fmt.Errorf("call %s: %w", f.Status.URL, bare(err))
	if f.Spec.Reach() == v1alpha1.VisibilityClusterLocal {
		return cmdline.Advise(err, "%s can be called inside of the cluster only; leave --via url out to call it through the API", f.Name)
	}
	return cmdline.Advise(err, "see whether the gateway runs: `knit cluster status` for the embedded cluster, or the pods of Knative's ingress")
}

// refused says why the API did not carry the call.
func (c *call) refused(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	err = fmt.Errorf("call %s through the API: %w", c.function.Name, err)
	switch {
	case ctx.Err() != nil:
		return c.late(err)
	case apierrors.IsForbidden(err):
		return cmdline.Advise(err, "ask for the ClusterRole knit-invoke or knit-edit in namespace %s", c.function.Namespace)
	}
	return err
}

func (c *call) late(err error) error {
	return cmdline.Advise(err, "see what it does with `knit logs %s -n %s`, or give it longer with --timeout", c.function.Name, c.function.Namespace)
}

// brokenOff says that an answer ended before its end.
func (c *call) brokenOff(after int64, err error) error {
	err = fmt.Errorf("read the answer of %s after %d bytes: %w", c.function.Name, after, err)
	if c.took != viaAPI {
		return err
	}
	return cmdline.Advise(err, "a call through the API may take 55 seconds and answer 256 MiB; add --via url where the function's URL can be reached")
}

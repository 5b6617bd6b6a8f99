package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// invocation is one run of `knit invoke`.
type invocation struct {
	env     *cmdline.Env
	method  string
	path    string
	data    string
	file    string
	headers []string
	event   cmdline.EventFlags
	verbose bool
	timeout time.Duration
}

func invokeCommand(env *cmdline.Env) *cobra.Command {
	i := &invocation{env: env}
	cmd := &cobra.Command{
		Use:   "invoke NAME",
		Short: "Call a function by HTTP, or send it a CloudEvent",
		Long: "Call a function by HTTP, or send it a CloudEvent, and print what it answers.\n\n" +
			"With --event-type the request is a CloudEvent in binary mode. An answer of 400 and above is a failure.",
		Example: "  knit invoke hello\n  knit invoke hello --data '{\"name\":\"Ada\"}' -H 'Content-Type: application/json'\n" +
			"  knit invoke hello --event-type com.example.greeting --event-source /me --data '{\"name\":\"Ada\"}'",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFunctions(env, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), i.timeout)
			defer cancel()
			return i.run(ctx, args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&i.method, "method", "X", "", "HTTP method (default: POST with a body, GET without)")
	flags.StringVar(&i.path, "path", "", "path and query of the request, such as /items?page=2")
	flags.StringVarP(&i.data, "data", "d", "", "body of the request, or data of the event")
	flags.StringVarP(&i.file, "file", "f", "", "file with the body; - is standard input")
	flags.StringArrayVarP(&i.headers, "header", "H", nil, "header as 'Name: value'; can be repeated")
	flags.BoolVarP(&i.verbose, "verbose", "v", false, "show status, headers and times on standard error")
	flags.DurationVar(&i.timeout, "timeout", 10*time.Minute, "give up after this long")
	i.event.Add(flags, "event-")
	cmd.MarkFlagsMutuallyExclusive("data", "file")
	return cmd
}

func (i *invocation) run(ctx context.Context, name string) error {
	cluster, err := i.env.Connect(newScheme())
	if err != nil {
		return err
	}
	function, err := getFunction(ctx, cluster, name)
	if err != nil {
		return err
	}
	if function.Status.URL == "" {
		return noURL(function)
	}
	request, err := i.request(ctx, strings.TrimSuffix(function.Status.URL, "/"))
	if err != nil {
		return err
	}
	times := &times{began: i.env.Now(), now: i.env.Now}
	response, err := gatewayClient().Do(request.WithContext(httptrace.WithClientTrace(ctx, times.trace())))
	if err != nil {
		return unreachable(ctx, function, err)
	}
	defer response.Body.Close()
	if i.verbose {
		i.show(response)
	}
	written, err := io.Copy(i.env.Out, response.Body)
	if err != nil {
		return fmt.Errorf("read the answer of %s after %d bytes: %w", name, written, err)
	}
	if cmdline.Terminal(i.env.Out) && written > 0 {
		fmt.Fprintln(i.env.Out)
	}
	if i.verbose {
		times.show(i.env.Err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return cmdline.Advise(fmt.Errorf("%s answered %s", name, response.Status), "see what it wrote with `knit logs %s -n %s`", name, cluster.Namespace)
	}
	return nil
}

// request makes the HTTP request or the CloudEvent.
func (i *invocation) request(ctx context.Context, url string) (*http.Request, error) {
	if i.path != "" && !strings.HasPrefix(i.path, "/") {
		return nil, cmdline.Usagef("--path %q must begin with /", i.path)
	}
	body, hasBody, err := i.body()
	if err != nil {
		return nil, err
	}
	var request *http.Request
	if i.event.Set() {
		event, err := i.event.Event(body, i.env.Now())
		if err != nil {
			return nil, err
		}
		request, err = cmdline.EventRequest(ctx, url+i.path, event)
		if err != nil {
			return nil, err
		}
	} else if request, err = http.NewRequestWithContext(ctx, i.verb(hasBody), url+i.path, body); err != nil {
		return nil, err
	}
	for _, header := range i.headers {
		name, value, found := strings.Cut(header, ":")
		if !found || strings.TrimSpace(name) == "" {
			return nil, cmdline.Usagef("--header %q is not 'Name: value'", header)
		}
		request.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
		if strings.EqualFold(strings.TrimSpace(name), "host") {
			request.Host = strings.TrimSpace(value)
		}
	}
	return request, nil
}

func (i *invocation) verb(hasBody bool) string {
	switch {
	case i.method != "":
		return strings.ToUpper(i.method)
	case hasBody:
		return http.MethodPost
	}
	return http.MethodGet
}

// body opens what is sent: --data, a file, or standard input.
func (i *invocation) body() (io.Reader, bool, error) {
	switch i.file {
	case "":
		if i.data == "" {
			return nil, false, nil
		}
		return strings.NewReader(i.data), true, nil
	case "-":
		return i.env.In, true, nil
	}
	raw, err := os.ReadFile(i.file)
	if err != nil {
		return nil, false, cmdline.Usage(fmt.Errorf("read the body: %w", err))
	}
	return bytes.NewReader(raw), true, nil
}

// show writes status and headers, sorted.
func (i *invocation) show(response *http.Response) {
	fmt.Fprintf(i.env.Err, "%s %s\n", response.Proto, response.Status)
	names := make([]string, 0, len(response.Header))
	for name := range response.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range response.Header[name] {
			fmt.Fprintf(i.env.Err, "%s: %s\n", name, value)
		}
	}
}

// noURL says why a function cannot be called yet.
func noURL(function *v1alpha1.Function) error {
	ready := currentCondition(function.Status.Conditions, v1alpha1.ConditionReady, function.Generation)
	err := fmt.Errorf("function %s has no URL yet: %s", function.Name, waiting(function.Name, ready))
	return cmdline.Advise(err, "see the whole state with `knit describe %s -n %s`", function.Name, function.Namespace)
}

func unreachable(ctx context.Context, function *v1alpha1.Function, err error) error {
	if ctx.Err() != nil {
		err = fmt.Errorf("call %s: %w", function.Status.URL, ctx.Err())
		return cmdline.Advise(err, "see what it does with `knit logs %s -n %s`, or give it longer with --timeout", function.Name, function.Namespace)
	}
	if wrapped := errors.Unwrap(err); wrapped != nil {
		err = wrapped
	}
	err = fmt.Errorf("call %s: %w", function.Status.URL, err)
	if function.Spec.Reach() == v1alpha1.VisibilityClusterLocal {
		return cmdline.Advise(err, "%s can be called inside of the cluster only; set spec.visibility: external to call it from here", function.Name)
	}
	return cmdline.Advise(err, "see whether the gateway runs: `knit cluster status` for the embedded cluster, or the pods of Knative's ingress")
}

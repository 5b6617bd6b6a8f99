package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// invoker is one run of `knit invoke`.
type invoker struct {
	env     *cmdline.Env
	method  string
	path    string
	data    string
	file    string
	headers []string
	event   cmdline.EventFlags
	via     way
	verbose bool
	timeout time.Duration
}

func invokeCommand(env *cmdline.Env) *cobra.Command {
	i := &invoker{env: env}
	cmd := &cobra.Command{
		Use:   "invoke NAME",
		Short: "Call a function by HTTP, or send it a CloudEvent",
		Long: "Call a function by HTTP, or send it a CloudEvent, and print what it answers.\n\n" +
			"With --event-type the request is a CloudEvent in binary mode. An answer of 400 and above is a failure.\n\n" +
			"It goes to the function's URL or, where that cannot be reached from here or does not exist outside of the\n" +
			"cluster, through the Kubernetes API, for which you need the right to create functions/invoke of\n" +
			"service.knit.dev. Such a call may send 10 MiB and take 55 seconds. With -v you see which way was used.",
		Example: "  knit invoke hello\n  knit invoke hello --data '{\"name\":\"Ada\"}' -H 'Content-Type: application/json'\n" +
			"  knit invoke hello --event-type com.example.greeting --event-source /me --data '{\"name\":\"Ada\"}'\n" +
			"  knit invoke hello --via api -v",
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
	flags.Var(&i.via, "via", "way to the function: auto, url or api")
	_ = cmd.RegisterFlagCompletionFunc("via", cobra.FixedCompletions(ways, cobra.ShellCompDirectiveNoFileComp))
	i.event.Add(flags, "event-")
	cmd.MarkFlagsMutuallyExclusive("data", "file")
	return cmd
}

func (i *invoker) run(ctx context.Context, name string) error {
	cluster, err := i.env.Connect(newScheme())
	if err != nil {
		return err
	}
	function, err := getFunction(ctx, cluster, name)
	if err != nil {
		return err
	}
	call := &call{invoker: i, cluster: cluster, function: function}
	response, err := call.make(ctx)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if i.verbose {
		i.show(response)
	}
	written, err := io.Copy(i.env.Out, response.Body)
	if err != nil {
		return call.brokenOff(written, err)
	}
	if cmdline.Terminal(i.env.Out) && written > 0 {
		fmt.Fprintln(i.env.Out)
	}
	if i.verbose {
		call.times.show(i.env.Err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return cmdline.Advise(fmt.Errorf("%s answered %s", name, response.Status), "see what it wrote with `knit logs %s -n %s`", name, cluster.Namespace)
	}
	return nil
}

// request makes the HTTP request or the CloudEvent.
func (i *invoker) request(ctx context.Context, url string) (*http.Request, error) {
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

func (i *invoker) verb(hasBody bool) string {
	switch {
	case i.method != "":
		return strings.ToUpper(i.method)
	case hasBody:
		return http.MethodPost
	}
	return http.MethodGet
}

// body opens what is sent: --data, a file, or standard input.
func (i *invoker) body() (io.Reader, bool, error) {
	switch i.file {
	case "":
		if i.data == "" {
			return nil, false, nil
		}
		return strings.NewReader(i.data), true, nil
	case "-":
		// A request closes what it can; the way through the API may come after.
		return struct{ io.Reader }{i.env.In}, true, nil
	}
	raw, err := os.ReadFile(i.file)
	if err != nil {
		return nil, false, cmdline.Usage(fmt.Errorf("read the body: %w", err))
	}
	return bytes.NewReader(raw), true, nil
}

// show writes status and headers, sorted.
func (i *invoker) show(response *http.Response) {
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

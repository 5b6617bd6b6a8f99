package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/knit-dev/knit/functions/api/tap"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// tapping is one run of `knit event tap`.
type tapping struct {
	env           *cmdline.Env
	filter        filterFlags
	kind, source  string
	count         int
	timeout       time.Duration
	format        cmdline.Format
	cluster       *cmdline.Cluster
	to            target
	passes        func(context.Context, json.RawMessage) bool // of a channel, whose Subscriptions have no filters
	seen, dropped int
}

func tapCommand(env *cmdline.Env) *cobra.Command {
	t := &tapping{env: env}
	cmd := &cobra.Command{
		Use:   "tap [broker/NAME|channel/NAME]",
		Short: "Watch events that pass a broker or a channel",
		Long: "Watch events that pass a broker or a channel (default broker/default), without disturbing them.\n\n" +
			"It makes a Trigger or Subscription of its own, with your rights, which sends to Knit's control plane, and\n" +
			"removes it at the end; when it cannot, the control plane does after two minutes. Nothing is tried again,\n" +
			"and what is shown too slowly is dropped and counted. Events that came before are not shown, nor is the\n" +
			"data of more than 1 MiB.",
		Example: "  knit event tap\n" +
			"  knit event tap broker/orders --type com.example.order.paid --count 1 -o json\n" +
			"  knit event tap channel/payments --filter-cesql \"source LIKE '/shop/%'\" --timeout 1m",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeTargets(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := "broker/default"
			if len(args) > 0 {
				to = args[0]
			}
			return t.run(cmd.Context(), to)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&t.kind, "type", "", "the same as --filter type=…")
	flags.StringVar(&t.source, "source", "", "the same as --filter source=…")
	t.filter.add(flags)
	flags.IntVar(&t.count, "count", 0, "end after so many events (default: do not)")
	flags.DurationVar(&t.timeout, "timeout", 0, "end after this long (default: do not)")
	t.format.AddOutput(cmd)
	return cmd
}

func (t *tapping) run(ctx context.Context, raw string) error {
	var err error
	if t.to, err = parseTarget(raw); err != nil || t.to.kind != targetBroker && t.to.kind != targetChannel {
		return cmdline.Usagef("%q is neither broker/NAME nor channel/NAME", raw)
	}
	if t.count < 0 || t.timeout < 0 {
		return cmdline.Usagef("--count and --timeout must not be negative")
	}
	for name, value := range map[string]string{"type": t.kind, "source": t.source} {
		if value != "" {
			t.filter.exact = append(t.filter.exact, name+"="+value)
		}
	}
	filters, err := t.filter.filters()
	if err != nil {
		return err
	}
	if t.cluster, err = t.env.Connect(newScheme()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, open, err := t.open(ctx)
	if err != nil {
		return t.explain(err)
	}
	defer stream.Close()
	object, err := t.make(ctx, open, filters)
	if err != nil {
		return err
	}
	defer t.remove(ctx, object)
	if err := t.await(ctx, object); err != nil {
		return err
	}
	return t.follow(ctx, stream.lines(ctx), object)
}

// name is the broker or channel for people.
func (t *tapping) name() string {
	return fmt.Sprintf("%s %s/%s", t.to.kind, t.cluster.Namespace, t.to.name)
}

// tapStream is the answer of the function service.
type tapStream struct {
	body    io.ReadCloser
	decoder *json.Decoder
}

func (s *tapStream) Close() { _ = s.body.Close() }

// open begins the stream, whose first line says where to send events.
func (t *tapping) open(ctx context.Context) (*tapStream, tap.Line, error) {
	response, err := t.cluster.Do(ctx, http.MethodGet, tap.Path(t.cluster.Namespace, t.to.kind+"s", t.to.name), nil, 0) //nolint:bodyclose // tapStream.Close does.
	if err != nil {
		return nil, tap.Line{}, err
	}
	stream := &tapStream{body: response.Body, decoder: json.NewDecoder(response.Body)}
	var first tap.Line
	if err := stream.decoder.Decode(&first); err != nil || first.Open == nil || first.Expires == nil {
		stream.Close()
		return nil, tap.Line{}, errors.New("the answer is none of the function service; is another API server in the way?")
	}
	return stream, first, nil
}

// tapLine is a line of the stream, or why there are no more.
type tapLine struct {
	tap.Line
	err error
}

// lines reads aside, until ctx ends.
func (s *tapStream) lines(ctx context.Context) <-chan tapLine {
	lines := make(chan tapLine)
	go func() {
		for {
			var line tapLine
			line.err = s.decoder.Decode(&line.Line)
			select {
			case <-ctx.Done():
				return
			case lines <- line:
			}
			if line.err != nil {
				return
			}
		}
	}()
	return lines
}

// follow shows events until one of the ends.
func (t *tapping) follow(ctx context.Context, lines <-chan tapLine, object *tapObject) error {
	fmt.Fprintf(t.env.Err, "watching %s; end with Ctrl-C\n", t.name())
	defer func() { fmt.Fprintf(t.env.Err, "saw %d, dropped %d\n", t.seen, t.dropped) }()
	var over <-chan time.Time
	if t.timeout > 0 {
		over = time.After(t.timeout)
	}
	for t.count == 0 || t.seen < t.count {
		select {
		case <-ctx.Done():
			if t.count == 0 {
				return nil // It has no other end.
			}
			return ctx.Err()
		case <-over:
			if t.count > 0 {
				return cmdline.Timeout(fmt.Errorf("%d of %d events passed %s within %s", t.seen, t.count, t.name(), t.timeout))
			}
			return nil
		case line := <-lines:
			if err := t.take(ctx, line, object); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tapping) take(ctx context.Context, line tapLine, object *tapObject) error {
	switch {
	case line.err != nil && ctx.Err() == nil:
		return cmdline.Advise(fmt.Errorf("the stream of %s ended: %w", t.name(), line.err), "run it again; a stream lasts an hour at most, and ends when the control plane is restarted")
	case line.err != nil:
		return nil // follow sees it, too.
	case line.Expires != nil:
		return object.renew(ctx, *line.Expires)
	case line.Dropped > 0:
		t.dropped += line.Dropped
		fmt.Fprintf(t.env.Err, "dropped %d\n", line.Dropped)
	case line.Event != nil:
		if t.passes != nil && !t.passes(ctx, line.Event) {
			return nil
		}
		t.seen++
		return t.show(line.Event)
	}
	return nil
}

func (t *tapping) explain(err error) error {
	err = fmt.Errorf("watch %s: %w", t.name(), err)
	switch {
	case apierrors.IsForbidden(err):
		return cmdline.Advise(err, "ask for the ClusterRole knit-edit in namespace %s, which may get %ss/log", t.cluster.Namespace, t.to.kind)
	case cmdline.Code(err) == cmdline.ExitNotFound:
		return cmdline.Advise(err, "see which there are with `knit %s list -n %s`", t.to.kind, t.cluster.Namespace)
	}
	return err
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/api/emission"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// sending is one run of `knit event send`.
type sending struct {
	env     *cmdline.Env
	to      string
	broker  string
	data    string
	file    string
	event   cmdline.EventFlags
	mode    string
	timeout time.Duration
	format  cmdline.Format
	lines   lineFlags
}

func sendCommand(env *cmdline.Env) *cobra.Command {
	s := &sending{env: env}
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Send CloudEvents to a broker, a channel, a function or an address",
		Long: "Send CloudEvents to a broker, a channel, a function or an address.\n\n" +
			"Brokers, channels and functions are reached through the Kubernetes API: a kubeconfig is all it needs. Its\n" +
			"user needs the right to create brokers/events, channels/events or functions/invoke of service.knit.dev,\n" +
			"which the ClusterRole edit includes. To an address the event goes from here.\n\n" +
			"An event is made of the flags, or it is a whole CloudEvent in JSON: --file without --type, or one in each\n" +
			"line of --from-lines. A broker or channel that answers 2xx has the event; whether anybody wants it is\n" +
			"another matter.",
		Example: "  knit event send --type com.example.greeting --source /me --data '{\"name\":\"Ada\"}'\n" +
			"  cat order.json | knit event send --to broker/orders --type com.example.order --data -\n" +
			"  knit event send --to channel/payments --file event.json --mode structured\n" +
			"  knit event send --to function/hello --type com.example.greeting -o json\n" +
			"  knit event send --to broker/orders --from-lines events.jsonl --rate 50",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&s.to, "to", "", "where it goes: broker/NAME, channel/NAME, function/NAME, or an http or https address (default \"broker/default\")")
	flags.StringVar(&s.broker, "broker", "default", "the same as --to broker/NAME")
	flags.StringVarP(&s.data, "data", "d", "", "data of the event: JSON or text, @FILE, or - for standard input")
	flags.StringVarP(&s.file, "file", "f", "", "file with the data or, without --type, with a whole CloudEvent in JSON; - is standard input")
	flags.StringVar(&s.mode, "mode", emission.ModeBinary, "form that is sent: binary or structured")
	flags.DurationVar(&s.timeout, "timeout", 30*time.Second, "give an event up after this long")
	s.event.Add(flags, "")
	s.lines.add(cmd)
	s.format.AddOutput(cmd)
	cmd.MarkFlagsMutuallyExclusive("data", "file", "from-lines")
	cmd.MarkFlagsMutuallyExclusive("to", "broker")
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{emission.ModeBinary, emission.ModeStructured}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("to", completeTargets(env))
	_ = cmd.RegisterFlagCompletionFunc("broker", completeNames(env, brokers, true))
	return cmd
}

func (s *sending) run(ctx context.Context) error {
	if s.mode != emission.ModeBinary && s.mode != emission.ModeStructured {
		return cmdline.Usagef("--mode %q is neither %s nor %s", s.mode, emission.ModeBinary, emission.ModeStructured)
	}
	if err := s.lines.check(); err != nil {
		return err
	}
	if s.to == "" {
		s.to = "broker/" + s.broker
	}
	to, err := parseTarget(s.to)
	if err != nil {
		return err
	}
	if s.lines.from != "" {
		return s.many(ctx, to)
	}
	event, err := s.read()
	if err != nil {
		return err
	}
	sender, err := s.sender(to)
	if err != nil {
		return err
	}
	return s.one(ctx, sender, event)
}

// one sends a single event and tells what became of it.
func (s *sending) one(ctx context.Context, sender *sender, event *event) error {
	sent := sender.send(ctx, event)
	done, err := cmdline.PrintValue(s.env.Out, s.format, sent)
	switch {
	case err != nil:
		return err
	case sent.err == nil && !done && s.format == cmdline.Name:
		fmt.Fprintln(s.env.Out, cmdline.Plain(event.ID()))
	case sent.err == nil && !done:
		fmt.Fprintf(s.env.Out, "event %s sent to %s%s\n", cmdline.Plain(event.ID()), sender.name, sent.reply())
	case errors.Is(ctx.Err(), context.Canceled):
		return cmdline.Advise(fmt.Errorf("event %s: %w", cmdline.Plain(event.ID()), ctx.Err()), "it may have been sent; send it again with the same --id, by which its receivers can tell")
	}
	return sent.err
}

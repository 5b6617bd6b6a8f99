package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// The bounds of numbers, as the API server has them.
const (
	maxPauseAfter = 1000
	maxHistory    = 100
)

// overlaps are the policies about overlaps.
var overlaps = []string{
	string(v1alpha1.OverlapSkip), string(v1alpha1.OverlapBufferOne), string(v1alpha1.OverlapBufferAll),
	string(v1alpha1.OverlapCancelOther), string(v1alpha1.OverlapTerminateOther), string(v1alpha1.OverlapAllowAll),
}

// specFlags are the flags of a new schedule that are not about its times.
type specFlags struct {
	sink, data       string
	event            v1alpha1.EventTemplate
	overlap          string
	catchUp, timeout time.Duration
	prewarm          time.Duration
	pauseAfter       int32
	maxActions       int64
	history          int32
	suspend          bool
}

func (f *specFlags) add(env *cmdline.Env, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.sink, "sink", "", "where the event goes: "+sinkForms)
	flags.StringVar(&f.data, "data", "", "data of the event: JSON, or @FILE with it; @- is standard input")
	flags.StringVar(&f.event.Type, "type", "", "type of the event (default: "+v1alpha1.DefaultEventType+")")
	flags.StringVar(&f.event.Source, "source", "", "source of the event (default: the schedule's path in the API)")
	flags.StringVar(&f.event.Subject, "subject", "", "subject of the event")
	flags.StringVar(&f.overlap, "overlap", "", "what becomes of a time while an earlier one is under way: "+strings.Join(overlaps, ", ")+" (default: BufferAll)")
	flags.DurationVar(&f.catchUp, "catch-up", 0, "how late something may still happen (default: 1h)")
	flags.DurationVar(&f.timeout, "timeout", 0, "how long the sink may take to answer (default: 1m)")
	flags.DurationVar(&f.prewarm, "prewarm", 0, "how long before a time the function is woken (default: never)")
	flags.Int32Var(&f.pauseAfter, "pause-after", 0, "pause after this many failures in a row (default: never)")
	flags.Int64Var(&f.maxActions, "max-actions", 0, "stop after this many times (default: never)")
	flags.Int32Var(&f.history, "history", 0, "how many past times are kept (default: 20)")
	flags.BoolVar(&f.suspend, "suspend", false, "begin suspended: nothing happens until it is resumed")
	_ = cmd.RegisterFlagCompletionFunc("overlap", cobra.FixedCompletions(overlaps, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("sink", completeSinks(env))
}

// set puts the flags into a spec; what was not given stays empty.
func (f *specFlags) set(env *cmdline.Env, cmd *cobra.Command, spec *v1alpha1.ScheduleSpec) error {
	var err error
	if spec.Sink, err = parseSink(f.sink); err != nil {
		return err
	}
	if err := f.setEvent(env, cmd, spec); err != nil {
		return err
	}
	if spec.CatchUpWindow, err = wholeSeconds(cmd, "catch-up", f.catchUp); err != nil {
		return err
	}
	if spec.Timeout, err = wholeSeconds(cmd, "timeout", f.timeout); err != nil {
		return err
	}
	if spec.Prewarm, err = wholeSeconds(cmd, "prewarm", f.prewarm); err != nil {
		return err
	}
	spec.Suspend = f.suspend
	if f.overlap != "" {
		policy, ok := oneOf(overlaps, f.overlap)
		if !ok {
			return cmdline.Usagef("--overlap %q is none of %s", f.overlap, strings.Join(overlaps, ", "))
		}
		spec.Overlap = v1alpha1.OverlapPolicy(policy)
	}
	return f.setNumbers(cmd, spec)
}

// setEvent puts the event into a spec, after a look whether it is one.
func (f *specFlags) setEvent(env *cmdline.Env, cmd *cobra.Command, spec *v1alpha1.ScheduleSpec) error {
	spec.Event = f.event
	attributes := cmdline.EventFlags{Type: f.event.EventType(), Source: f.event.Source, Subject: f.event.Subject}
	if _, err := attributes.Event(nil, env.Now()); err != nil {
		return err
	}
	if !cmd.Flags().Changed("data") {
		return nil
	}
	raw, err := f.readData(env)
	if err != nil {
		return err
	}
	if len(raw) > v1alpha1.MaxEventData {
		return cmdline.Usagef("--data is larger than %d KiB: put it somewhere and send its address", v1alpha1.MaxEventData>>10)
	}
	if !json.Valid(raw) {
		err := cmdline.Usagef("--data %.40q is no JSON", raw)
		return cmdline.Advise(err, `a text is JSON when it is in double quotes: --data '"text"'`)
	}
	spec.Event.Data = &runtime.RawExtension{Raw: raw}
	return nil
}

// readData reads at most one byte more than is allowed.
func (f *specFlags) readData(env *cmdline.Env) ([]byte, error) {
	name, isFile := strings.CutPrefix(f.data, "@")
	if !isFile {
		return []byte(f.data), nil
	}
	from := env.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, cmdline.Usage(fmt.Errorf("read --data: %w", err))
		}
		defer file.Close()
		from = file
	}
	raw, err := io.ReadAll(io.LimitReader(from, v1alpha1.MaxEventData+1))
	if err != nil {
		return nil, cmdline.Usage(fmt.Errorf("read --data: %w", err))
	}
	return raw, nil
}

func (f *specFlags) setNumbers(cmd *cobra.Command, spec *v1alpha1.ScheduleSpec) error {
	given := cmd.Flags().Changed
	if given("pause-after") {
		if f.pauseAfter < 1 || f.pauseAfter > maxPauseAfter {
			return cmdline.Usagef("--pause-after %d is not between 1 and %d", f.pauseAfter, maxPauseAfter)
		}
		spec.PauseAfterFailures = &f.pauseAfter
	}
	if given("max-actions") {
		if f.maxActions < 1 {
			return cmdline.Usagef("--max-actions %d is less than 1", f.maxActions)
		}
		spec.MaxActions = &f.maxActions
	}
	if given("history") {
		if f.history < 1 || f.history > maxHistory {
			return cmdline.Usagef("--history %d is not between 1 and %d", f.history, maxHistory)
		}
		spec.HistoryLimit = &f.history
	}
	return nil
}

// oneOf finds a word among those there are, in capitals or not.
func oneOf(words []string, word string) (string, bool) {
	for _, known := range words {
		if strings.EqualFold(known, word) {
			return known, true
		}
	}
	return "", false
}

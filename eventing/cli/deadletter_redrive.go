package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/api/deadletter"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// redriving is one run of `knit deadletter redrive`.
type redriving struct {
	env    *cmdline.Env
	flags  letterFlags
	all    bool
	dryRun bool
	rate   float64
	via    string
	format cmdline.Format

	box      letterBox
	progress *cmdline.Progress
	outcomes []deadletter.Outcome
	count    map[deadletter.Result]int
}

func deadLetterRedrive(env *cmdline.Env) *cobra.Command {
	d := &redriving{env: env, flags: letterFlags{now: env.Now}, count: map[deadletter.Result]int{}}
	cmd := &cobra.Command{
		Use:   "redrive [ID...]",
		Short: "Send events again to the subscriber that failed, and only to it",
		Long: "Send events again to the subscriber that failed, and only to it.\n\n" +
			"An event goes with its id and its trace, and what the subscriber answers goes where its answers go. What\n" +
			"is taken is dropped from the dead letters; what is not stays. Interrupt it at any time, and run it again.",
		Example: "  knit deadletter redrive 17 18\n" +
			"  knit deadletter redrive --trigger payment --rate 20\n" +
			"  knit deadletter redrive --all --dry-run",
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd.Context(), args) },
	}
	d.flags.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&d.all, "all", false, "all dead letters of the namespace")
	flags.BoolVar(&d.dryRun, "dry-run", false, "only list what would be sent")
	flags.Float64Var(&d.rate, "rate", 50, fmt.Sprintf("events a second at most, up to %d", deadletter.MaxRate))
	flags.StringVar(&d.via, "via", "", "for letters of which it is not certain what gave them up: trigger/NAME or subscription/NAME")
	d.format.AddOutput(cmd)
	return cmd
}

// chooseLetters reads which letters are meant; all of them only when that is said.
func chooseLetters(flags *letterFlags, ids []string, all bool) (deadletter.Selection, error) {
	if len(ids) == 0 && !flags.given() && !all {
		return deadletter.Selection{}, cmdline.Advise(cmdline.Usagef("say which dead letters are meant"), "give ids, flags such as --trigger, or --all; see them with `knit deadletter list`")
	}
	return flags.selection(ids)
}

func (d *redriving) run(ctx context.Context, ids []string) error {
	selection, err := chooseLetters(&d.flags, ids, d.all)
	if err != nil {
		return err
	}
	request := deadletter.Redrive{Selection: selection, Rate: d.rate}
	if request.Via, err = via(d.via); err != nil {
		return err
	}
	if _, err := deadletter.ParseRedrive(request.Values()); err != nil || d.rate == 0 {
		return cmdline.Usagef("--rate %g is no number above 0 and up to %d", d.rate, deadletter.MaxRate)
	}
	if d.dryRun {
		return listLetters(ctx, d.env, selection, 0, d.format)
	}
	if d.box, err = openLetters(d.env); err != nil {
		return err
	}
	// What comes meanwhile, because it fails again, is not tried again and again.
	if request.Until.IsZero() {
		request.Until = d.env.Now()
	}
	d.progress = cmdline.NewProgress(d.env)
	defer d.progress.Clear()
	for more := true; more; more = request.After != 0 {
		if request.After, err = d.some(ctx, request); err != nil {
			if len(d.outcomes) == 0 {
				return err // The next step of a refusal is another.
			}
			err = cmdline.Advise(err, "run it again: what was delivered is gone from the dead letters, and the rest is still there")
			break
		}
	}
	d.progress.Clear()
	return errors.Join(err, d.report())
}

// via turns trigger/NAME into the kind and name of an object.
func via(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	word, name, _ := strings.Cut(text, "/")
	for _, kind := range []string{deadletter.KindTrigger, deadletter.KindSubscription} {
		if strings.EqualFold(kind, word) && name != "" {
			return kind + "/" + name, nil
		}
	}
	return "", cmdline.Usagef("--via %q is neither trigger/NAME nor subscription/NAME", text)
}

// some redrives until the server has had enough for one request, and returns
// after which letter to go on, or zero.
func (d *redriving) some(ctx context.Context, request deadletter.Redrive) (uint64, error) {
	response, err := d.box.cluster.Do(ctx, http.MethodPost, d.box.path("redrives", request.Values()), nil, 0)
	if err != nil {
		return 0, d.box.explain(err)
	}
	defer response.Body.Close()
	lines := json.NewDecoder(bufio.NewReader(response.Body))
	for {
		var line deadletter.Redriven
		err := lines.Decode(&line)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return 0, errors.New("the answer of the function service broke off")
		case err != nil:
			return 0, fmt.Errorf("read the answer of the function service: %w", err)
		case line.End != nil:
			return line.End.Continue, nil
		case line.Outcome != nil:
			d.take(*line.Outcome)
		}
	}
}

func (d *redriving) take(o deadletter.Outcome) {
	d.count[o.Result]++
	d.outcomes = append(d.outcomes, o)
	if o.Result != deadletter.Delivered && d.format == cmdline.Text {
		d.progress.Clear()
		fmt.Fprintf(d.env.Err, "%d  %s  %s: %s\n", o.ID, cmdline.Plain(o.Event.Type), strings.ToLower(string(o.Result)), cmdline.Plain(o.Message))
	}
	d.progress.Doing("delivered %d, failed %d", d.count[deadletter.Delivered], d.count[deadletter.Failed])
}

// report sums up; events that failed again are a failure of the command.
func (d *redriving) report() error {
	failed := d.count[deadletter.Failed]
	if done, err := cmdline.PrintValue(d.env.Out, d.format, map[string]any{"outcomes": d.outcomes}); done {
		if err == nil && failed > 0 {
			err = fmt.Errorf("%d of %d dead letters were not delivered", failed, len(d.outcomes))
		}
		return err
	}
	fmt.Fprintf(d.env.Out, "delivered %d, failed %d, skipped %d in %s\n", d.count[deadletter.Delivered], failed, d.count[deadletter.Skipped],
		d.progress.Elapsed().Round(10*time.Millisecond))
	if failed > 0 {
		return cmdline.Advise(fmt.Errorf("%d of %d dead letters were not delivered", failed, len(d.outcomes)), "they are kept; see one with `knit deadletter show ID`")
	}
	return nil
}

// deadLetterPurge drops letters.
func deadLetterPurge(env *cmdline.Env) *cobra.Command {
	var all, dryRun bool
	flags := letterFlags{now: env.Now}
	cmd := &cobra.Command{
		Use:   "purge [ID...]",
		Short: "Drop events that could not be delivered, for good",
		RunE: func(cmd *cobra.Command, args []string) error {
			selection, err := chooseLetters(&flags, args, all)
			if err != nil {
				return err
			}
			if dryRun {
				return listLetters(cmd.Context(), env, selection, 0, cmdline.Text)
			}
			return purgeLetters(cmd.Context(), env, selection)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all dead letters of the namespace")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only list what would be dropped")
	return cmd
}

func purgeLetters(ctx context.Context, env *cmdline.Env, selection deadletter.Selection) error {
	box, err := openLetters(env)
	if err != nil {
		return err
	}
	progress := cmdline.NewProgress(env)
	defer progress.Clear()
	purged := 0
	for more := true; more; more = selection.After != 0 {
		var done deadletter.Purged
		if err := box.ask(ctx, http.MethodDelete, box.path("deadletters", selection.Values()), &done); err != nil {
			return err
		}
		purged += done.Purged
		selection.After = done.Continue
		progress.Doing("dropped %d", purged)
	}
	progress.Clear()
	fmt.Fprintf(env.Out, "dropped %d dead letters\n", purged)
	return nil
}

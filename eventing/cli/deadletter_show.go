package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/knit-dev/knit/functions/api/deadletter"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// deadLetterList lists letters.
func deadLetterList(env *cmdline.Env) *cobra.Command {
	var format cmdline.Format
	var limit int
	flags := letterFlags{now: env.Now}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List events that could not be delivered, oldest first",
		Example: "  knit deadletter list --trigger payment --since 2h\n" +
			"  knit deadletter list --reason 503 -o wide",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return cmdline.Usagef("--limit %d is negative", limit)
			}
			selection, err := flags.selection(nil)
			if err != nil {
				return err
			}
			return listLetters(cmd.Context(), env, selection, limit, format)
		},
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", 0, "list no more than this; 0 lists all")
	format.AddOutput(cmd)
	return cmd
}

func listLetters(ctx context.Context, env *cmdline.Env, selection deadletter.Selection, limit int, format cmdline.Format) error {
	box, err := openLetters(env)
	if err != nil {
		return err
	}
	letters, err := box.list(ctx, selection, limit)
	if err != nil {
		return err
	}
	if done, err := cmdline.PrintValue(env.Out, format, deadletter.List{Items: letters}); done {
		return err
	}
	if format == cmdline.Name {
		for _, l := range letters {
			fmt.Fprintln(env.Out, l.ID)
		}
		return nil
	}
	if len(letters) == 0 {
		fmt.Fprintf(env.Err, "No dead letters of that kind in namespace %s.\n", box.cluster.Namespace)
		return nil
	}
	table := cmdline.Table{Columns: []string{"ID", "AGE", "TYPE", "EVENT", "FROM", "REASON", "DESTINATION", "SOURCE", "SIZE"}, WideFrom: 6}
	for _, l := range letters {
		age := duration.HumanDuration(env.Now().Sub(l.Time))
		table.Rows = append(table.Rows, []string{
			fmt.Sprint(l.ID), age, l.Event.Type, l.Event.ID, giver(l), shortReason(l), l.Destination, l.Event.Source, cmdline.Bytes(l.Size),
		})
	}
	return table.Write(env.Out, format)
}

// maxReason is how much of a reason a table shows, in characters.
const maxReason = 60

func shortReason(l deadletter.Letter) string {
	text := []rune(reason(l))
	if len(text) > maxReason {
		return string(text[:maxReason-1]) + "…"
	}
	return string(text)
}

// deadLetterShow shows one letter with its event.
func deadLetterShow(env *cmdline.Env) *cobra.Command {
	var format cmdline.Format
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one event that could not be delivered, with its data",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := letterID(args[0])
			if err != nil {
				return err
			}
			return showLetter(cmd.Context(), env, id, format)
		},
	}
	format.AddOutput(cmd)
	return cmd
}

func showLetter(ctx context.Context, env *cmdline.Env, id uint64, format cmdline.Format) error {
	box, err := openLetters(env)
	if err != nil {
		return err
	}
	var content deadletter.Content
	if err := box.ask(ctx, http.MethodGet, box.path(fmt.Sprintf("deadletters/%d", id), nil), &content); err != nil {
		return err
	}
	if done, err := cmdline.PrintValue(env.Out, format, content); done {
		return err
	}
	if format == cmdline.Name {
		fmt.Fprintln(env.Out, content.ID)
		return nil
	}
	var event bytes.Buffer
	if err := json.Indent(&event, content.Content, "", "  "); err != nil {
		return fmt.Errorf("read the event that was kept: %w", err)
	}
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(env.Out, "%-13s%s\n", name+":", cmdline.Plain(value))
		}
	}
	line("ID", fmt.Sprint(content.ID))
	line("Kept", content.Time.Local().Format(time.RFC3339))
	line("Given up by", giver(content.Letter))
	line("Destination", content.Destination)
	line("Reason", reason(content.Letter))
	line("Trace", content.Traceparent)
	if content.DataLost {
		line("Data", "too large, was not kept; this letter cannot be redriven")
	}
	// Every line by itself: the text of an event may hold what a terminal obeys.
	fmt.Fprintln(env.Out, "Event:")
	for l := range bytes.Lines(event.Bytes()) {
		fmt.Fprintln(env.Out, plainIndented(string(bytes.TrimRight(l, "\n"))))
	}
	return nil
}

// plainIndented is Plain for a line that keeps its indentation.
func plainIndented(line string) string {
	rest := bytes.TrimLeft([]byte(line), " ")
	return "  " + line[:len(line)-len(rest)] + cmdline.Plain(string(rest))
}

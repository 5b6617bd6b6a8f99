package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/knit-dev/knit/functions/api/deadletter"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// maxLetters bounds an answer of the function service about letters, in bytes.
const maxLetters = 64 << 20

// deadLetterCommand is the noun of events that could not be delivered.
func deadLetterCommand(env *cmdline.Env) *cobra.Command {
	cmd := cmdline.Parent("deadletter", "Show events that could not be delivered, send them again, or drop them",
		deadLetterList(env), deadLetterShow(env), deadLetterRedrive(env), deadLetterPurge(env))
	cmd.Aliases = []string{"deadletters", "dl"}
	cmd.Long = "Show events that could not be delivered, send them again, or drop them.\n\n" +
		"When all tries of a delivery are over and it names no dead-letter sink of its own, the event is kept by\n" +
		"the platform, with the reason: 14 days, and 32 MiB in a namespace, the oldest going first."
	return cmd
}

// letterFlags are the flags that select letters.
type letterFlags struct {
	trigger, subscription string
	kind, reason          string
	since, until          string
	now                   func() time.Time
}

func (f *letterFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.trigger, "trigger", "", "what this trigger gave up")
	flags.StringVar(&f.subscription, "subscription", "", "what this subscription gave up")
	flags.StringVar(&f.kind, "type", "", "events of this type")
	flags.StringVar(&f.reason, "reason", "", "a status such as 503, or a part of the answer's text")
	flags.StringVar(&f.since, "since", "", "kept since then: a duration such as 2h, or a time such as 2026-01-02T15:04:05Z")
	flags.StringVar(&f.until, "until", "", "kept before then, as in --since")
	cmd.MarkFlagsMutuallyExclusive("trigger", "subscription")
}

// given tells whether any of the flags was.
func (f *letterFlags) given() bool {
	return f.trigger+f.subscription+f.kind+f.reason+f.since+f.until != ""
}

// selection reads the flags, and ids of single letters.
func (f *letterFlags) selection(ids []string) (deadletter.Selection, error) {
	s := deadletter.Selection{Type: f.kind, Reason: f.reason}
	switch {
	case f.trigger != "":
		s.Kind, s.Name = deadletter.KindTrigger, f.trigger
	case f.subscription != "":
		s.Kind, s.Name = deadletter.KindSubscription, f.subscription
	}
	var err error
	if s.Since, err = f.time("since", f.since); err != nil {
		return s, err
	}
	if s.Until, err = f.time("until", f.until); err != nil {
		return s, err
	}
	for _, text := range ids {
		id, err := letterID(text)
		if err != nil {
			return s, err
		}
		s.IDs = append(s.IDs, id)
	}
	if len(ids) > deadletter.MaxIDs {
		return s, cmdline.Usagef("%d letters are named, more than %d; select them by flags", len(ids), deadletter.MaxIDs)
	}
	return s, nil
}

func letterID(text string) (uint64, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil || id == 0 {
		return 0, cmdline.Advise(cmdline.Usagef("%q is no id of a dead letter, which is a number", text), "see the ids with `knit deadletter list`")
	}
	return id, nil
}

func (f *letterFlags) time(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return f.now().Add(-ago), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, cmdline.Usagef("--%s %q is neither a duration such as 2h nor a time such as 2026-01-02T15:04:05Z", flag, text)
	}
	return t, nil
}

// letterBox is the letters of a namespace, in the function service.
type letterBox struct{ cluster *cmdline.Cluster }

func openLetters(env *cmdline.Env) (letterBox, error) {
	cluster, err := env.Connect(newScheme())
	return letterBox{cluster}, err
}

func (b letterBox) path(resource string, query url.Values) string {
	path := fmt.Sprintf("/apis/service.knit.dev/v1alpha1/namespaces/%s/%s", b.cluster.Namespace, resource)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// ask sends a request and reads its JSON into answer.
func (b letterBox) ask(ctx context.Context, method, path string, answer any) error {
	response, err := b.cluster.Do(ctx, method, path, nil, 0)
	if err != nil {
		return b.explain(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxLetters)).Decode(answer); err != nil {
		return fmt.Errorf("read the answer of the function service: %w", err)
	}
	return nil
}

// explain says what to do about an error of the function service.
func (b letterBox) explain(err error) error {
	err = fmt.Errorf("dead letters of namespace %s: %w", b.cluster.Namespace, err)
	switch {
	case apierrors.IsForbidden(err):
		return cmdline.Advise(err, "ask for the ClusterRole edit (view to list only) in that namespace")
	case apierrors.IsServiceUnavailable(err):
		return cmdline.Advise(err, "see whether Knit runs: `kubectl get pods -n knit-system`")
	}
	return err
}

// list reads all pages, up to limit letters; none stands for all.
func (b letterBox) list(ctx context.Context, selection deadletter.Selection, limit int) ([]deadletter.Letter, error) {
	letters := []deadletter.Letter{}
	for {
		if limit > 0 {
			selection.Limit = limit - len(letters)
		}
		var page deadletter.List
		if err := b.ask(ctx, http.MethodGet, b.path("deadletters", selection.Values()), &page); err != nil {
			return nil, err
		}
		letters = append(letters, page.Items...)
		if page.Continue == 0 || limit > 0 && len(letters) >= limit {
			return letters, nil
		}
		selection.After = page.Continue
	}
}

// giver is what gave a letter up, as flags and commands name it.
func giver(l deadletter.Letter) string {
	if l.Kind == "" {
		return ""
	}
	return strings.ToLower(l.Kind) + "/" + l.Name
}

// reason is why, in short.
func reason(l deadletter.Letter) string {
	switch {
	case l.Code > 0 && l.Reason != "":
		return fmt.Sprintf("%d %s", l.Code, l.Reason)
	case l.Code > 0:
		return strings.TrimSpace(fmt.Sprintf("%d %s", l.Code, http.StatusText(l.Code)))
	case l.Reason != "":
		return l.Reason
	}
	return "no answer"
}

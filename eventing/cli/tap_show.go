package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	cloudevents "github.com/cloudevents/sdk-go/v2"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// maxShownData is how much of an event's data is shown to people, in characters.
const maxShownData = 200

// show writes an event: JSON in one line, YAML as a document of its own.
func (t *tapping) show(raw json.RawMessage) error {
	switch t.format {
	case cmdline.JSON:
		_, err := fmt.Fprintf(t.env.Out, "%s\n", raw)
		return err
	case cmdline.YAML:
		fmt.Fprintln(t.env.Out, "---")
		_, err := cmdline.PrintValue(t.env.Out, cmdline.YAML, raw)
		return err
	}
	var e cloudevents.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("read an event of the stream: %w", err)
	}
	if t.format == cmdline.Name {
		_, err := fmt.Fprintln(t.env.Out, cmdline.Plain(e.ID()))
		return err
	}
	fields := []string{t.env.Now().Format("15:04:05"), e.Type(), e.Source(), e.ID()}
	if e.Subject() != "" {
		fields = append(fields, e.Subject())
	}
	if data := strings.TrimSpace(string(e.Data())); data != "" {
		fields = append(fields, shorten(data, maxShownData))
	}
	_, err := fmt.Fprintln(t.env.Out, cmdline.Plain(strings.Join(fields, "  ")))
	return err
}

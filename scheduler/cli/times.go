package cli

import (
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// The most cron lines and single times that the API server takes.
const (
	maxLines = 16
	maxAt    = 64
)

// timeFlags say when something is planned.
type timeFlags struct {
	cron, at   []string
	every      string
	zone       string
	start, end string
	jitter     time.Duration
}

func (f *timeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.cron, "cron", nil, "cron line of five fields, six with seconds first, or a name such as @daily; repeatable")
	flags.StringArrayVar(&f.at, "at", nil, "a single time such as 2026-01-31T08:00:00Z; repeatable")
	flags.StringVar(&f.every, "every", "", "an interval such as 90s or 1h30m, counted from --start or else from 1970")
	flags.StringVar(&f.zone, "zone", "", "time zone in which cron lines are read, such as Europe/Berlin (default: UTC)")
	flags.StringVar(&f.start, "start", "", "plan nothing before this time")
	flags.StringVar(&f.end, "end", "", "plan nothing after this time")
	flags.DurationVar(&f.jitter, "jitter", 0, "put each time off by less than this, always the same for one time")
	for _, name := range []string{"cron", "at", "every", "zone", "start", "end", "jitter"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// given tells whether any of the flags was.
func (f *timeFlags) given(cmd *cobra.Command) bool {
	for _, name := range []string{"cron", "at", "every", "zone", "start", "end", "jitter"} {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// set puts the flags into a spec.
func (f *timeFlags) set(cmd *cobra.Command, spec *v1alpha1.ScheduleSpec) error {
	for _, line := range f.cron {
		spec.Cron = append(spec.Cron, strings.TrimSpace(line))
	}
	if f.every != "" {
		spec.Cron = append(spec.Cron, "@every "+interval(f.every))
	}
	if len(spec.Cron)+len(f.at) == 0 {
		return cmdline.Advise(cmdline.Usagef("say when: nothing is planned"), "add --cron, --at or --every")
	}
	if len(spec.Cron) > maxLines {
		return cmdline.Usagef("%d cron lines are more than %d; make it several schedules", len(spec.Cron), maxLines)
	}
	if len(f.at) > maxAt {
		return cmdline.Usagef("--at is given %d times, more than %d; make it several schedules", len(f.at), maxAt)
	}
	if err := unlike(spec.Cron); err != nil {
		return err
	}
	for _, text := range f.at {
		at, err := readTime("at", text)
		if err != nil {
			return err
		}
		spec.At = append(spec.At, *at)
	}
	var err error
	spec.TimeZone = f.zone
	if spec.StartTime, err = readTime("start", f.start); err != nil {
		return err
	}
	if spec.EndTime, err = readTime("end", f.end); err != nil {
		return err
	}
	spec.Jitter, err = wholeSeconds(cmd, "jitter", f.jitter)
	return err
}

// unlike refuses a cron line that stands there twice, as the API server does.
func unlike(lines []string) error {
	seen := map[string]bool{}
	for _, line := range lines {
		if seen[line] {
			return cmdline.Usagef("the cron line %.40q is given twice", line)
		}
		seen[line] = true
	}
	return nil
}

// plainInterval is how the API server takes an interval.
var plainInterval = regexp.MustCompile(`^([0-9]{1,8}(h|m|s)){1,3}$`)

// interval writes a duration as the API server takes it. What is none stays: the
// scheduler says what is wrong with it.
func interval(text string) string {
	d, err := time.ParseDuration(text)
	if err != nil || plainInterval.MatchString(text) {
		return text
	}
	return d.String()
}

// readTime reads the time of a flag; none when it was not given.
func readTime(flag, text string) (*metav1.Time, error) {
	if text == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, cmdline.Usagef("--%s %.40q is no time such as 2026-01-31T08:00:00Z", flag, text)
	}
	v := metav1.NewTime(at.UTC().Truncate(time.Second))
	return &v, nil
}

// wholeSeconds is the duration of a flag as the API server takes it; none when it
// was not given.
func wholeSeconds(cmd *cobra.Command, flag string, d time.Duration) (*metav1.Duration, error) {
	if !cmd.Flags().Changed(flag) {
		return nil, nil
	}
	if d <= 0 || d%time.Second != 0 {
		return nil, cmdline.Usagef("--%s %s is no number of whole seconds above zero", flag, d)
	}
	return &metav1.Duration{Duration: d}, nil
}

// utc is a time of the API as people read it; empty for none.
func utc(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Defaults. They are applied where a value is read, never written into the
// object: what a person wrote is what is stored.
const (
	DefaultBroker        = "default"
	DefaultTimeout       = 5 * time.Minute
	DefaultStartTimeout  = time.Minute
	DefaultBuildDeadline = 15 * time.Minute
	DefaultCatchUpWindow = time.Hour
	DefaultSinkTimeout   = time.Minute
	DefaultHistoryLimit  = 20
	DefaultEventType     = "dev.knit.schedule.tick"
	DefaultTimeZone      = "UTC"
)

// BrokerName is the broker that the events come from; empty when they come from
// a channel or source.
func (e EventSource) BrokerName() string {
	if e.Channel != "" || e.Source != nil {
		return ""
	}
	return or(e.Broker, DefaultBroker)
}

// RequestTimeout is the longest time of a request.
func (s FunctionSpec) RequestTimeout() time.Duration {
	if s.Timeout == nil {
		return DefaultTimeout
	}
	return s.Timeout.Duration
}

// TimeToListen is how long a started container may take until it listens.
func (s FunctionSpec) TimeToListen() time.Duration {
	if s.StartTimeout == nil {
		return DefaultStartTimeout
	}
	return s.StartTimeout.Duration
}

// Reach is the visibility of the function.
func (s FunctionSpec) Reach() Visibility { return or(s.Visibility, VisibilityExternal) }

// Deadline is how long the build may take.
func (s BuildSpec) Deadline() time.Duration {
	if s.DeadlineSeconds == nil {
		return DefaultBuildDeadline
	}
	return time.Duration(*s.DeadlineSeconds) * time.Second
}

// Window is how late something may still happen.
func (s ScheduleSpec) Window() time.Duration {
	if s.CatchUpWindow == nil {
		return DefaultCatchUpWindow
	}
	return s.CatchUpWindow.Duration
}

// When is a Schedule's planned times in short, for people.
func (s ScheduleSpec) When() string {
	times := slices.Clone(s.Cron)
	if n := len(s.At); n > 0 {
		text := "at " + s.At[0].UTC().Format(time.RFC3339)
		if n > 1 {
			text += fmt.Sprintf(" (+%d)", n-1)
		}
		times = append(times, text)
	}
	return strings.Join(times, "; ")
}

// Delay is by less than what planned times are put off.
func (s ScheduleSpec) Delay() time.Duration {
	if s.Jitter == nil {
		return 0
	}
	return s.Jitter.Duration
}

// WarmAhead is how long before a planned time the sink is woken; zero is never.
func (s ScheduleSpec) WarmAhead() time.Duration {
	if s.Prewarm == nil {
		return 0
	}
	return s.Prewarm.Duration
}

// SinkTimeout is how long the sink may take to answer one attempt.
func (s ScheduleSpec) SinkTimeout() time.Duration {
	if s.Timeout == nil {
		return DefaultSinkTimeout
	}
	return s.Timeout.Duration
}

// Overlaps is the policy about overlaps.
func (s ScheduleSpec) Overlaps() OverlapPolicy { return or(s.Overlap, OverlapBufferAll) }

// History is how many actions the status keeps.
func (s ScheduleSpec) History() int {
	if s.HistoryLimit == nil {
		return DefaultHistoryLimit
	}
	return int(*s.HistoryLimit)
}

// Zone is the name of the time zone.
func (s ScheduleSpec) Zone() string { return or(s.TimeZone, DefaultTimeZone) }

// EventType is the type of the event.
func (e EventTemplate) EventType() string { return or(e.Type, DefaultEventType) }

func or[T ~string](value, otherwise T) T {
	if value == "" {
		return otherwise
	}
	return value
}

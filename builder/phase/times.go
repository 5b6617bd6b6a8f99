package phase

import (
	"encoding/json"
	"time"
)

// Times are when the phases of one container began and ended, in their order.
type Times []Time

// Time is one phase's.
type Time struct {
	Phase string    `json:"phase"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

func (t *Times) begin(phase string) {
	*t = append(*t, Time{Phase: phase, Start: time.Now().UTC()})
}

func (t *Times) end() { (*t)[len(*t)-1].End = time.Now().UTC() }

// String is JSON, for a container's termination message.
func (t Times) String() string {
	text, err := json.Marshal(t)
	if err != nil {
		return ""
	}
	return string(text)
}

// ParseTimes reads a container's termination message. It returns nothing for a
// message of another kind. What runs in the container may have written it:
// times outside of the container's own, or out of order, are not believed.
func ParseTimes(message string, start, end time.Time) Times {
	var times Times
	if json.Unmarshal([]byte(message), &times) != nil {
		return nil
	}
	// The kubelet's times are whole seconds.
	last, end := start.Truncate(time.Second), end.Truncate(time.Second).Add(time.Second)
	for _, t := range times {
		if t.Start.Before(last) || t.End.Before(t.Start) || t.End.After(end) {
			return nil
		}
		last = t.End
	}
	return times
}

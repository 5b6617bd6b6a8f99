package deadletter

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Selection says which letters of a namespace are meant. An empty field means
// all.
type Selection struct {
	// Kind and Name are what gave up: a Trigger or a Subscription.
	Kind, Name string
	// Type of the event, exactly.
	Type string
	// Reason is an HTTP status such as "503", or a part of the reason's text.
	Reason string
	// Since and Until bound when the letter was kept: Since ≤ time < Until.
	Since, Until time.Time
	// IDs are single letters, at most MaxIDs.
	IDs []uint64
	// After is the id after which to begin.
	After uint64
	// Limit is the most letters that are answered or worked on at once; up to the
	// server when zero, which has a bound.
	Limit int
}

const (
	// MaxIDs is how many letters can be named one by one.
	MaxIDs = 256
	// maxText bounds the other texts of a selection, in bytes.
	maxText = 512
)

// Names of the parameters in a URL.
const (
	queryKind, queryName, queryType, queryReason = "kind", "name", "type", "reason"
	querySince, queryUntil                       = "since", "until"
	queryID, queryAfter, queryLimit              = "id", "after", "limit"
	queryRate, queryVia                          = "rate", "via"
)

// Values writes the selection as parameters of a URL.
func (s Selection) Values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set(queryKind, s.Kind)
	set(queryName, s.Name)
	set(queryType, s.Type)
	set(queryReason, s.Reason)
	set(querySince, timeText(s.Since))
	set(queryUntil, timeText(s.Until))
	set(queryAfter, numberText(s.After))
	set(queryLimit, numberText(uint64(max(s.Limit, 0))))
	for _, id := range s.IDs {
		v.Add(queryID, strconv.FormatUint(id, 10))
	}
	return v
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func numberText(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// ParseSelection reads what Values wrote. An error names the parameter.
func ParseSelection(v url.Values) (Selection, error) {
	s := Selection{Kind: v.Get(queryKind), Name: v.Get(queryName), Type: v.Get(queryType), Reason: v.Get(queryReason)}
	for _, text := range []string{s.Kind, s.Name, s.Type, s.Reason} {
		if len(text) > maxText {
			return s, fmt.Errorf("a parameter has %d bytes, more than %d", len(text), maxText)
		}
	}
	if s.Kind != "" && s.Kind != KindTrigger && s.Kind != KindSubscription {
		return s, fmt.Errorf("kind=%q is neither %s nor %s", s.Kind, KindTrigger, KindSubscription)
	}
	if (s.Kind == "") != (s.Name == "") {
		return s, errors.New("kind and name go together")
	}
	if len(v[queryID]) > MaxIDs {
		return s, fmt.Errorf("%d ids are named, more than %d; select by what they have in common", len(v[queryID]), MaxIDs)
	}
	var err error
	for _, text := range v[queryID] {
		var id uint64
		if id, err = number(queryID, text); err != nil || id == 0 {
			return s, errors.Join(err, fmt.Errorf("id=%q is no id of a letter", text))
		}
		s.IDs = append(s.IDs, id)
	}
	var limit uint64
	s.Since, err = timeOf(querySince, v, err)
	s.Until, err = timeOf(queryUntil, v, err)
	if s.After, limit, err = numbers(v, err); err != nil {
		return s, err
	}
	s.Limit = int(min(limit, 1<<31-1))
	return s, nil
}

func numbers(v url.Values, before error) (after, limit uint64, err error) {
	if before != nil {
		return 0, 0, before
	}
	if after, err = number(queryAfter, v.Get(queryAfter)); err != nil {
		return 0, 0, err
	}
	limit, err = number(queryLimit, v.Get(queryLimit))
	return after, limit, err
}

func number(name, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s=%q is no number", name, text)
	}
	return n, nil
}

func timeOf(name string, v url.Values, before error) (time.Time, error) {
	text := v.Get(name)
	if before != nil || text == "" {
		return time.Time{}, before
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s=%q is no time such as 2026-01-02T15:04:05Z", name, text)
	}
	return t, nil
}

// All tells whether every letter of the namespace is meant.
func (s Selection) All() bool { return len(s.Values()) == 0 }

// Matches tells whether a letter is meant; Limit does not count.
func (s Selection) Matches(l Letter) bool {
	switch {
	case l.ID <= s.After && s.After > 0,
		s.Kind != "" && (l.Kind != s.Kind || l.Name != s.Name),
		s.Type != "" && l.Event.Type != cut(s.Type),
		s.Reason != "" && !s.reason(l),
		!s.Since.IsZero() && l.Time.Before(s.Since),
		!s.Until.IsZero() && !l.Time.Before(s.Until):
		return false
	}
	if len(s.IDs) == 0 {
		return true
	}
	for _, id := range s.IDs {
		if id == l.ID {
			return true
		}
	}
	return false
}

func (s Selection) reason(l Letter) bool {
	if code, err := strconv.Atoi(s.Reason); err == nil && code == l.Code {
		return true
	}
	return strings.Contains(strings.ToLower(l.Reason), strings.ToLower(s.Reason))
}

// HeadText is how much of an attribute a Head holds, in characters.
const HeadText = 256

// cut is a text as a Head holds it.
func cut(text string) string {
	runes := 0
	for i := range text {
		if runes == HeadText {
			return text[:i]
		}
		runes++
	}
	return text
}

// HeadOf cuts the attributes of an event.
func HeadOf(id, source, kind, subject string) Head {
	return Head{ID: cut(id), Source: cut(source), Type: cut(kind), Subject: cut(subject)}
}

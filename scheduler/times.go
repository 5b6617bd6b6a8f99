package scheduler

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

// Times says when something is planned.
type Times struct {
	Cron []string
	At   []time.Time
	// Zone is a name of the IANA database.
	Zone string
	// Start and End bound the planned times, both included; zero is no bound.
	Start, End time.Time
	// Jitter puts each time off by less than this. By how much depends on Seed.
	Jitter time.Duration
	Seed   string
}

// TimesOf are the times of a Schedule.
func TimesOf(s *v1alpha1.Schedule) Times {
	t := Times{
		Cron: s.Spec.Cron, Zone: s.Spec.Zone(), Start: utc(s.Spec.StartTime), End: utc(s.Spec.EndTime),
		Jitter: s.Spec.Delay(), Seed: string(s.UID),
	}
	for _, at := range s.Spec.At {
		t.At = append(t.At, at.UTC())
	}
	return t
}

func utc(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// Fingerprint identifies the planned times. By how much they are put off is no
// part of it: that changes what is done when, and not what is done.
func (t Times) Fingerprint() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\x00%s\x00%d\x00%d", strings.Join(t.Cron, "\n"), t.Zone, t.Start.Unix(), t.End.Unix())
	for _, at := range t.At {
		fmt.Fprintf(&text, "\x00%d", at.Unix())
	}
	sum := sha256.Sum256([]byte(text.String()))
	return hex.EncodeToString(sum[:8])
}

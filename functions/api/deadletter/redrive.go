package deadletter

import (
	"fmt"
	"net/url"
	"strconv"
)

// Redrive is a request to send letters again to the subscriber that failed.
type Redrive struct {
	Selection
	// Rate is how many letters are sent in a second at most; MaxRate when zero.
	Rate float64
	// Via names the Subscription or Trigger, as Kind/name, whose subscriber and
	// reply are meant for letters where it is not certain; empty for none.
	Via string
}

const (
	// MaxRate bounds what a redrive does to a subscriber, in letters a second.
	MaxRate = 1000
	// minRate is one letter in a hundred seconds.
	minRate = 0.01
)

// Values writes the request as parameters of a URL.
func (r Redrive) Values() url.Values {
	v := r.Selection.Values()
	if r.Rate != 0 {
		v.Set(queryRate, strconv.FormatFloat(r.Rate, 'g', -1, 64))
	}
	if r.Via != "" {
		v.Set(queryVia, r.Via)
	}
	return v
}

// ParseRedrive reads what Values wrote.
func ParseRedrive(v url.Values) (Redrive, error) {
	selection, err := ParseSelection(v)
	r := Redrive{Selection: selection, Rate: MaxRate, Via: v.Get(queryVia)}
	if err != nil {
		return r, err
	}
	if text := v.Get(queryRate); text != "" {
		rate, err := strconv.ParseFloat(text, 64)
		// A NaN is in no range.
		if err != nil || !(rate >= minRate && rate <= MaxRate) {
			return r, fmt.Errorf("rate=%q is no number from %g to %d", text, minRate, MaxRate)
		}
		r.Rate = rate
	}
	if len(r.Via) > maxText {
		return r, fmt.Errorf("via has %d bytes, more than %d", len(r.Via), maxText)
	}
	return r, nil
}

package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bounds on the tries of one event.
const (
	tries        = 5
	firstPause   = 200 * time.Millisecond // doubled after each try
	longestPause = time.Minute            // a receiver that asks for more is given up
	tryTimeout   = 30 * time.Second
)

// deliver posts an event until it is taken, refused, or out of tries.
func deliver(ctx context.Context, address string, body []byte) error {
	if len(body) > MaxBytes {
		return Errorf(http.StatusRequestEntityTooLarge, "it has %d bytes, more than %d; send a reference to the data instead", len(body), MaxBytes)
	}
	for try := 1; ; try++ {
		asked, err := post(ctx, address, body)
		if err == nil {
			return nil
		}
		if !Retriable(StatusOf(err)) || ctx.Err() != nil {
			return err
		}
		if try == tries {
			return fmt.Errorf("%d tries: %w", tries, err)
		}
		if waitErr := wait(ctx, pause(try, asked)); waitErr != nil {
			return fmt.Errorf("%d of %d tries, %w: %w", try, tries, waitErr, err)
		}
	}
}

// post is one try. Its error has a status; asked is the pause that the receiver
// wants before the next one.
func post(ctx context.Context, address string, body []byte) (asked time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, Errorf(http.StatusInternalServerError, "%w", err)
	}
	request.Header.Set("Content-Type", structuredType)
	answer, err := roundTrip(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode < 300 {
		// A connection whose answer is read serves again. The event is taken
		// over, whatever becomes of the rest.
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, MaxBytes))
		return 0, nil
	}
	return retryAfter(answer.Header.Get("Retry-After"), time.Now()), failure(answer)
}

// failure is the error that an answer stands for, with the beginning of its text.
func failure(answer *http.Response) error {
	const told = 512 // bytes
	text, _ := io.ReadAll(io.LimitReader(answer.Body, told))
	status := answer.StatusCode
	if status < 400 { // a redirect or the like, which no receiver should answer with
		status = http.StatusBadGateway
	}
	if said := strings.TrimSpace(string(text)); said != "" {
		return Errorf(status, "answered %s: %s", answer.Status, said)
	}
	return Errorf(status, "answered %s", answer.Status)
}

// readAll reads an answer up to the limit.
func readAll(answer *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(answer.Body, MaxBytes+1))
	if err != nil {
		return nil, Errorf(http.StatusBadGateway, "read the answer: %w", err)
	}
	if len(body) > MaxBytes {
		return nil, Errorf(http.StatusInternalServerError, "the answer has more than %d bytes", MaxBytes)
	}
	return body, nil
}

// retryAfter reads the header of this name, in seconds or as a date
// (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		return max(0, time.Duration(min(seconds, 1<<30))*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// pause is what the receiver asked for, but never less than the own pause,
// half of which is left to chance, so that senders do not come back all at once.
func pause(try int, asked time.Duration) time.Duration {
	own := firstPause << (try - 1)
	return max(asked, own/2+rand.N(own/2))
}

var errTooLong = errors.New("the next would come too late")

// wait returns at once when the pause would end after the deadline.
func wait(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); d > longestPause || ok && time.Until(deadline) < d {
		return errTooLong
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package project

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

const (
	// partSize is how much of an archive is sent at once, in bytes: a slow line
	// has a minute for it, after which API servers end a request.
	partSize = 8 << 20
	// uploadTries is how often the same part is sent while the service is busy or
	// the line breaks.
	uploadTries = 5
)

// upload is one archive on its way.
type upload struct {
	*Source
	cluster *cmdline.Cluster
	path    string
	offset  int64 // what the service has
}

// look asks whether the service has the archive, or which part of it.
func (u *upload) look(ctx context.Context) (known bool, err error) {
	response, err := u.cluster.Do(ctx, http.MethodGet, u.path, nil, 0)
	if err == nil {
		return true, response.Body.Close()
	}
	if at, ok := offsetIn(err); ok {
		u.offset = at
		return false, nil
	}
	u.offset = 0
	// An absent archive and an absent service answer alike; the upload tells.
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return false, err
}

// send sends what is missing. A part that fails is sent again, from where the
// service says that it is.
func (u *upload) send(ctx context.Context) error {
	for try := 1; ; try++ {
		before := u.offset
		done, err := u.next(ctx)
		if done || err != nil && ctx.Err() != nil {
			return err
		}
		if err == nil {
			try = 0
			continue
		}
		if at, ok := offsetIn(err); ok && try < uploadTries {
			u.offset = at
			continue
		}
		wait, again := retryAfter(err, try)
		if !again || try == uploadTries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		if known, err := u.look(ctx); known || err != nil && ctx.Err() != nil {
			return err
		} else if err != nil {
			u.offset = before
		}
	}
}

// next sends the part after the offset, or asks to put all parts together. Done
// is true when the service has the whole.
func (u *upload) next(ctx context.Context) (done bool, err error) {
	length := min(u.Size-u.offset, partSize)
	part := io.NewSectionReader(u.file, u.offset, length)
	address, err := u.cluster.URL(u.path)
	if err != nil {
		return false, err
	}
	var body io.Reader = http.NoBody
	if length > 0 {
		body = io.NopCloser(part) // The transport closes what it is given.
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, address, body)
	if err != nil {
		return false, err
	}
	request.ContentLength = length
	if length < u.Size {
		if err := u.describe(request.Header, part, length); err != nil {
			return false, err
		}
	}
	response, err := u.cluster.Send(request)
	if err != nil {
		return false, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	u.offset += length
	return response.StatusCode != http.StatusAccepted, response.Body.Close()
}

// describe says which part of the archive a request holds, and its digest.
func (u *upload) describe(header http.Header, part *io.SectionReader, length int64) error {
	if length == 0 {
		header.Set("Content-Range", fmt.Sprintf("bytes */%d", u.Size))
		return nil
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(part, 0, length)); err != nil {
		return fmt.Errorf("read the packed source: %w", err)
	}
	header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", u.offset, u.offset+length-1, u.Size))
	header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(hash.Sum(nil))+":")
	return nil
}

// offsetIn reads where an upload goes on from the service's error.
func offsetIn(err error) (int64, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return 0, false
	}
	for _, cause := range status.Status().Details.Causes {
		if cause.Type != archive.CauseOffset {
			continue
		}
		at, err := strconv.ParseInt(cause.Message, 10, 64)
		return at, err == nil && at >= 0
	}
	return 0, false
}

// retryAfter tells whether the same may work in a while: the service is busy or
// changes, or the line broke.
func retryAfter(err error, try int) (time.Duration, bool) {
	if seconds, busy := apierrors.SuggestsClientDelay(err); busy {
		return time.Duration(seconds) * time.Second, seconds <= maxWait
	}
	wait := time.Duration(try) * time.Second
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return wait, code == http.StatusBadGateway || code == http.StatusServiceUnavailable || code == http.StatusGatewayTimeout
	}
	return wait, true
}

// maxWait is how many seconds a person is kept waiting by one answer.
const maxWait = 10

package project

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// uploadTries is how often an upload is sent while the service says that it
// is busy.
const uploadTries = 5

// Source is a packed folder, waiting in a file that has no name anymore.
type Source struct {
	archive.Info
	file *os.File
}

// Pack packs a folder and the shared paths that it includes into a
// temporary file, so that nothing but the disk bounds its size and an upload can
// be sent again.
func Pack(dir string, include []string) (*Source, error) {
	file, err := os.CreateTemp("", "knit-source-*.tar.gz")
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", dir, err)
	}
	// Without a name the file goes away with this process, however it ends.
	_ = os.Remove(file.Name())
	info, err := archive.PackShared(dir, include, file)
	if err != nil {
		_ = file.Close()
		return nil, cmdline.Usage(fmt.Errorf("pack %s: %w", dir, err))
	}
	return &Source{Info: info, file: file}, nil
}

// Open reads the archive from its beginning.
func (s *Source) Open() io.Reader { return io.NewSectionReader(s.file, 0, s.Size) }

// Close frees the archive.
func (s *Source) Close() { _ = s.file.Close() }

// Upload sends the archive unless the service has it. It reports whether
// anything was sent.
func (s *Source) Upload(ctx context.Context, c *cmdline.Cluster, namespace string) (bool, error) {
	path := fmt.Sprintf("/apis/service.knit.dev/v1alpha1/namespaces/%s/sources/%s", namespace, s.Digest)
	response, err := c.Do(ctx, http.MethodHead, path, nil, 0)
	if err == nil {
		_ = response.Body.Close()
		return false, nil
	}
	// An absent archive and an absent service answer alike; the upload tells.
	if !apierrors.IsNotFound(err) {
		return false, uploadError(err, namespace)
	}
	for try := 1; ; try++ {
		err = s.put(ctx, c, path)
		seconds, busy := apierrors.SuggestsClientDelay(err)
		if err == nil || !busy || try == uploadTries {
			return err == nil, uploadError(err, namespace)
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(time.Duration(seconds) * time.Second):
		}
	}
}

func (s *Source) put(ctx context.Context, c *cmdline.Cluster, path string) error {
	// A section reader, because the transport closes what it is given.
	body := io.NopCloser(io.NewSectionReader(s.file, 0, s.Size))
	response, err := c.Do(ctx, http.MethodPut, path, body, s.Size)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	return response.Body.Close()
}

// uploadError says what was tried. An API server that cannot reach the
// extension API answers 503 without a word about Knit.
func uploadError(err error, namespace string) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("upload the source to namespace %s: %w", namespace, err)
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Code == http.StatusServiceUnavailable {
		return cmdline.Advise(wrapped, "see whether Knit's function service is up: `kubectl get apiservice v1alpha1.service.knit.dev` and `kubectl -n knit-system get pods`")
	}
	return wrapped
}

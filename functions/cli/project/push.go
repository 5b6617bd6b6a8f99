package project

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

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

// Upload sends the archive unless the service has it. What came of it before,
// from here or from another command, is not sent again. It reports whether
// anything was sent.
func (s *Source) Upload(ctx context.Context, c *cmdline.Cluster, namespace string) (bool, error) {
	u := &upload{Source: s, cluster: c, path: fmt.Sprintf("/apis/service.knit.dev/v1alpha1/namespaces/%s/sources/%s", namespace, s.Digest)}
	known, err := u.look(ctx)
	if known || err != nil {
		return false, uploadError(err, namespace)
	}
	return true, uploadError(u.send(ctx), namespace)
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
